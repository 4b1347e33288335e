"""The paper's figures: what is drawn is what was scored."""

from dataclasses import replace

import numpy as np
import pytest
import tiny

from keras_cmsa.data.samples import read_image_and_masks
from keras_cmsa.evaluation.crf import refine
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.scores import score_mask
from keras_cmsa.explain import drawing, figures
from keras_cmsa.explain.drawing import overlay, probability_overlay
from keras_cmsa.explain.explanations import Explainer
from keras_cmsa.explain.figures import explanations_figure, failures_figure, paper_figure, scored
from keras_cmsa.inference.masks import MaskRule

pytestmark = pytest.mark.usefixtures("untraced")

SENTENCES = ["red box on the left", "a box that costs $5 to $9"]


@pytest.fixture
def photo():
    return np.random.default_rng(3).integers(0, 256, (24, 32, 3)).astype("uint8")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return tiny.records(tmp_path_factory.mktemp("records"), 6)


@pytest.fixture
def explanations(predictor, photo):
    with pytest.warns(UserWarning, match="takes 5 words"):
        return Explainer(predictor)(photo, SENTENCES, MaskRule("tf_phrasecut"))


def pictures(axis):
    return [np.asarray(image.get_array()) for image in axis.images]


def iou(one, other):
    return np.sum(one & other) / np.sum(one | other)


def test_explanations_figure(photo, explanations):
    truths = [np.broadcast_to(np.arange(32) < 16, (24, 32))] * 2
    figure = explanations_figure([photo] * 2, explanations, truths)
    for i, explanation in enumerate(explanations):
        image, found, probable, words = figure.axes[4 * i : 4 * i + 4]
        prediction = explanation.prediction
        np.testing.assert_array_equal(pictures(image)[0], photo)
        assert image.get_title().replace("\\", "") == f"“{SENTENCES[i]}”"
        # The mask of the rule, and its IoU; that of the profile strict is another one.
        np.testing.assert_array_equal(pictures(found)[0], overlay(photo, explanation.mask))
        assert np.any(explanation.mask != prediction.mask)
        assert found.get_title() == f"found, IoU {iou(explanation.mask, truths[i]):.2f}"
        painted = probability_overlay(photo, prediction.probabilities)
        np.testing.assert_array_equal(pictures(probable)[0], painted)
        assert [t.get_text() for t in words.get_yticklabels()] == prediction.tokens
        assert [bar.get_width() for bar in words.patches] == [w.change for w in explanation.words]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["found", "ground truth"]
    without = explanations_figure([photo] * 2, explanations)
    assert [text.get_text() for text in without.legends[0].get_texts()] == ["found"]
    titles = [axis.get_title() for axis in without.axes[1:8:4]]
    assert all("score" in title or "nothing" in title for title in titles)


def test_paper_figure(photo, explanations):
    figure = paper_figure([photo] * 2, explanations)
    for i, explanation in enumerate(explanations):
        found, matrix, last, channel = figure.axes[4 * i : 4 * i + 4]
        prediction, inside = explanation.prediction, explanation.inside
        np.testing.assert_array_equal(pictures(found)[0], overlay(photo, explanation.mask))
        np.testing.assert_allclose(pictures(matrix)[0], prediction.word_attention)
        assert [t.get_text() for t in matrix.get_xticklabels()] == prediction.tokens
        assert [t.get_text() for t in matrix.get_yticklabels()] == ["Res3", "Res4", "Res5"]
        np.testing.assert_array_equal(pictures(last)[0], overlay(photo, inside.last_level))
        assert "its part of the fusion" in last.get_title()
        grey, drawn = pictures(channel)
        np.testing.assert_allclose(grey, photo.mean(axis=-1), rtol=1e-6)
        np.testing.assert_array_equal(drawn, inside.strongest_channel)


def test_the_title_of_an_empty_mask():
    assert scored(np.zeros((2, 3), bool), 1.0) == "nothing found, IoU 1.00"


@pytest.mark.parametrize(
    "rule",
    [
        MaskRule("strict"),
        MaskRule("tf_phrasecut"),
        MaskRule("strict", refine, "network"),
        MaskRule("tf_phrasecut", refine, "original"),
    ],
    ids=lambda r: f"{r.profile}-{r.refine and r.size}",
)
def test_failures_figure_draws_the_mask_that_was_scored(predictor, records, rule):
    """The worst first; the orange in each picture has the IoU that stands above it."""
    if rule.refine:
        pytest.importorskip("pydensecrf", reason='pip install "keras-cmsa[crf]"')
    scores, masks = [], {}
    for record in records:
        pixels, _ = read_image_and_masks([record])
        mask = rule(pixels, predictor(pixels, record.expression).logits, predictor.preprocessor)
        scores.append(score_mask(record, mask))
        masks[record.ref_id] = mask
    figure = failures_figure(predictor, scores, rule, count=4)
    worst = sorted(scores, key=lambda s: (s.iou, -s.union))[:4]
    assert len(figure.axes) == 8
    for i, score in enumerate(worst):
        image, found = figure.axes[2 * i : 2 * i + 2]
        pixels, (mask,) = read_image_and_masks([score.record])
        np.testing.assert_array_equal(pictures(image)[0], pixels)
        assert image.get_title() == f"“{score.record.expression}”"
        (drawn,) = pictures(found)
        np.testing.assert_array_equal(drawn, overlay(pixels, masks[score.record.ref_id]))
        # Read off the picture alone: the found pixels are those that are not merely darker.
        darkened = overlay(pixels, np.zeros(mask.shape, bool))
        seen = np.any(drawn != darkened, axis=-1)
        assert found.get_title() == f"found, IoU {iou(seen, mask > 0):.2f}"
        assert len(found.collections) == 2  # the outlines of mask and ground truth


def test_the_figures_of_an_evaluation(predictor, records, tmp_path, spied):
    """Expressions spread over the split with their truth; the image that has the most."""
    records = [*records[:4], replace(records[3], expression="blue box")]
    rule = MaskRule("tf_phrasecut")
    scores = evaluate(predictor, records, profile=rule.profile)
    written = spied(drawing, "write_figure")
    explain = Explainer(predictor)
    figures.write_figures(tmp_path, "val", predictor, explain, scores, rule, 3, examples=3)
    drawn = {path.name: figure for path, figure in written}
    assert set(drawn) == {f"{kind}_val.png" for kind in ("failures", "examples", "paper")}
    assert all((tmp_path / name).stat().st_size > 10_000 for name in drawn)
    assert len(drawn["failures_val.png"].axes) == 8  # two a row, the last empty
    axes = drawn["examples_val.png"].axes[:12]
    assert [axis.get_title() for axis in axes[::4]] == [
        f"“{records[i].expression}”" for i in (0, 2, 4)
    ]
    for axis, i in zip(axes[1::4], (0, 2, 4)):
        pixels, _ = read_image_and_masks([records[i]])
        logits = predictor(pixels, records[i].expression).logits
        mask = rule(pixels, logits, predictor.preprocessor)
        np.testing.assert_array_equal(pictures(axis)[0], overlay(pixels, mask))
        assert f"IoU {scores[i].iou:.2f}" in axis.get_title()
    titles = [axis.get_title() for axis in drawn["paper_val.png"].axes[:8:4]]
    assert titles == [f"“{records[i].expression}”" for i in (3, 4)]
