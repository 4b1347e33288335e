"""`refer_segmentation`: what TFDS gives, what `prepare` writes, and that a kill leaves no half."""

import csv
import json
import multiprocessing
import pickle
import random
import shutil
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import tiny
from PIL import Image

from keras_cmsa.data.leakage import held_out_images
from keras_cmsa.data.records import count
from keras_cmsa.data.refer import read_refer
from keras_cmsa.data.shards import prepared_configs, read_shards
from keras_cmsa.data.sources import read_records
from keras_cmsa.image import read_image

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

COUNTS = {"train": 5, "val": 2, "testA": 1, "testB": 1}

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ from the published"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # from inside TFDS
]


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


def prepared(records, output, config="unc", **options):
    from keras_cmsa.data.prepare import prepare
    from keras_cmsa.data.refer_segmentation import config_of

    return prepare(records, config_of(output, config), output, **options)


def same(found, expected):
    """Whether two readers give the same records, whatever their order: pixels and all."""
    assert list(found) and set(found) == set(expected)
    for split in expected:
        assert len(found[split]) == len(expected[split])
        by_sentence = {record.sentence_id: record for record in found[split]}
        for wanted in expected[split]:
            record = by_sentence[wanted.sentence_id]
            fields = ("image_id", "ref_id", "raw", "expression", "split", "height", "width", "kind")
            for name in fields:
                assert getattr(record, name) == getattr(wanted, name), name
            assert record.image_path.name == wanted.image_path.name
            np.testing.assert_array_equal(record.mask(), wanted.mask())
            np.testing.assert_array_equal(
                read_image(record.image_path), read_image(wanted.image_path)
            )


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


def test_a_table_becomes_a_data_set_of_its_name(tmp_path):
    from keras_cmsa.data.prepare import prepare
    from keras_cmsa.data.refer_segmentation import config_of

    Image.new("RGB", (12, 8)).save(tmp_path / "1.png")
    Image.fromarray(tiny.box(8, 12, 2, 3, 6, 9) * 255).save(tmp_path / "mask.png")
    table = tmp_path / "my cups.csv"
    table.write_text(
        "image,expression,mask,split\n1.png,Red cup!,mask.png,train\n"
        '1.png,left cup,"[1, 1, 6, 1, 6, 7]",val\n'
    )
    records = read_records(table)
    prepare(records, config_of(table, "refcoco", "unc"), tmp_path / "tfds")
    assert prepared_configs(tmp_path / "tfds") == ["table_my_cups"]
    same(read_records(tmp_path / "tfds", "table_my_cups"), records)


def test_every_source_has_a_config():
    from keras_cmsa.data.refer_segmentation import CONFIGS, config_of

    names = [config.name for config in CONFIGS]
    assert len(set(names)) == len(names) == 13
    assert config_of(".", "refcoco+", "unc").name == "unc_plus"
    assert config_of(".", "referit", "unc").name == "referit"  # has no owner
    without = config_of(".", "refcoco", "unc", ["refcocog/umd", "refcoco+"])
    assert without.name == "unc_without_refcoco_plus_and_refcocog_umd"
    with pytest.raises(
        ValueError, match="no config for refcoco with splits by 'umd'; there is: unc"
    ):
        config_of(".", "refcoco", "umd")


@pytest.mark.parametrize("name", ["refcoco", "refcocog"])
def test_the_real_samples_come_back_as_they_were(samples, tmp_path, name):
    owner = {"refcoco": "unc", "refcocog": "google"}[name]
    records = read_refer(samples / "refer", name, owner)
    config = {"refcoco": "unc", "refcocog": "gref_google"}[name]
    good, problems = prepared(records, tmp_path, config)
    assert good == records and not problems
    same(read_shards(tmp_path, config), records)
    found = read_records(tmp_path, name, owner, splits=["val"])
    assert {split: count(of) for split, of in found.items()} == {"val": count(records["val"])}
    assert prepared_configs(tmp_path) == [config]
    held_out = held_out_images(tmp_path, "refcoco+")
    assert held_out[f"{config}/val"] == {record.image_id for record in records["val"]}
    assert f"{config}/train" not in held_out


def test_images_that_decoders_differ_on_are_stored_upright(tmp_path):
    from keras_cmsa.data.refer_segmentation.builder import stored_image

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


