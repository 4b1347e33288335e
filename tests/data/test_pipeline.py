"""Batches of records: what is in them, in an order that follows from the number of the batch."""

import gc
import threading
import weakref

import keras
import numpy as np
import pytest
import tiny
from PIL import Image

from keras_cmsa.data import pipeline
from keras_cmsa.data.order import RowOrder
from keras_cmsa.data.pipeline import BATCHES_AHEAD, RecordBatches
from keras_cmsa.data.samples import read_image_and_masks
from keras_cmsa.training.losses import MaskLoss

BATCH = 4


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.records(tmp_path_factory.mktemp("scenes"), 11)


@pytest.fixture(scope="module")
def grouped(records):
    """Of six images with 1 to 6 expressions each."""
    return tiny.several_of_each(records[:6], [3, 1, 6, 2, 5, 4])


def batches_of(records, resizing="pad", **options):
    return RecordBatches(records, tiny.preprocessor(resizing), BATCH, **options)


# --- order


@pytest.mark.parametrize(
    "options", [{}, {"per_image": 4}, {"per_image": 4, "word_dropout": 0.4}], ids=str
)
def test_batches_resume_anywhere(grouped, options):
    whole = batches_of(grouped, seed=5, batches=9, **options)
    for first in (1, 4, 8):
        rest = batches_of(grouped, seed=5, batches=9 - first, first_batch=first, **options)
        tiny.assert_same_batches([*rest], [whole[i] for i in range(first, 9)])


def test_processes_share_batches(grouped):
    """Their parts together are the batches of one process; the last of a pass is filled up."""
    options = {"per_image": 2, "seed": 5, "batches": 7, "word_dropout": 0.3}
    parts = [batches_of(grouped, part=(index, 2), **options) for index in range(2)]
    for whole, *of_parts in zip(batches_of(grouped, **options), *parts):
        tiny.assert_same_batches([together(of_parts)], [whole])

    grouped = grouped[:17]  # ten rows
    whole = [*batches_of(grouped, per_image=2)]
    parts = [batches_of(grouped, per_image=2, part=(index, 4)) for index in range(4)]
    filled = [together(of_parts) for of_parts in zip(*parts)]
    tiny.assert_same_batches(filled[:-1], whole[:-1])
    rows = len(whole[-1][2])
    assert 0 < rows < BATCH
    tiny.assert_same_batches([keras.tree.map_structure(lambda x: x[:rows], filled[-1])], whole[-1:])
    for filler in keras.tree.flatten(filled[-1]):
        assert len(filler) == BATCH and not filler[rows:].any()


def together(parts):
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


# --- contents


