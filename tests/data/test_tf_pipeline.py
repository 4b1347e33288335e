"""The tf.data form of batches: the same in the same order."""

import warnings

import pytest
import tiny

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.preprocessing.fitting import RESIZINGS
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary

pytest.importorskip("tensorflow")

from keras_cmsa.data.tf_pipeline import tf_dataset


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    scenes = tiny.records(tmp_path_factory.mktemp("scenes"), 5)
    return tiny.several_of_each(scenes, [3, 1, 2, 4, 1])


@pytest.mark.parametrize("resizing", RESIZINGS)
def test_the_same_batches(records, resizing):
    some = {"per_image": 3, "seed": 1, "batches": 5, "first_batch": 2}
    for options in ({}, some, some | {"word_dropout": 0.5}):
        batches = RecordBatches(records, tiny.preprocessor(resizing), 4, **options)
        dataset = tf_dataset(batches)
        theirs = [
            ({name: x.numpy() for name, x in inputs.items()}, masks.numpy(), weights.numpy())
            for inputs, masks, weights in dataset
        ]
        assert int(dataset.cardinality()) == len(batches)
        tiny.assert_same_batches([*batches], theirs, tolerance=1e-3)
        tiny.assert_same_batches(theirs, [*dataset.as_numpy_iterator()])


def test_the_same_batches_of_real_photos(samples):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "counts differ from the published")
        records = read_refer(samples / "refer", splits=["val"])["val"]
    vocabulary = Vocabulary.build([record.expression for record in records])
    batches = RecordBatches(records, Preprocessor(vocabulary, 96), 4, 4, seed=0, batches=1)
    tiny.assert_same_batches([*batches], [*tf_dataset(batches).as_numpy_iterator()], tolerance=1e-3)
