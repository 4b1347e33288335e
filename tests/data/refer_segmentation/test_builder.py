"""`refer_segmentation` as a user of TFDS calls it."""

import json
import pickle

import numpy as np
import pytest
import tiny
from fresh_process import run_python
from PIL import Image

from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.preprocessing.reading import read_image

pytest.importorskip("tensorflow_datasets")

import tensorflow_datasets as tfds

from keras_cmsa.data.ref_shapes import layout
from keras_cmsa.data.refer_segmentation.builder import stored_image

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ from the published"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # from inside TFDS
]

COUNTS = {"train": 5, "val": 2, "testA": 1, "testB": 1}  # images of a split


@pytest.fixture
def root(tmp_path):
    """A REFER root: an image per ref, and one image with a second ref of two sentences."""
    root = tiny.refer_root(tmp_path / "refer", COUNTS)
    path = root / "refcoco/refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    sentences = [{"sent_id": n, "raw": f"Nº {n}", "sent": f"nº {n}"} for n in (901, 902)]
    refs.append({**refs[0], "ref_id": 900, "ann_id": 900, "sentences": sentences})
    path.write_bytes(pickle.dumps(refs, 2))
    path = root / "refcoco/instances.json"
    instances = json.loads(path.read_text())
    outline = {
        "id": 900,
        "image_id": refs[0]["image_id"],
        "segmentation": [[1, 1, 6, 1, 6, 7, 1, 7]],
    }
    instances["annotations"].append(outline)
    path.write_text(json.dumps(instances))
    return root


def load(name, root, folder):
    """As a user calls it, with a REFER root as the manual folder."""
    config = tfds.download.DownloadConfig(manual_dir=root)
    return tfds.load(
        f"refer_segmentation/{name}",
        data_dir=folder,
        with_info=True,
        download_and_prepare_kwargs={"download_config": config},
    )


def same(examples, records):
    """Whether examples hold all that records say: pixels and all."""
    import tensorflow as tf

    examples = {int(e["image_id"]): e for e in examples}
    assert set(examples) == {record.image_id for record in records}
    for record in records:
        example = examples[record.image_id]
        assert example["file_name"].decode() == record.image_path.name
        decoded = tf.io.decode_image(record.image_path.read_bytes(), channels=3)
        np.testing.assert_array_equal(example["image"], decoded)
        refs = example["refs"]
        place = refs["ref_id"].tolist().index(record.ref_id)
        assert refs["targets"][place] == record.targets
        np.testing.assert_array_equal(refs["mask"][place][..., 0], record.mask())
        sentences = {name: values[place].tolist() for name, values in refs["sentences"].items()}
        one = sentences["sentence_id"].index(record.sentence_id)
        for name in ("raw", "expression", "kind"):
            assert sentences[name][one].decode() == getattr(record, name)


def test_tfds_load_gives_the_dummy_tree(root, tmp_path):
    data, info = load("unc", root, tmp_path / "tfds")
    assert {split: of.num_examples for split, of in info.splits.items()} == COUNTS
    assert "@inproceedings{kazemzadeh2014referitgame" in info.citation
    assert "| `gref_umd` | RefCOCOg, UMD | 42,226 / 80,512 / 21,899" in info.description
    for split, records in read_refer(root).items():
        same(data[split].as_numpy_iterator(), records)
    refs = [len(e["refs"]["ref_id"]) for e in data["train"].as_numpy_iterator()]
    assert sorted(refs) == [1, 1, 1, 1, 2]


@pytest.mark.parametrize("name, dataset", [("unc", "refcoco"), ("gref_google", "refcocog")])
def test_the_real_samples_come_back_as_they_were(samples, tmp_path, name, dataset):
    data, _ = load(name, samples / "refer", tmp_path)
    records = read_refer(samples / "refer", dataset, name.partition("_")[2] or "unc")
    assert set(data) == set(records)
    for split in records:
        same(data[split].as_numpy_iterator(), records[split])


def test_a_ref_of_nothing_has_an_empty_mask(root, tmp_path):
    """One of two objects has their union, and bad records are left out."""
    (root / "refcoco").rename(root / "grefcoco")
    refs = pickle.loads((root / "grefcoco/refs(unc).p").read_bytes())
    ids = {1: [-1], 900: [1, 900]}
    refs = [{**ref, "ann_id": ids.get(ref["ref_id"], [ref["ann_id"]])} for ref in refs]
    (root / "grefcoco/grefs(unc).json").write_text(json.dumps(refs))
    records = read_refer(root, "grefcoco")
    assert sorted(r.targets for r in records["train"]) == [0, 1, 1, 1, 1, 2, 2]
    broken = records["val"].pop().image_path
    broken.write_bytes(broken.read_bytes()[:300])
    data, _ = load("grefcoco", root, tmp_path / "tfds")
    for split in records:
        same(data[split].as_numpy_iterator(), records[split])


def test_an_empty_manual_folder_says_where_the_data_is(tmp_path):
    builder = tfds.builder("refer_segmentation/gref_umd", data_dir=tmp_path / "tfds")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "nothing")
    with pytest.raises(AssertionError, match=r"web\.archive\.org/web/2022/.*refcoco\.zip"):
        builder.download_and_prepare(download_config=config)


def test_images_that_decoders_differ_on_are_stored_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype("uint8")
    exif = Image.Exif()
    for orientation, mode in ((1, "RGB"), (6, "RGB"), (1, "CMYK"), (1, "L")):
        exif[0x0112] = orientation
        path = tmp_path / "x.jpg"
        Image.fromarray(pixels).convert(mode).save(path, exif=exif)
        for size in (None, (8, 12)):
            stored = stored_image(path, size)
            assert (stored == path.read_bytes()) == (orientation == 1 and mode != "CMYK")
            np.testing.assert_array_equal(read_image(stored), read_image(path, stored_size=size))
        with Image.open(path) as image:
            assert image.mode == mode


def test_tfds_load_draws_ref_shapes(tmp_path, monkeypatch):
    """As a user calls it, without any folder; a few scenes here."""
    monkeypatch.setattr(layout, "SCENES", dict.fromkeys(layout.SCENES, 2))
    builder = tfds.builder("refer_segmentation/ref_shapes", data_dir=tmp_path)
    builder.download_and_prepare()
    assert {s: of.num_examples for s, of in builder.info.splits.items()} == layout.SCENES
    records = read_refer(tmp_path / "downloads/ref_shapes")
    for split in records:
        same(builder.as_dataset(split).as_numpy_iterator(), records[split])


@pytest.mark.parametrize(
    "order", ["keras_cmsa.data, tensorflow_datasets", "tensorflow_datasets, keras_cmsa.data"]
)
def test_tfds_knows_the_builder_in_either_order_of_imports(order):
    script = (
        f"import sys, {order}\n"
        "assert 'refer_segmentation' in tensorflow_datasets.list_builders(with_community_datasets=False)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    run_python(script)
