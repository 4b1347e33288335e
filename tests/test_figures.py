"""The paper's figures: what is drawn is what the model gave."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from PIL import Image

SENTENCES = ["red box on the left", "a box that costs $5 to $9"]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def predictor(seeded, rng):
    from keras_cmsa import Predictor

    model = tiny.model()
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(scale=0.3, size=weight.shape))
    return Predictor(model, tiny.vocabulary())


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (24, 32, 3)).astype("uint8")


def pictures(axis):
    return [np.asarray(image.get_array()) for image in axis.images]


def explained(predictor, photo, single_level=None):
    from keras_cmsa.figures import explain

    with pytest.warns(UserWarning, match="takes 5 words"):
        return explain(predictor, photo, SENTENCES, single_level)


def test_the_last_level_alone_and_the_strongest_channel(predictor, photo):
    """Against the model's own layers, called by hand."""
    import keras

    from keras_cmsa.evaluation import strict_mask
    from keras_cmsa.image import resize_and_pad

    model = predictor.model
    for explanation, sentence in zip(explained(predictor, photo), SENTENCES):
        upto = keras.Model(model.input, model.get_layer("fusion").input)
        with pytest.warns(UserWarning) if sentence == SENTENCES[1] else no_warning():
            words = predictor.encode([sentence])
        levels = upto.predict_on_batch({"image": resize_and_pad(photo, 16)[None], "words": words})
        levels = [keras.ops.convert_to_tensor(level) for level in levels]
        fused, parts = model.get_layer("fusion")(levels, return_levels=True)
        logits = model.get_layer("logits")(model.get_layer("score")(parts[2]))
        logits = keras.ops.convert_to_numpy(logits)[0, ..., 0]
        np.testing.assert_array_equal(explanation.last_level, strict_mask(logits, (24, 32), "pad"))
        assert explanation.levels == ["Res3", "Res4", "Res5"]
        fused = keras.ops.convert_to_numpy(fused)[0]
        peaks = fused.reshape(-1, fused.shape[-1]).max(axis=0)
        strongest = fused[..., np.argmax(peaks)]
        heat = explanation.strongest_channel
        assert heat.shape == (24, 32) and heat.max() == 1
        row, column = np.unravel_index(np.argmax(strongest), strongest.shape)
        top, left = np.unravel_index(np.argmax(heat), heat.shape)
        # The image fills rows 2 to 14 of the 16; each of the 2 x 2 cells covers 8.
        assert (top * 0.5 + 2) // 8 == row and left * 0.5 // 8 == column


def no_warning():
    import contextlib

    return contextlib.nullcontext()


def test_words_figure(predictor, photo):
    from keras_cmsa.figures import words_figure
    from keras_cmsa.visualize import FOUND, TRUE, overlay

    explanations = explained(predictor, photo)
    truths = [np.arange(32) < 16] * 2
    truths = [np.broadcast_to(t, (24, 32)) for t in truths]
    figure = words_figure([photo] * 2, explanations, truths)
    for i, explanation in enumerate(explanations):
        axes = figure.axes[5 * i : 5 * i + 5]
        prediction = explanation.prediction
        np.testing.assert_array_equal(pictures(axes[0])[0], photo)
        np.testing.assert_allclose(pictures(axes[1])[0], prediction.word_attention)
        assert [t.get_text() for t in axes[1].get_xticklabels()] == prediction.tokens
        assert [t.get_text() for t in axes[1].get_yticklabels()] == ["Res3", "Res4", "Res5"]
        written = [int(text.get_text()) for text in axes[1].texts]
        np.testing.assert_allclose(written, 100 * prediction.word_attention.ravel(), atol=0.51)
        np.testing.assert_array_equal(
            pictures(axes[2])[0], overlay(photo, explanation.last_level, FOUND)
        )
        assert "its part of the fused map" in axes[2].get_title()
        np.testing.assert_array_equal(pictures(axes[3])[0], overlay(photo, prediction.mask, FOUND))
        both, either = prediction.mask & truths[i], prediction.mask | truths[i]
        assert f"IoU {both.sum() / either.sum():.2f}" in axes[3].get_title()
        np.testing.assert_array_equal(pictures(axes[4])[0], overlay(photo, truths[i], TRUE))
    without = words_figure([photo] * 2, explanations)
    titles = [axis.get_title() for axis in without.axes]
    assert "ground truth" not in titles and any("score" in t or "nothing" in t for t in titles)


