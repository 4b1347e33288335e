"""`keras-cmsa explain`: the figures of what a model answered, and why."""

import numpy as np
import pytest
from command import refused, run
from PIL import Image

from keras_cmsa.explain import figures as drawn

pytestmark = pytest.mark.usefixtures("untraced")

EXPRESSIONS = ("red box", "the blue box")


@pytest.fixture
def figures(spied):
    """What the figures of explanation.png and paper.png are made of; tests/explain has the rest."""
    return spied(drawn, "explanations_figure"), spied(drawn, "paper_figure")


def test_the_figures_are_those_of_the_explanations(
    capsys, models_kept, preset, predictor, photo, photo_path, tmp_path, figures
):
    out = tmp_path / "figures"
    assert run("explain", photo_path, *EXPRESSIONS, "--model", preset, "-o", out) == 0
    assert capsys.readouterr().out == f"{out / 'explanation.png'}\n{out / 'paper.png'}\n"
    masks = [prediction.mask for prediction in predictor(photo, list(EXPRESSIONS))]
    for name, ((images, explanations, truths),) in zip(("explanation", "paper"), figures):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width > 500
        np.testing.assert_array_equal(images, [photo] * 2)
        assert [x.prediction.expression for x in explanations] == [*EXPRESSIONS]
        np.testing.assert_array_equal([x.mask for x in explanations], masks)
        assert truths is None


def test_ground_truth_and_a_model_of_the_last_level(
    models_kept, preset, predictor, photo, photo_path, tmp_path, figures
):
    inside = np.zeros((31, 47), bool)
    inside[:, :20] = True
    Image.fromarray(inside).save(tmp_path / "true.png")
    asked = ["explain", photo_path, "red box", "--model", preset, "-o", tmp_path / "figures"]
    assert run(*asked, "--truth", tmp_path / "true.png", "--single-level", preset) == 0
    for ((_, (explanation,), (found,)),) in figures:
        np.testing.assert_array_equal(found, inside)
        assert explanation.inside.last_level_by == "the model cmsa"
        mask = predictor(photo, "red box").mask
        np.testing.assert_array_equal(explanation.inside.last_level, mask)


def test_bad_input_is_one_line(capsys, models_kept, preset, photo_path, tmp_path):
    Image.fromarray(np.full((9, 9), 255, "uint8")).save(tmp_path / "small.png")
    small = ["--truth", tmp_path / "small.png"]
    for arguments, message in [
        (["red box", *small], "is (9, 9), the image (31, 47)"),
        (["red box", "box", *small], "wanted a mask per expression"),
        ([], 'wanted one "EXPRESSION" or more'),
        (["?"], "at least one word"),
    ]:
        assert message in refused(capsys, "explain", photo_path, *arguments, "--model", preset)
