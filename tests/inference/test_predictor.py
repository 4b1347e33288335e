"""The predictor: the same masks as the plain path, whatever the door an image comes in by."""

import pickle

import numpy as np
import pytest
import tiny
from keras import layers
from PIL import Image
from plain_path import plain

from keras_cmsa import Predictor, Preprocessor, Vocabulary, with_attention
from keras_cmsa.inference import predictor as module

pytestmark = pytest.mark.keras

SENTENCES = ["red box on the left", "blue box", "the green box right"]


@pytest.fixture
def photos(photo):
    rng = np.random.default_rng(5)
    others = [rng.integers(0, 256, (h, w, 3)).astype("uint8") for h, w in ((40, 17), (9, 9))]
    return [photo, *others]


def test_masks_are_those_of_the_plain_path(predictor, photos):
    shares = []
    for photo in photos:
        for prediction in predictor(photo, SENTENCES):
            expression = prediction.expression
            logits, mask = plain(predictor.model, predictor.preprocessor, photo, expression)
            np.testing.assert_allclose(prediction.logits, logits, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(prediction.mask, mask)
            shares.append(mask.mean())
    assert sum(0 < share < 1 for share in shares) >= 4
    assert predictor.levels == ["Res3", "Res4", "Res5"]


def test_attention_is_the_models(predictor, photo):
    with_maps = with_attention(predictor.model)
    for prediction in predictor(photo, SENTENCES):
        inputs = predictor.preprocessor([photo], [prediction.expression])
        outputs = with_maps(inputs, training=False)
        words, positions = (
            tiny.to_numpy(outputs[name])[0, 0] for name in ("word_attention", "position_attention")
        )
        assert prediction.tokens == tiny.vocabulary().split(prediction.expression)
        words = words[:, : len(prediction.tokens)]
        np.testing.assert_allclose(prediction.word_attention, words, atol=1e-5)
        np.testing.assert_allclose(prediction.position_attention, positions, atol=1e-5)


@pytest.mark.usefixtures("untraced")
def test_many_images_are_answered_as_each_alone(predictor, photos):
    """More images than a batch holds, one sentence or several each, in order."""
    by_two = Predictor(predictor.model, predictor.preprocessor, batch_size=2)
    alone = [by_two(photo, sentence) for photo, sentence in zip(photos, SENTENCES)]
    for found in (
        by_two(photos, SENTENCES),
        [p for (p,) in by_two(photos, [[s] for s in SENTENCES])],
        [of_photo[i] for i, of_photo in enumerate(by_two(photos, [SENTENCES] * 3))],
        list(by_two.stream(zip(photos, SENTENCES))),
    ):
        for one, other in zip(alone, found, strict=True):
            assert one.expression == other.expression
            np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.usefixtures("untraced")
def test_the_backbone_runs_once_for_many_sentences(predictor, photo, monkeypatch, spied):
    """And not at all for an image that is asked again; any number of sentences, in pieces."""
    predictor = Predictor(predictor.model, predictor.preprocessor)
    asked = [SENTENCES[i % 3] for i in range(7)]
    wanted = {s: plain(predictor.model, predictor.preprocessor, photo, s)[0] for s in SENTENCES}
    calls = spied(predictor.image_model, "predict_on_batch")
    monkeypatch.setattr(module, "EXPRESSIONS_AT_ONCE", 4)
    image = photo + 1
    for sentences in (asked, asked[:1], asked[:3]):
        found = predictor(image - 1, sentences)
        assert [p.expression for p in found] == sentences
        for p in found:
            np.testing.assert_allclose(p.logits, wanted[p.expression], rtol=1e-4, atol=1e-5)
    assert len(calls) == 1
    predictor(image, SENTENCES)
    assert len(calls) == 2
    image[:] = 0  # drawn into by its owner: another image
    predictor(image, SENTENCES)
    assert len(calls) == 3


@pytest.mark.usefixtures("untraced")
def test_it_answers_with_a_folded_copy(photo, spied):
    """Made at the first answer; the model stays as it was, and its training does not reach it."""
    folded = spied(module, "fold_for_inference")
    model = tiny.shaken(tiny.model(), np.random.default_rng(3))
    predictor = Predictor(model, tiny.preprocessor())
    assert folded == []
    wanted, _ = plain(model, predictor.preprocessor, photo, SENTENCES[0])
    for _ in range(2):
        logits = predictor(photo, SENTENCES[0]).logits
        np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    assert len(folded) == 1 and predictor.model is model
    parts = predictor.image_model._flatten_layers(), model._flatten_layers()
    in_copy, in_model = (
        any(isinstance(x, layers.BatchNormalization) for x in part) for part in parts
    )
    assert in_model and not in_copy
    model.get_layer("score").bias.assign_add([1.0])
    again = predictor(photo, SENTENCES[0]).logits
    np.testing.assert_array_equal(again, logits)
    anew = Predictor(model, predictor.preprocessor)(photo, SENTENCES[0]).logits
    np.testing.assert_allclose(anew, wanted + 1, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("untraced")
def test_a_pickle_answers_the_same(predictor, photo):
    """Of one that has answered, as a spawned worker gets it; without its last image."""
    ours = Predictor(predictor.model, predictor.preprocessor, 3, {"licence": "none"})
    wanted = ours(photo, SENTENCES[0]).logits
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.batch_size == 3 and copy.config == {"licence": "none"}
    assert copy._last == (None, None)
    np.testing.assert_allclose(copy(photo, SENTENCES[0]).logits, wanted, rtol=1e-4, atol=1e-5)


def test_any_door_for_an_image(predictor, photo, tmp_path):
    """The doors of `to_pixels`, which test_reading.py has all."""
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    expected = predictor(photo, SENTENCES[0]).mask
    for image in (path, path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(predictor(image, SENTENCES[0]).mask, expected)


def test_what_cannot_be_asked(predictor, photos, tmp_path):
    photo = photos[0]
    assert predictor(photo, []) == []
    with pytest.raises(ValueError, match="at least one word"):
        predictor(photo, "?!")
    with pytest.raises(ValueError, match="300 words"):
        predictor(photo, "box " * 300)
    with pytest.warns(UserWarning, match="takes 5 words; the last 1 of"):
        cut = predictor(photo, "the red box on the left")
    assert cut.tokens == ["the", "red", "box", "on", "the"]
    with pytest.raises(ValueError, match="3 images want a list"):
        predictor(photos, ["red box"])
    with pytest.raises(FileNotFoundError):
        predictor(tmp_path / "nowhere.png", "red box")


NOTHING = [None, b"red box", 0.5, float("nan"), 3, object()]  # arrays: test_reading.py


@pytest.mark.parametrize("image", NOTHING, ids=lambda value: type(value).__name__)
def test_what_is_no_image_is_refused(predictor, photo, image):
    message = "is not an image, or its header" if isinstance(image, bytes) else "wanted an image: "
    with pytest.raises(ValueError, match=message):
        predictor(image, "red box")
    with pytest.raises(ValueError, match=message):
        predictor([photo, image], ["red box", "red box"])


@pytest.mark.parametrize("expression", NOTHING, ids=lambda value: type(value).__name__)
def test_what_is_no_expression_is_refused(predictor, photo, expression):
    message = "wanted an expression as str, or a list of them for each image. Received: "
    for asked in (expression, [expression], ["red box", expression]):
        with pytest.raises(ValueError, match=message):
            predictor(photo, asked)
    with pytest.raises(ValueError, match=f"{message}|1 images want a list of as many"):
        predictor([photo], expression)
    with pytest.raises(ValueError, match=message):
        predictor([photo], [expression])


def test_a_preprocessor_of_another_model_is_refused(predictor):
    with pytest.raises(ValueError, match="does not fit the model, which takes images of 16 x 16"):
        Predictor(predictor.model, Preprocessor(tiny.vocabulary(), 32))
    with pytest.raises(ValueError, match="vocabulary does not fit"):
        Predictor(predictor.model, Preprocessor(Vocabulary(["red"], tiny.WORDS), tiny.SIZE))
