"""The tf.data form of batches: the same in the same order."""

import pytest
import tiny

from keras_cmsa.data.pipeline import RecordBatches

pytest.importorskip("tensorflow")

from keras_cmsa.data.tf_pipeline import tf_dataset


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    scenes = tiny.records(tmp_path_factory.mktemp("scenes"), 5)
    return tiny.several_of_each(scenes, [3, 1, 2, 4, 1])


SOME = {"per_image": 3, "seed": 1, "batches": 5, "first_batch": 2, "word_dropout": 0.5}


@pytest.mark.parametrize(("resizing", "options"), [("pad", {}), ("stretch", SOME)])
def test_the_same_batches(records, resizing, options):
    batches = RecordBatches(records, tiny.preprocessor(resizing), 4, **options)
    dataset = tf_dataset(batches)
    theirs = [*dataset.as_numpy_iterator()]
    assert int(dataset.cardinality()) == len(batches)
    tiny.assert_same_batches([*batches], theirs, tolerance=1e-3)
