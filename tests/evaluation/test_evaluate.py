"""Evaluation at the original size against masks drawn and counted by hand."""

import numpy as np
import pytest
import tiny
from PIL import Image

from keras_cmsa.inference.masks import PROFILES
from keras_cmsa.preprocessing.preprocessor import Preprocessor

pytestmark = pytest.mark.keras

S = tiny.SIZE


@pytest.fixture(scope="module")
def finds_white():
    """A model whose mask is what is white in the image: logits of 127.5 and -127.5."""
    import keras

    image = keras.Input((S, S, 3), name="image")
    words = keras.Input((None, tiny.WORDS), dtype="int32", name="words")
    red = keras.layers.Rescaling(1.0, offset=-127.5)(image)[:, None, ..., :1]
    each = keras.ops.zeros_like(words[..., :1, None, None], dtype="float32")
    return keras.Model({"image": image, "words": words}, red + each)


def shown(folder, name, found, true, **options):
    """A record with the mask `true` and an image that is white where `found` is."""
    path = folder / f"{name}.png"
    Image.fromarray(np.repeat(255 * found[..., None], 3, axis=2)).save(path)
    return tiny.record(path, true, "box on the left", **options)


def evaluate(*arguments, **options):
    from keras_cmsa.evaluation.evaluate import evaluate

    return evaluate(*arguments, **options)


def test_known_overlap_at_the_networks_size(finds_white, tmp_path):
    """Two squares of 64 pixels that share 32, one found and one to be found."""
    found, true = tiny.box(S, S, 4, 8, 12, 16), tiny.box(S, S, 4, 4, 12, 12)
    record = shown(tmp_path, "squares", found, true)
    for profile in PROFILES:
        (result,) = evaluate(finds_white, tiny.preprocessor(), [record], profile)
        assert (result.intersection, result.union, result.iou) == (32, 96, 32 / 96)
        assert result.record is record


@pytest.mark.parametrize(
    ("profile", "resizing", "union"),
    [
        ("strict", "pad", 128),  # a perfect network has an IoU of 1
        ("strict", "stretch", 128),
        ("tf_phrasecut", "pad", 18 * 10),  # a border of one pixel on every side
        ("tf_phrasecut", "stretch", 18 * 8),  # the width was not resized
    ],
)
def test_known_overlap_at_twice_the_networks_size(finds_white, tmp_path, profile, resizing, union):
    """A box of 16 x 8 in an image of 32 x 16, found by the network at half the size."""
    true = tiny.box(32, 16, 8, 4, 24, 12)
    record = shown(tmp_path, "half", true, true)
    (result,) = evaluate(finds_white, tiny.preprocessor(resizing), [record], profile)
    assert (result.intersection, result.union) == (128, union)


def test_what_is_found_in_the_padding_does_not_count(tmp_path):
    from keras_cmsa.evaluation.evaluate import score

    logits = np.full((S, S), 5.0)
    logits[:, 4:12] = -5.0  # the image, 32 x 16, between its padding
    logits[4:8, 6:10] = 5.0
    record = shown(tmp_path, "padding", *2 * [tiny.box(32, 16, 8, 4, 16, 12)])
    assert score(record, logits, tiny.preprocessor()).iou == 1.0
    # The authors' rule lets the padding's edge in: a column of one pixel on either side.
    assert score(record, logits, tiny.preprocessor(), "tf_phrasecut").union == 10 * 10 + 2 * 32


def test_nothing_found_is_an_iou_of_zero(finds_white, tmp_path):
    record = shown(tmp_path, "none", tiny.box(S, S, 0, 0, 0, 0), tiny.box(S, S, 4, 4, 8, 8))
    for profile in PROFILES:
        (result,) = evaluate(finds_white, tiny.preprocessor(), [record], profile)
        assert (result.intersection, result.union) == (0, 16)


def test_every_expression_counts_once_in_order_whatever_the_batch_size(finds_white, tmp_path):
    rng = np.random.default_rng(0)
    true = tiny.box(S, S, 4, 4, 12, 12)
    found = [np.where(rng.random((S, S)) < k / 6, true, 0).astype("uint8") for k in range(1, 6)]
    records = [shown(tmp_path, f"{i}", x, true) for i, x in enumerate(found)]
    records.append(records[1])  # a second sentence about the same object
    wanted = [(x.sum(), 64) for x in [*found, found[1]]]
    for batch_size in (1, 4, 8):
        scores = evaluate(finds_white, tiny.preprocessor(), records, batch_size=batch_size)
        assert [(s.intersection, s.union) for s in scores] == wanted
        assert [s.record for s in scores] == records


def test_sentences_of_an_image_are_scored_as_each_alone(predictor, tmp_path):
    """Wherever they stand, and whatever there is beside them."""
    images = tiny.records(tmp_path, 4)
    records = tiny.several_of_each(images, [3, 1, 10, 2])  # more than go through together
    found = evaluate(predictor.model, predictor.preprocessor, records)
    assert [score.record for score in found] == records
    for score in found:
        (alone,) = evaluate(predictor.model, predictor.preprocessor, [score.record])
        assert (score.intersection, score.union) == (alone.intersection, alone.union)
    assert len({score.iou for score in found}) > 3


def test_logits_come_with_the_image_on_the_square(finds_white, tmp_path):
    from keras_cmsa.evaluation.evaluate import logits_of

    preprocessor = tiny.preprocessor("stretch")
    records = [shown(tmp_path, f"{i}", *2 * [tiny.box(20, 30, 2, 2, 9, 9 + i)]) for i in range(3)]
    found = list(logits_of(finds_white, preprocessor, records, batch_size=2))
    assert [i for i, _, _ in found] == [0, 1, 2]
    for i, image, logits in found:
        pixels = np.asarray(Image.open(records[i].image_path))
        np.testing.assert_array_equal(image, preprocessor.image(pixels))
        np.testing.assert_allclose(logits, image[..., 0] - 127.5)


def test_bad_arguments(finds_white, tmp_path):
    from keras_cmsa.preprocessing.vocabulary import Vocabulary

    record = shown(tmp_path, "one", *2 * [tiny.box(S, S, 4, 4, 8, 8)])
    with pytest.raises(ValueError, match=r"\['strict', 'tf_phrasecut'\]. Received: 'loose'"):
        evaluate(finds_white, tiny.preprocessor(), [record], "loose")
    with pytest.raises(ValueError, match="the split is empty"):
        evaluate(finds_white, tiny.preprocessor(), [])
    with pytest.raises(ValueError, match=f"takes {tiny.WORDS} words.* max_words=20"):
        evaluate(finds_white, Preprocessor(Vocabulary(["box"]), S), [record])
    with pytest.raises(ValueError, match="takes images of 16 x 16"):
        evaluate(finds_white, Preprocessor(tiny.vocabulary(), 2 * S), [record])
    with pytest.raises(ValueError, match=r"tables of .10. rows.* a vocabulary of 3 "):
        small = Preprocessor(Vocabulary(["box"], tiny.WORDS), S)
        evaluate(tiny.model(), small, [record])
    record.image_path.unlink()
    with pytest.raises(FileNotFoundError, match=r"one\.png"):
        evaluate(finds_white, tiny.preprocessor(), [record])