def test_batches_from_shards_equal_those_from_files(samples, tmp_path):
    """In NumPy and in TensorFlow, whose decoder is asked for the same pixels."""
    from keras_cmsa.data.pipeline import RecordBatches, tf_dataset
    from keras_cmsa.text import Vocabulary

    records = read_refer(samples / "refer", splits=["val", "testB"])
    prepared(records, tmp_path)
    vocabulary = Vocabulary.build([r.expression for r in records["val"]])
    shards = {r.sentence_id: r for r in read_shards(tmp_path)["val"]}
    in_order = [shards[record.sentence_id] for record in records["val"]]
    batches = [RecordBatches(of, vocabulary, 64, 4, seed=5) for of in (records["val"], in_order)]
    every = [list(map(of.__getitem__, range(len(of)))) for of in batches]
    every += [list(tf_dataset(of)) for of in batches]
    for from_files, *others in zip(*every):
        for other in others:
            np.testing.assert_allclose(other[0]["image"], from_files[0]["image"], atol=1e-2)
            np.testing.assert_array_equal(other[0]["words"], from_files[0]["words"])
            np.testing.assert_array_equal(other[1], from_files[1])


def test_an_epoch_is_every_sentence_once(root, tmp_path):
    from keras_cmsa.data.pipeline import RecordBatches
    from keras_cmsa.text import Vocabulary

    prepared(read_refer(root), tmp_path)
    records = read_shards(tmp_path)["train"]
    vocabulary = Vocabulary.build([record.expression for record in records])
    batches = RecordBatches(records, vocabulary, 16, 2, seed=0, batches=8)
    drawn = [i for number in range(8) for i in batches.samples(number)]
    passes = drawn[: len(records)], drawn[len(records) : 2 * len(records)]
    assert [sorted(of) for of in passes] == [list(range(len(records)))] * 2
    assert passes[0] != passes[1]