def test_the_last_level_from_a_model_of_its_own(seeded, predictor, photo):
    explanations = explained(predictor, photo, single_level=predictor)
    for explanation in explanations:
        np.testing.assert_array_equal(explanation.last_level, explanation.prediction.mask)
        assert explanation.last_level_by == "the model cmsa"


def test_places_figure(predictor, photo, tmp_path):
    from keras_cmsa.figures import places_figure, write_figure

    explanations = explained(predictor, photo)
    figure = places_figure(photo, explanations)
    for i, explanation in enumerate(explanations):
        axes = figure.axes[3 * i : 3 * i + 3]
        assert axes[0].get_title().replace("\\", "") == f"“{SENTENCES[i]}”"
        grey, drawn = pictures(axes[1])
        np.testing.assert_allclose(grey, photo.mean(axis=-1), rtol=1e-6)
        np.testing.assert_array_equal(drawn, explanation.strongest_channel)
        _, heat = pictures(axes[2])
        true = explanation.prediction.heat_map()
        assert np.argmax(true) in np.flatnonzero(heat == 1)
        np.testing.assert_allclose(heat, np.minimum(true / np.percentile(true, 99), 1))
    # A formula in a title would not be drawn as it was written, or not at all.
    write_figure(tmp_path / "places.png", figure)
    with Image.open(tmp_path / "places.png") as picture:
        np.testing.assert_allclose(picture.size, figure.get_size_inches() * figure.dpi, atol=1)


def test_failures_figure_has_the_worst_first(predictor, tmp_path):
    from keras_cmsa.evaluation import evaluate
    from keras_cmsa.figures import failures_figure
    from keras_cmsa.image import read_image
    from keras_cmsa.visualize import TRUE, overlay

    records = tiny.records(tmp_path, 6)
    scores = evaluate(predictor.model, predictor.vocabulary, records)
    figure = failures_figure(predictor, scores, count=4)
    worst = sorted(scores, key=lambda s: (s.iou, -s.union))[:4]
    assert len(figure.axes) == 12
    for i, score in enumerate(worst):
        image, found, true = figure.axes[3 * i : 3 * i + 3]
        pixels = read_image(score.record.image_path)
        np.testing.assert_array_equal(pictures(image)[0], pixels)
        assert image.get_title() == f"“{score.record.expression}”"
        assert f"IoU {score.iou:.2f}" in found.get_title()
        np.testing.assert_array_equal(
            pictures(true)[0], overlay(pixels, score.record.mask().astype(bool), TRUE)
        )


def test_a_system_without_such_parts(seeded, photo):
    import keras

    from keras_cmsa.figures import inner_model

    image = keras.Input((16, 16, 3), name="image")
    words = keras.Input((5,), dtype="int32", name="words")
    model = keras.Model({"image": image, "words": words}, image, name="lstm")
    with pytest.raises(ValueError, match="Received: 'lstm'"):
        inner_model(model)


def test_the_figures_of_an_evaluation(predictor, tmp_path, monkeypatch):
    """Expressions spread over the split with their truth; the image that has the most."""
    from keras_cmsa import figures
    from keras_cmsa.evaluation import evaluate

    records = tiny.records(tmp_path, 5)
    records[4:] = [replace(records[3], expression="blue box")]
    scores = evaluate(predictor.model, predictor.vocabulary, records)
    drawn = {}
    write = figures.write_figure
    monkeypatch.setattr(
        figures, "write_figure", lambda path, f: drawn.update({path.name: f}) or write(path, f)
    )
    figures.write_figures(tmp_path, "val", predictor, scores, failures=2, examples=3)
    assert set(drawn) == {f"{kind}_val.png" for kind in ("failures", "words", "places")}
    assert all((tmp_path / name).stat().st_size > 10_000 for name in drawn)
    titles = [axis.get_title() for axis in drawn["words_val.png"].axes[:15:5]]
    assert titles == [f"“{records[i].expression}”" for i in (0, 2, 4)]
    titles = [axis.get_title() for axis in drawn["places_val.png"].axes[:6:3]]
    assert titles == [f"“{records[i].expression}”" for i in (3, 4)]
