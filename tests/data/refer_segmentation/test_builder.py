"""`refer_segmentation` as a user of TFDS calls it."""

import subprocess
import sys

import numpy as np
import pytest
from image_files import turned_files
from PIL import Image
from shard_files import COUNTS, same

from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.shards.read import read_shards
from keras_cmsa.preprocessing.reading import read_image

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

import tensorflow_datasets as tfds

from keras_cmsa.data.ref_shapes import layout
from keras_cmsa.data.refer_segmentation import CONFIGS, config_of
from keras_cmsa.data.refer_segmentation.builder import stored_image

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ from the published"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # from inside TFDS
]


def test_tfds_load_gives_the_dummy_tree(root, tmp_path):
    """As a user calls it, with the REFER root as the manual folder."""
    import tensorflow as tf

    config = tfds.download.DownloadConfig(manual_dir=root)
    data, info = tfds.load(
        "refer_segmentation/unc",
        data_dir=tmp_path / "tfds",
        with_info=True,
        download_and_prepare_kwargs={"download_config": config},
    )
    assert {split: of.num_examples for split, of in info.splits.items()} == COUNTS
    assert "@inproceedings{kazemzadeh2014referitgame" in info.citation
    assert "| `gref_umd` | RefCOCOg, UMD | 42,226 / 80,512 / 21,899" in info.description
    records = read_refer(root)["train"]
    examples = {int(e["image_id"]): e for e in data["train"].as_numpy_iterator()}
    assert set(examples) == {record.image_id for record in records}
    for record in records:
        example = examples[record.image_id]
        refs = example["refs"]
        place = refs["ref_id"].tolist().index(record.ref_id)
        np.testing.assert_array_equal(refs["mask"][place][..., 0], record.mask())
        decoded = tf.io.decode_image(record.image_path.read_bytes(), channels=3)
        np.testing.assert_array_equal(example["image"], decoded)
        sentences = refs["sentences"]["raw"][place].tolist()
        assert record.raw.encode() in sentences
    assert sorted(len(e["refs"]["ref_id"]) for e in examples.values()) == [1, 1, 1, 1, 2]


def test_an_empty_manual_folder_says_where_the_data_is(tmp_path):
    builder = tfds.builder("refer_segmentation/gref_umd", data_dir=tmp_path / "tfds")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "nothing")
    with pytest.raises(AssertionError, match=r"web\.archive\.org/web/2022/.*refcoco\.zip"):
        builder.download_and_prepare(download_config=config)


def test_every_source_has_a_config():
    names = [config.name for config in CONFIGS]
    assert len(set(names)) == len(names) == 13
    assert config_of(".", "refcoco+", "unc").name == "unc_plus"
    assert config_of(".", "referit", "unc").name == "referit"  # has no owner
    without = config_of(".", "refcoco", "unc", ["refcocog/umd", "refcoco+"])
    assert without.name == "unc_without_refcoco_plus_and_refcocog_umd"
    with pytest.raises(
        ValueError, match="a config: unc, .* Received: refcoco with splits by 'umd'"
    ):
        config_of(".", "refcoco", "umd")


def test_images_that_decoders_differ_on_are_stored_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype("uint8")
    exif = Image.Exif()
    for orientation, mode in ((1, "RGB"), (6, "RGB"), (1, "CMYK"), (1, "L")):
        exif[0x0112] = orientation
        path = tmp_path / "x.jpg"
        Image.fromarray(pixels).convert(mode).save(path, exif=exif)
        stored = stored_image(path)
        assert (stored == path.read_bytes()) == (orientation == 1 and mode != "CMYK")
        np.testing.assert_array_equal(read_image(stored), read_image(path))
        with Image.open(path) as image:
            assert image.mode == mode


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Metadata Warning")
@pytest.mark.parametrize("name", turned_files())
def test_a_broken_exif_block_spoils_no_image(tmp_path, name):
    path = tmp_path / "x"
    path.write_bytes(turned_files()[name][0])
    for stored_size in (None, (8, 12)):
        stored = read_image(stored_image(path, stored_size))
        np.testing.assert_array_equal(stored, read_image(path, stored_size=stored_size))


def test_tfds_load_draws_ref_shapes(tmp_path, monkeypatch):
    """As a user calls it, without any folder; a few scenes here."""
    monkeypatch.setattr(layout, "SCENES", dict.fromkeys(layout.SCENES, 2))
    builder = tfds.builder("refer_segmentation/ref_shapes_gref", data_dir=tmp_path)
    builder.download_and_prepare(file_format="array_record")
    assert {s: of.num_examples for s, of in builder.info.splits.items()} == {"train": 2, "val": 2}
    root = tmp_path / "downloads/ref_shapes_gref"
    same(read_shards(tmp_path, "ref_shapes_gref"), read_refer(root, "refcocog", "google"))


@pytest.mark.parametrize(
    "order", ["keras_cmsa.data, tensorflow_datasets", "tensorflow_datasets, keras_cmsa.data"]
)
def test_tfds_knows_the_builder_in_either_order_of_imports(order):
    script = (
        f"import sys, {order}\n"
        "assert 'refer_segmentation' in tensorflow_datasets.list_builders(with_community_datasets=False)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_data_sets_imports_no_tfds():
    script = "import sys, keras_cmsa.data.sources; assert 'tensorflow_datasets' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