def test_bad_records_are_left_out_and_listed(root, tmp_path):
    records = read_refer(root)
    broken = records["val"][0].image_path
    broken.write_bytes(broken.read_bytes()[:300])
    good, problems = prepared(records, tmp_path / "tfds")
    assert [record.image_path for record, _ in problems] == [broken]
    assert len(good["val"]) == 1
    same(read_shards(tmp_path / "tfds"), good)
    with open(tmp_path / "tfds/refer_segmentation/unc_skipped.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["image"] == str(broken) and row["reason"].startswith("image unreadable: ")


def test_what_was_checked_stays_checked(root, tmp_path, monkeypatch):
    from keras_cmsa.data import prepare

    monkeypatch.setattr(prepare, "CHUNK", 3)
    records = read_refer(root)
    journal = tmp_path / "checked.jsonl"
    records["val"][0].image_path.write_bytes(b"no image")
    first = prepare.checked(records, journal)
    assert len(first[1]) == 1
    journal.write_text(journal.read_text()[:-20])  # a kill cut the last line short
    opened = []
    whole_check = prepare.check_records
    monkeypatch.setattr(prepare, "check_records", lambda c: opened.append(c) or whole_check(c))
    assert prepare.checked(records, journal) == first
    assert len(opened) == 1
    Image.new("RGB", (9, 9)).save(records["train"][0].image_path)  # another file at its place
    good, problems = prepare.checked(records, journal)
    assert {reason.partition(":")[0] for _, reason in problems} >= {"image size differs"}
    assert sum(map(len, good.values())) + len(problems) == 11


def test_other_data_under_the_same_name_is_refused(root, tmp_path):
    records = read_refer(root)
    prepared(records, tmp_path / "tfds")
    for changed in ({**records, "val": records["val"][:1]}, {"train": records["train"][1:]}):
        with pytest.raises(ValueError, match="is there already with other data"):
            prepared(changed, tmp_path / "tfds")
    same(read_shards(tmp_path / "tfds"), records)


def test_two_runs_at_once_are_refused(root, tmp_path):
    from keras_cmsa.data.prepare import _alone

    folder = tmp_path / "tfds/refer_segmentation"
    folder.mkdir(parents=True)
    with _alone(folder / "unc.lock"):
        with pytest.raises(ValueError, match="another run prepares this data set already"):
            prepared(read_refer(root), tmp_path / "tfds")
    prepared(read_refer(root), tmp_path / "tfds")


def test_what_is_not_read_back_is_removed(root, tmp_path, monkeypatch):
    from keras_cmsa.data.refer_segmentation import builder

    monkeypatch.setattr(builder, "mask_png", lambda mask: builder._png(mask[::-1].copy()))
    with pytest.raises(ValueError, match=r"is not what was to be written, so .* was removed"):
        prepared(read_refer(root), tmp_path / "tfds")
    assert prepared_configs(tmp_path / "tfds") == []


def test_no_usable_record(root, tmp_path):
    for image in root.glob("images/mscoco/images/train2014/*"):
        image.unlink()
    with pytest.warns(UserWarning, match="images are missing"):
        records = read_refer(root)
    with pytest.raises(ValueError, match=r"no usable expression: see .*unc_skipped\.csv"):
        prepared(records, tmp_path / "tfds")


def test_tfrecord_is_verified_but_not_read_at_random(root, tmp_path):
    records = read_refer(root)
    prepared(records, tmp_path, file_format="tfrecord")
    with pytest.raises(
        ValueError, match="is in the format tfrecord, .* prepare it as array_record"
    ):
        read_shards(tmp_path)
    assert len(tfds.load("refer_segmentation/unc", data_dir=tmp_path, split="val")) == 2


def test_the_index_is_made_anew_where_it_is_missing(root, tmp_path):
    records = read_refer(root)
    prepared(records, tmp_path)
    (index,) = tmp_path.glob("refer_segmentation/unc/*/sentences.json")
    written = index.read_text()
    index.unlink()
    same(read_shards(tmp_path), records)
    assert sorted(index.read_text()) == sorted(written)
    index.write_text('{"val": []}')
    for damage in ('{"val": []}', '{"val": 3}', '{"val": [[1]]}', "[]", '{"val'):
        index.write_text(damage)
        with pytest.raises(ValueError, match=r"sentences\.json is damaged, or of other shards"):
            read_shards(tmp_path)


def test_damaged_shards_are_found_by_their_checksums(samples, tmp_path):
    """A hundred damaged bytes, a shard cut short, a shard gone: an error or the very bytes."""
    records = read_refer(samples / "refer", "refcocog", "google")
    prepared(records, tmp_path, "gref_google")
    (shard,) = tmp_path.glob("refer_segmentation/gref_google/*/*-train.array_record*")
    whole = shard.read_bytes()
    rng = np.random.default_rng(0)
    scattered = bytearray(whole)
    for place in rng.integers(0, len(whole), 100):
        scattered[place] ^= 1 + int(rng.integers(255))
    for damaged in (bytes(scattered), whole[: len(whole) // 2], b""):
        shard.write_bytes(damaged)
        refused = 0
        for record in read_shards(tmp_path, "gref_google")["train"]:
            try:
                content = record.image_path.read_bytes()
            except ValueError as error:
                assert record.image_path.name in str(error)
                assert "Prepare the data set anew" in str(error)
                refused += 1
            else:
                assert content == by_name(records)[record.image_path.name].read_bytes()
        assert refused > 0
        with pytest.raises(
            ValueError, match="is there already with other data: an example of train"
        ):
            prepared(records, tmp_path, "gref_google")


def by_name(records):
    return {record.image_path.name: record.image_path for of in records.values() for record in of}


def test_missing_data_sets_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="No refer_segmentation/unc is prepared .* none"):
        read_shards(tmp_path)
    prepared(read_refer(root), tmp_path)
    with pytest.raises(FileNotFoundError, match="gref_umd is prepared in .*; there is: unc"):
        read_records(tmp_path, "refcocog", "umd")


def test_ref_shapes_have_configs(tmp_path):
    from keras_cmsa.data.ref_shapes import write_ref_shapes
    from keras_cmsa.data.refer_segmentation import config_of

    scenes = {"train": 3, "val": 1}
    root = write_ref_shapes(tmp_path / "s", "unc+", scenes, processes=1, progress=False)
    config = config_of(root, "refcoco+", "unc")
    assert config.name == "ref_shapes_unc_plus"
    records = read_refer(root, "refcoco+")
    prepared(records, tmp_path, "ref_shapes_unc_plus")
    same(read_records(tmp_path, "ref_shapes_unc_plus"), records)
    assert all(record.kind for record in read_shards(tmp_path, "ref_shapes_unc_plus")["train"])


def test_tfds_load_draws_ref_shapes(tmp_path, monkeypatch):
    """As a user calls it, without any folder; a few scenes here."""
    from keras_cmsa.data.ref_shapes import layout

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


def prepare_in_process(root, output):
    warnings.simplefilter("ignore")
    prepared(read_refer(root), output)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
def test_a_kill_at_any_moment_leaves_nothing_that_loads_as_complete(samples, tmp_path):
    """Kills `prepare` twenty times at random moments of its work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "keras_cmsa.data.refer_segmentation"])
    records = read_refer(samples / "refer")

    def start(output):
        process = context.Process(target=prepare_in_process, args=(samples / "refer", output))
        process.start()
        return process

    start(tmp_path / "warm").join()  # imports are behind it
    began = time.monotonic()
    start(tmp_path / "whole").join()
    duration = time.monotonic() - began
    rng, output, complete = random.Random(0), tmp_path / "killed", 0
    for _ in range(20):
        process = start(output)
        time.sleep(rng.uniform(0, 1.1 * duration))
        process.kill()
        process.join()
        if prepared_configs(output):
            complete += 1
            same(read_shards(output), records)
            shutil.rmtree(output)
    assert complete < 20, "no kill came before the end"
    prepare_in_process(samples / "refer", output)
    same(read_shards(output), records)
    assert not list(output.glob("refer_segmentation/unc/incomplete*"))