def test_a_batch_is_what_its_records_are(records):
    """Image, words and mask each from the file and the record, by Pillow and the definition."""
    batches = batches_of(records[:3], resizing="stretch")
    inputs, masks, weights = batches[0]
    assert len(batches) == 1 and weights.tolist() == [[1.0]] * 3
    dtypes = [x.dtype.name for x in (inputs["image"], inputs["words"], masks)]
    assert dtypes == ["float32", "int32", "float32"] and set(inputs) == {"image", "words"}
    for i, record in enumerate(records[:3]):
        image = np.asarray(Image.open(record.image_path))
        for y in range(tiny.SIZE):
            for x in range(tiny.SIZE):
                weights = np.outer(at(y, record.height), at(x, record.width))
                pixel = np.einsum("hw,hwc->c", weights, image)
                np.testing.assert_allclose(inputs["image"][i, y, x], pixel, atol=1e-3)
                share = np.sum(weights * record.mask())
                assert masks[i, 0, y, x, 0] == (share >= 0.5) or abs(share - 0.5) < 1e-5
        names = [tiny.vocabulary().words[k] for k in inputs["words"][i, 0]]
        assert names == record.expression.split()


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.99])
def test_words_left_out(rate):
    """Each word goes with that probability, the others keep their order, no sentence is emptied."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 8, (400, 5, 1))
    words = np.where(np.arange(7) < lengths, np.arange(1, 8), 0)
    no_pieces = np.zeros(8, bool)
    found = pipeline.drop_words(words, no_pieces, rate, np.random.default_rng(1))
    kept = (found > 0).sum(axis=-1)
    assert kept.min() >= 1
    assert (np.diff(np.where(found > 0, found, 99)) >= 0).all()  # in order, padding on the right
    assert (np.sort(found[found > 0]) <= 7).all()
    for n in range(1, 8):
        # Sentences that would be empty keep all of their n words.
        wanted = n * (1 - rate) + n * rate**n
        assert kept[lengths[..., 0] == n].mean() == pytest.approx(wanted, abs=0.25)
    if rate == 0:
        np.testing.assert_array_equal(found, words)


def test_the_pieces_of_a_word_are_left_out_together():
    continues = np.array([False, False, True, False])
    words = np.tile([[1, 2, 2, 3, 1, 0]], (200, 1))  # two words of one piece, one of three
    found = pipeline.drop_words(words, continues, 0.5, np.random.default_rng(0))
    whole = {(1, 2, 2), (3,), (1,)}
    for row in found:
        row = row[row > 0]
        groups = np.split(row, np.flatnonzero(~continues[row])[1:])
        assert {tuple(group) for group in groups} <= whole
    assert len(np.unique(found, axis=0)) == 7  # every choice but none


@pytest.mark.parametrize("per_image", [1, 3, 4, 9])
def test_a_row_has_an_image_once_and_its_expressions(grouped, per_image):
    """As many as there are; where a row has no more, words and masks are 0 and have no weight."""
    batches = batches_of(grouped, per_image=per_image, seed=3, batches=12)
    one = batches_of(grouped)  # an expression a row
    alone = dict(
        zip(np.concatenate([one.rows(i)[:, 0] for i in range(len(one))]).tolist(), rows(one))
    )
    assert batches.order.per_row == min(per_image, 6)
    for number, (inputs, masks, weights) in enumerate(batches):
        for b, row in enumerate(batches.rows(number)):
            for k, i in enumerate(row):
                if i == len(grouped):
                    assert not masks[b, k].any() and not inputs["words"][b, k].any()
                    assert weights[b, k] == 0
                    continue
                image, words, mask = alone[i]
                np.testing.assert_array_equal(inputs["image"][b], image)
                np.testing.assert_array_equal(inputs["words"][b, k], words)
                np.testing.assert_array_equal(masks[b, k], mask)
                assert weights[b, k] == 1


def rows(batches):
    """Image, words and mask of every row of batches with an expression each."""
    for inputs, masks, _ in batches:
        yield from zip(inputs["image"], inputs["words"][:, 0], masks[:, 0])


def at(place, length):
    """Weights of a bilinear tap with half-pixel centres, over `length` old pixels."""
    centre = np.clip((place + 0.5) * length / tiny.SIZE - 0.5, 0, length - 1)
    return np.maximum(0, 1 - np.abs(centre - np.arange(length)))


def test_the_last_batch_is_smaller(records):
    batches = batches_of(records)
    assert [len(masks) for _, masks, _ in batches] == [4, 4, 3]
    assert np.concatenate([batches.rows(i)[:, 0] for i in range(3)]).tolist() == list(range(11))


# --- read ahead


def test_batches_are_read_ahead_and_in_order_whatever_the_threads_do(records, monkeypatch):
    """The first of each pair of files is held back until the second is read."""
    wanted = [*batches_of(records[:8], seed=0, batches=8)]
    main, readers = threading.get_ident(), set()

    def slow_read(row):
        readers.add(threading.get_ident())
        threading.Event().wait(0.02 * (row[0].ref_id % 3))
        return read_image_and_masks(row)

    monkeypatch.setattr(pipeline, "read_image_and_masks", slow_read)
    monkeypatch.setattr(pipeline, "THREADS", 4)
    batches = batches_of(records[:8], seed=0, batches=8)
    tiny.assert_same_batches([*batches], wanted)
    assert len(readers) > 1 and main not in readers


def test_reading_ahead_holds_a_few_batches_only(records):
    batches = batches_of(records, seed=0, batches=1000)
    batches[0]
    assert not batches.pending  # one batch is asked for often: to look at, to build a model
    for i in range(1, 30):
        batches[i]
        assert sorted(batches.pending) == list(range(i + 1, i + BATCHES_AHEAD))
    batches[500]
    assert not batches.pending


@pytest.mark.keras
def test_model_fit_takes_every_batch_once_and_in_order(seeded, records):
    """Over rounds and a symbolic build: Keras' own threads would start each round anew."""
    batches = batches_of(records, seed=0, batches=32, first_batch=3)
    seen = spied_words(seeded, batches, steps_per_epoch=8, epochs=4)
    order = RowOrder(range(11), 1, 0)[3 * BATCH : 35 * BATCH].reshape(32, BATCH, 1)
    np.testing.assert_array_equal(seen, batches.words[order])


