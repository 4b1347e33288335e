"""The paper's figures: what is drawn is what was scored."""

from dataclasses import replace

import numpy as np
import pytest
import tiny

from keras_cmsa.evaluation.crf import MaskRule
from keras_cmsa.evaluation.drawing import FOUND, TRUE, overlay
from keras_cmsa.evaluation.scores import score_mask

SENTENCES = ["red box on the left", "a box that costs $5 to $9"]


@pytest.fixture
def photo():
    return np.random.default_rng(3).integers(0, 256, (24, 32, 3)).astype("uint8")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.records(tmp_path_factory.mktemp("records"), 6)


@pytest.fixture
def explanations(predictor, photo):
    from keras_cmsa.evaluation.explanations import Explainer

    with pytest.warns(UserWarning, match="takes 5 words"):
        return Explainer(predictor, rule=MaskRule("tf_phrasecut"))(photo, SENTENCES)


def pictures(axis):
    return [np.asarray(image.get_array()) for image in axis.images]


def iou(one, other):
    return np.sum(one & other) / np.sum(one | other)


def test_words_figure(photo, explanations):
    from keras_cmsa.evaluation.figures import words_figure

    truths = [np.broadcast_to(np.arange(32) < 16, (24, 32))] * 2
    figure = words_figure([photo] * 2, explanations, truths)
    for i, explanation in enumerate(explanations):
        axes = figure.axes[5 * i : 5 * i + 5]
        prediction = explanation.prediction
        np.testing.assert_array_equal(pictures(axes[0])[0], photo)
        np.testing.assert_allclose(pictures(axes[1])[0], prediction.word_attention)
        assert [t.get_text() for t in axes[1].get_xticklabels()] == prediction.tokens
        assert [t.get_text() for t in axes[1].get_yticklabels()] == ["Res3", "Res4", "Res5"]
        last_level = overlay(photo, explanation.last_level, FOUND)
        np.testing.assert_array_equal(pictures(axes[2])[0], last_level)
        assert "its part of the fusion" in axes[2].get_title()
        # The mask of the rule, and its IoU; that of the profile strict is another one.
        found = overlay(photo, explanation.found, FOUND)
        np.testing.assert_array_equal(pictures(axes[3])[0], found)
        assert np.any(explanation.found != prediction.mask)
        assert f"IoU {iou(explanation.found, truths[i]):.2f}" in axes[3].get_title()
        np.testing.assert_array_equal(pictures(axes[4])[0], overlay(photo, truths[i], TRUE))
    without = words_figure([photo] * 2, explanations)
    titles = [axis.get_title() for axis in without.axes]
    assert "ground truth" not in titles and any("score" in t or "nothing" in t for t in titles)


def test_places_figure(photo, explanations):
    from keras_cmsa.evaluation.figures import places_figure

    figure = places_figure(photo, explanations)
    for i, explanation in enumerate(explanations):
        axes = figure.axes[3 * i : 3 * i + 3]
        assert axes[0].get_title().replace("\\", "") == f"“{SENTENCES[i]}”"
        np.testing.assert_array_equal(pictures(axes[0])[0], overlay(photo, explanation.found))
        grey, drawn = pictures(axes[1])
        np.testing.assert_allclose(grey, photo.mean(axis=-1), rtol=1e-6)
        np.testing.assert_array_equal(drawn, explanation.strongest_channel)
        _, heat = pictures(axes[2])
        true = explanation.prediction.heat_map()
        assert np.argmax(true) in np.flatnonzero(heat == 1)
        np.testing.assert_allclose(heat, np.minimum(true / np.percentile(true, 99), 1))


