"""Reading shards at random: every sentence, the same batches as from files, damage named."""

import numpy as np
import pytest
from shard_files import prepared, same

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.shards.read import read_shards
from keras_cmsa.data.sources import read_records
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

import tensorflow_datasets as tfds

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ from the published"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # from inside TFDS
]


def test_batches_from_shards_equal_those_from_files(samples, tmp_path):
    """In NumPy and in TensorFlow, whose decoder is asked for the same pixels."""
    tf_pipeline = pytest.importorskip("keras_cmsa.data.tf_pipeline")

    records = read_refer(samples / "refer", splits=["val", "testB"])
    prepared(records, tmp_path)
    vocabulary = Vocabulary.build([r.expression for r in records["val"]])
    shards = {r.sentence_id: r for r in read_shards(tmp_path)["val"]}
    in_order = [shards[record.sentence_id] for record in records["val"]]
    batches = [
        RecordBatches(of, Preprocessor(vocabulary, 64), 4, seed=5)
        for of in (records["val"], in_order)
    ]
    every = [list(map(of.__getitem__, range(len(of)))) for of in batches]
    every += [list(tf_pipeline.tf_dataset(of)) for of in batches]
    for from_files, *others in zip(*every):
        for other in others:
            np.testing.assert_allclose(other[0]["image"], from_files[0]["image"], atol=1e-2)
            np.testing.assert_array_equal(other[0]["words"], from_files[0]["words"])
            np.testing.assert_array_equal(other[1], from_files[1])


def test_an_epoch_is_every_sentence_once(root, tmp_path):

    prepared(read_refer(root), tmp_path)
    records = read_shards(tmp_path)["train"]
    vocabulary = Vocabulary.build([record.expression for record in records])
    batches = RecordBatches(records, Preprocessor(vocabulary, 16), 2, seed=0, batches=8)
    drawn = [i for number in range(8) for i in batches.rows(number)[:, 0]]
    passes = drawn[: len(records)], drawn[len(records) : 2 * len(records)]
    assert [sorted(of) for of in passes] == [list(range(len(records)))] * 2
    assert passes[0] != passes[1]


def test_tfrecord_is_verified_but_not_read_at_random(root, tmp_path):
    records = read_refer(root)
    prepared(records, tmp_path, file_format="tfrecord")
    with pytest.raises(ValueError, match="wanted the format array_record, .* Received: tfrecord"):
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
        with pytest.raises(
            ValueError, match=r"sentences\.json is damaged or belongs to other shards"
        ):
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
                assert "Prepare the data set again" in str(error)
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
    with pytest.raises(
        FileNotFoundError, match="wanted refer_segmentation/unc in .* Received: none"
    ):
        read_shards(tmp_path)
    prepared(read_refer(root), tmp_path)
    with pytest.raises(
        FileNotFoundError, match="wanted refer_segmentation/gref_umd in .* Received: unc"
    ):
        read_records(tmp_path, "refcocog", "umd")