def spied_words(keras, batches, **options):
    """Fits a small model and returns the words of each batch that reached a training step."""
    seen = []

    class Spied(keras.Model):
        def train_step(self, *arguments):
            inputs, *_ = arguments[-1]  # after the state, on JAX
            seen.append(np.array(inputs["words"]))
            return super().train_step(*arguments)

    fit(Spied, batches, **options)
    return seen


def fit(model, batches, **options):
    inputs = {
        "image": keras.Input((tiny.SIZE, tiny.SIZE, 3), name="image"),
        "words": keras.Input((1, tiny.WORDS), name="words"),
    }
    model = model(inputs, keras.layers.Dense(1)(inputs["image"])[:, None])
    model.compile("sgd", MaskLoss(), run_eagerly=True)
    model.fit(batches, shuffle=False, verbose=0, **options)


# --- errors


def test_wrong_arguments_are_refused(records):
    with pytest.raises(ValueError, match="the split is empty"):
        batches_of([])
    blank = tiny.record(records[0].image_path, records[0].mask(), "?!")
    with pytest.raises(ValueError, match=r"at least one word .* Received: '\?!'"):
        batches_of([*records, blank])


def bad_records(folder):
    """Records that cannot be read, and what the error must say beside the file's name."""
    mask = tiny.box(16, 16, 2, 2, 9, 9)
    good = folder / "good.png"
    Image.new("RGB", (16, 16)).save(good)
    cut = folder / "cut.png"
    cut.write_bytes(good.read_bytes()[:40])
    return {
        "missing": (tiny.record(folder / "gone.png", mask, "box"), "gone.png"),
        "cut short": (tiny.record(cut, mask, "box"), "cut.png"),
        "other size": (
            tiny.record(good, tiny.box(16, 20, 2, 2, 9, 9), "box"),
            r"size \(16, 20\) \(height, width\)\. Received: \(16, 16\)",
        ),
        "no mask": (tiny.record(good, 0 * mask, "box"), "mask covers no pixel: ref 0"),
    }


@pytest.mark.parametrize("fault", ["missing", "cut short", "other size", "no mask"])
def test_unreadable_files_are_named(tmp_path, fault):
    record, message = bad_records(tmp_path)[fault]
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        batches_of([record])[0]
    assert str(record.image_path) in str(error.value)


@pytest.mark.keras
def test_unreadable_files_are_named_in_the_middle_of_training(seeded, tmp_path, records):
    """Through Keras' iterators, and through TensorFlow's runtime where it is the backend."""
    bad, message = bad_records(tmp_path)["cut short"]
    batches = batches_of([*records[:10], bad])
    with pytest.raises(Exception, match=message) as error:
        fit(seeded.Model, batches)
    assert str(bad.image_path) in str(error.value) and str(bad.image_path) in str(batches.fault)


def test_batches_read_are_let_go(records):
    batches = batches_of(records, seed=0, batches=50)
    alive = [weakref.ref(batches[i][0]["image"]) for i in range(50)]
    gc.collect()
    assert sum(reference() is not None for reference in alive) <= 1