RULES = [
    MaskRule("strict"),
    MaskRule("tf_phrasecut"),
    MaskRule("strict", "network"),
    MaskRule("tf_phrasecut", "network"),
    MaskRule("strict", "original"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.profile}-{r.crf}")
def test_failures_figure_draws_the_mask_that_was_scored(predictor, records, rule):
    """The worst first; the orange in each picture has the IoU that stands above it."""
    from keras_cmsa.data.samples import read_pixels
    from keras_cmsa.evaluation.evaluate import logits_of
    from keras_cmsa.evaluation.figures import failures_figure

    if rule.crf:
        pytest.importorskip("pydensecrf", reason='pip install "keras-cmsa[crf]"')
    model, preprocessor = predictor.model, predictor.preprocessor
    scores, masks = [], {}
    for i, _, logits in logits_of(model, preprocessor, records):
        record = records[i]
        mask = rule(read_pixels(record)[0], logits, preprocessor)
        scores.append(score_mask(record, mask))
        masks[record.ref_id] = mask
    figure = failures_figure(predictor, scores, rule, count=4)
    worst = sorted(scores, key=lambda s: (s.iou, -s.union))[:4]
    assert len(figure.axes) == 12
    for i, score in enumerate(worst):
        image, found, true = figure.axes[3 * i : 3 * i + 3]
        pixels, mask = read_pixels(score.record)
        np.testing.assert_array_equal(pictures(image)[0], pixels)
        assert image.get_title() == f"“{score.record.expression}”"
        (drawn,) = pictures(found)
        np.testing.assert_array_equal(drawn, overlay(pixels, masks[score.record.ref_id], FOUND))
        # Read off the picture alone: the found pixels are those that are not merely darkened.
        darkened = overlay(pixels, np.zeros(mask.shape, bool))
        seen = np.any(drawn != darkened, axis=-1)
        assert found.get_title() == f"prediction, IoU {iou(seen, mask > 0):.2f}"
        np.testing.assert_array_equal(pictures(true)[0], overlay(pixels, mask > 0, TRUE))


def test_the_rules_give_different_pictures(predictor, records):
    """Or the test above could not tell them apart."""
    pytest.importorskip("pydensecrf", reason='pip install "keras-cmsa[crf]"')
    from keras_cmsa.evaluation.figures import failures_figure

    scores = [score_mask(record, record.mask() > 0) for record in records[:2]]
    drawn = {
        b"".join(pictures(axis)[0].tobytes() for axis in figure.axes[1::3])
        for figure in (failures_figure(predictor, scores, rule) for rule in RULES)
    }
    assert len(drawn) == len(RULES)


@pytest.mark.parametrize("profile", ["strict", "tf_phrasecut"])
def test_examples_show_what_evaluation_counts(predictor, records, profile):
    from keras_cmsa.data.samples import read_pixels
    from keras_cmsa.evaluation.evaluate import evaluate
    from keras_cmsa.evaluation.figures import examples_figure

    records = [*records[:2], replace(records[2], expression=r"the $\box$ on_the ^left $ {")]
    figure = examples_figure(predictor, records, MaskRule(profile))
    scores = evaluate(predictor.model, predictor.preprocessor, records, profile)
    for i, score in enumerate(scores):
        image, true, found, words = figure.axes[4 * i : 4 * i + 4]
        pixels, mask = read_pixels(score.record)
        np.testing.assert_array_equal(pictures(image)[0], pixels)
        np.testing.assert_array_equal(pictures(true)[0], overlay(pixels, mask > 0, TRUE))
        prediction = predictor(pixels, score.record.expression)
        drawn = MaskRule(profile)(pixels, prediction.logits, predictor.preprocessor)
        np.testing.assert_array_equal(pictures(found)[0], overlay(pixels, drawn, FOUND))
        assert np.sum(drawn & (mask > 0)) == score.intersection
        assert found.get_title() == f"prediction, IoU {score.iou:.2f}"
        np.testing.assert_allclose(pictures(words)[0], prediction.word_attention)
        np.testing.assert_allclose(prediction.word_attention.sum(axis=1), 1, atol=1e-5)


def test_examples_of_a_system_without_attention(predictor, records, monkeypatch):
    from keras_cmsa.evaluation.figures import examples_figure

    monkeypatch.setattr(type(predictor), "levels", [])
    assert len(examples_figure(predictor, records[:2]).axes) == 6


def test_the_figures_of_an_evaluation(predictor, records, tmp_path, monkeypatch):
    """Expressions spread over the split with their truth; the image that has the most."""
    from keras_cmsa.data.samples import read_pixels
    from keras_cmsa.evaluation import figures
    from keras_cmsa.evaluation.evaluate import evaluate

    records = [*records[:4], replace(records[3], expression="blue box")]
    rule = MaskRule("tf_phrasecut")
    scores = evaluate(predictor.model, predictor.preprocessor, records, rule.profile)
    drawn = {}
    write = figures.write_figure
    monkeypatch.setattr(
        figures, "write_figure", lambda path, f: drawn.update({path.name: f}) or write(path, f)
    )
    figures.write_figures(tmp_path, "val", predictor, scores, rule, failures=2, examples=3)
    assert set(drawn) == {f"{kind}_val.png" for kind in ("failures", "words", "places")}
    assert all((tmp_path / name).stat().st_size > 10_000 for name in drawn)
    assert len(drawn["failures_val.png"].axes) == 6
    axes = drawn["words_val.png"].axes[:15]
    assert [axis.get_title() for axis in axes[::5]] == [
        f"“{records[i].expression}”" for i in (0, 2, 4)
    ]
    for axis, i in zip(axes[3::5], (0, 2, 4)):
        pixels, _ = read_pixels(records[i])
        logits = predictor(pixels, records[i].expression).logits
        mask = rule(pixels, logits, predictor.preprocessor)
        np.testing.assert_array_equal(pictures(axis)[0], overlay(pixels, mask, FOUND))
        assert f"IoU {scores[i].iou:.2f}" in axis.get_title()
    titles = [axis.get_title() for axis in drawn["places_val.png"].axes[:6:3]]
    assert titles == [f"“{records[i].expression}”" for i in (3, 4)]
