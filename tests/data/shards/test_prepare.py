"""Preparing shards: what is written is what is read, and a kill leaves no half."""

import csv
import multiprocessing
import random
import shutil
import sys
import time

import numpy as np
import pytest
import tiny
from image_files import turned_files
from PIL import Image
from shard_files import prepare_in_process, prepared, same

from keras_cmsa.data.leakage import held_out_images
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.record import count
from keras_cmsa.data.ref_shapes import write_ref_shapes
from keras_cmsa.data.shards.read import TFDS_NAME, prepared_configs, read_shards
from keras_cmsa.data.sources import read_records
from keras_cmsa.utils.locks import locked

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

from keras_cmsa.data.refer_segmentation import builder, config_of
from keras_cmsa.data.shards import prepare

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ from the published"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # from inside TFDS
]


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


def test_a_table_becomes_a_data_set_of_its_name(tmp_path):
    Image.new("RGB", (12, 8)).save(tmp_path / "1.png")
    Image.fromarray(tiny.box(8, 12, 2, 3, 6, 9) * 255).save(tmp_path / "mask.png")
    table = tmp_path / "my cups.csv"
    table.write_text(
        "image,expression,mask,split\n1.png,Red cup!,mask.png,train\n"
        '1.png,left cup,"[1, 1, 6, 1, 6, 7]",val\n'
    )
    records = read_records(table)
    prepare.prepare(records, config_of(table, "refcoco", "unc"), tmp_path / "tfds")
    assert prepared_configs(tmp_path / "tfds") == ["table_my_cups"]
    same(read_records(tmp_path / "tfds", "table_my_cups"), records)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_images_with_exif_of_all_kinds(tmp_path):
    for place, (file, _) in enumerate(turned_files().values()):
        (tmp_path / f"{place}.png").write_bytes(file)
    mask = "[[1, 1, 6, 1, 6, 7]]"
    rows = [f'{place}.png,red cup,"{mask}",train' for place in range(len(turned_files()))]
    table = tmp_path / "cups.csv"
    table.write_text("\n".join(["image,expression,mask,split", *rows]))
    records = read_records(table)
    good, problems = prepare.prepare(records, config_of(table, "table"), tmp_path / "tfds")
    assert good == records and not problems
    found = {r.image_id: r for r in read_records(tmp_path / "tfds", "table_cups")["train"]}
    for record in records["train"]:
        np.testing.assert_array_equal(found[record.image_id].image(), record.image())


def test_cocos_images_stay_as_they_are_stored(one_ref, tmp_path):
    """Through the shards too, and resuming says so again."""
    block = Image.Exif()
    block[0x0112] = 3
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype("uint8")
    Image.fromarray(noise).save(one_ref.image, "WEBP", lossless=True, exif=block)
    records = one_ref.read()
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 images have an EXIF orientation and are not"):
            prepared(records, tmp_path / "tfds", "unc")
    (found,) = read_shards(tmp_path / "tfds", "unc")["train"]
    np.testing.assert_array_equal(found.image(), noise)


def write_table(folder, name, splits):
    """A table of an image and a row for each split."""
    Image.new("RGB", (12, 8)).save(folder / "1.png")
    rows = [f'1.png,left cup,"[1, 1, 6, 1, 6, 7]",{split}' for split in splits]
    (folder / name).write_text("\n".join(["image,expression,mask,split", *rows]))
    return folder / name


def test_the_only_table_of_a_folder_needs_no_name(tmp_path):
    """Of two, or of another data set, the name must be given."""
    splits = ["train", "val-2", "testA", "x" * 50, "7", "Train"]  # each of another form
    for name in ("cups.csv", "mugs.CSV"):
        table = write_table(tmp_path, name, splits)
        records = read_records(table)
        assert list(records) == splits
        prepare.prepare(records, config_of(table, "refcoco", "unc"), tmp_path / table.stem)
        same(read_records(tmp_path / table.stem), records)
    shutil.copytree(tmp_path / "cups" / TFDS_NAME, tmp_path / TFDS_NAME)
    shutil.copytree(tmp_path / "mugs" / TFDS_NAME, tmp_path / TFDS_NAME, dirs_exist_ok=True)
    message = r"wanted refer_segmentation/unc .* Received: table_cups, table_mugs. Give its name as"
    with pytest.raises(FileNotFoundError, match=message):
        read_records(tmp_path)
    same(read_records(tmp_path, "table_mugs"), records)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"settings": {"flavour": ["unc"]}}'])
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "ref_shapes.json").write_text(content)
    with pytest.raises(ValueError, match=r"ref_shapes\.json is (damaged|not whole JSON)"):
        config_of(tmp_path, "refcoco", "unc")
    with pytest.raises(ValueError, match=r"ref_shapes\.json is (damaged|not whole JSON)"):
        write_ref_shapes(tmp_path)


def test_ref_shapes_have_configs(tmp_path):
    scenes = {"train": 3, "val": 1}
    root = write_ref_shapes(tmp_path / "s", "unc+", scenes, processes=1, progress=False)
    config = config_of(root, "refcoco+", "unc")
    assert config.name == "ref_shapes_unc_plus"
    records = read_refer(root, "refcoco+")
    prepared(records, tmp_path, "ref_shapes_unc_plus")
    same(read_records(tmp_path, "ref_shapes_unc_plus"), records)
    assert all(record.kind for record in read_shards(tmp_path, "ref_shapes_unc_plus")["train"])


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
    monkeypatch.setattr(prepare, "CHUNK_SIZE", 3)
    records = read_refer(root)
    journal = tmp_path / "checked.jsonl"
    records["val"][0].image_path.write_bytes(b"no image")
    first = prepare.check_with_journal(records, journal)
    assert len(first[1]) == 1
    journal.write_text(journal.read_text()[:-20])  # a kill cut the last line short
    opened = []
    whole_check = prepare.examine
    monkeypatch.setattr(prepare, "examine", lambda c: opened.append(c) or whole_check(c))
    assert prepare.check_with_journal(records, journal) == first
    assert len(opened) == 1
    Image.new("RGB", (9, 9)).save(records["train"][0].image_path)  # another file at its place
    good, problems = prepare.check_with_journal(records, journal)
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

    folder = tmp_path / "tfds/refer_segmentation"
    folder.mkdir(parents=True)
    with locked(folder / "unc.lock", "busy"):
        with pytest.raises(ValueError, match="another run prepares this data set already"):
            prepared(read_refer(root), tmp_path / "tfds")
    prepared(read_refer(root), tmp_path / "tfds")


def test_what_is_not_read_back_is_removed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "mask_png", lambda mask: builder._png(mask[::-1].copy()))
    with pytest.raises(ValueError, match=r"differs from its records, so .* was removed"):
        prepared(read_refer(root), tmp_path / "tfds")
    assert prepared_configs(tmp_path / "tfds") == []


def test_no_usable_record(root, tmp_path):
    for image in root.glob("images/mscoco/images/train2014/*"):
        image.unlink()
    with pytest.warns(UserWarning, match="images are missing"):
        records = read_refer(root)
    with pytest.raises(ValueError, match=r"no usable expression: see .*unc_skipped\.csv"):
        prepared(records, tmp_path / "tfds")


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
