"""`keras-cmsa explain`: the figures of what a model answered, and why."""

import numpy as np
import pytest
from command import refused, run
from PIL import Image

pytestmark = pytest.mark.usefixtures("untraced")

EXPRESSIONS = ("red box", "the blue box")


@pytest.fixture
def figures(monkeypatch):
    """The figures that a command writes, by file name; they are written too."""
    from keras_cmsa.explain import drawing

    drawn, write = {}, drawing.write_figure
    monkeypatch.setattr(
        drawing, "write_figure", lambda path, f: drawn.update({path.name: f}) or write(path, f)
    )
    return drawn


def shown(axis):
    return np.asarray(axis.images[0].get_array())


def check_files(folder, figures):
    for name, figure in figures.items():
        with Image.open(folder / name) as picture:
            np.testing.assert_allclose(picture.size, figure.get_size_inches() * figure.dpi, atol=1)


def test_the_figures_are_those_of_the_explanations(
    capsys, models_kept, preset, predictor, photo, photo_path, tmp_path, figures
):
    from keras_cmsa.explain.drawing import overlay
    from keras_cmsa.explain.explanations import Explainer

    out = tmp_path / "figures"
    assert run("explain", photo_path, *EXPRESSIONS, "--model", preset, "-o", out) == 0
    assert capsys.readouterr().out == f"{out / 'explanation.png'}\n{out / 'paper.png'}\n"
    assert set(figures) == {"explanation.png", "paper.png"}
    check_files(out, figures)
    answers, paper = figures["explanation.png"].axes, figures["paper.png"].axes
    for i, wanted in enumerate(Explainer(predictor)(photo, list(EXPRESSIONS))):
        image, found, _, words = answers[4 * i : 4 * i + 4]
        assert image.get_title() == f"“{EXPRESSIONS[i]}”"
        np.testing.assert_array_equal(shown(image), photo)
        np.testing.assert_array_equal(shown(found), overlay(photo, wanted.mask))
        assert f"score {wanted.prediction.score:.2f}" in found.get_title()
        bars = [bar.get_width() for bar in words.patches]
        np.testing.assert_allclose(bars, [word.change for word in wanted.words], atol=1e-6)
        _, matrix, last, _ = paper[4 * i : 4 * i + 4]
        np.testing.assert_allclose(shown(matrix), wanted.prediction.word_attention, atol=1e-6)
        np.testing.assert_array_equal(shown(last), overlay(photo, wanted.inside.last_level))


@pytest.mark.parametrize("clear", [False, True])
def test_ground_truth_and_a_model_of_the_last_level(
    models_kept, preset, predictor, photo, photo_path, tmp_path, figures, clear
):
    """The ground truth is white on black, or what is not clear."""
    from keras_cmsa.explain.drawing import overlay

    inside = np.zeros((31, 47), bool)
    inside[:, :20] = True
    truth = 255 * inside.astype("uint8")
    if clear:
        truth = np.dstack([np.full((31, 47, 3), 255, "uint8"), truth])
    Image.fromarray(truth).save(tmp_path / "true.png")
    asked = ["explain", photo_path, "red box", "--model", preset, "-o", tmp_path / "figures"]
    assert run(*asked, "--truth", tmp_path / "true.png", "--single-level", preset) == 0
    found = figures["explanation.png"].axes[1]
    mask = predictor(photo, "red box").mask
    iou = np.sum(mask & inside) / np.sum(mask | inside)
    assert f"IoU {iou:.2f}" in found.get_title() and len(found.collections) == 2
    last = figures["paper.png"].axes[2]
    assert "the model cmsa" in last.get_title()
    np.testing.assert_array_equal(shown(last), overlay(photo, mask))


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
