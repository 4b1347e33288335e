"""`keras-cmsa explain`: the two figures of what a model looked at."""

import numpy as np
import pytest
from command import refused, run
from PIL import Image

EXPRESSIONS = ("red box", "the blue box")


@pytest.fixture
def figures(monkeypatch):
    """The figures that a command writes, by file name; they are written too."""
    from keras_cmsa.evaluation import drawing

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
    from keras_cmsa.evaluation.drawing import overlay
    from keras_cmsa.evaluation.explanations import Explainer

    out = tmp_path / "figures"
    assert run("explain", photo_path, *EXPRESSIONS, "--model", preset, "-o", out) == 0
    assert capsys.readouterr().out == f"{out / 'words.png'}\n{out / 'places.png'}\n"
    assert set(figures) == {"words.png", "places.png"}
    check_files(out, figures)
    words, places = figures["words.png"].axes, figures["places.png"].axes
    for i, wanted in enumerate(Explainer(predictor)(photo, list(EXPRESSIONS))):
        image, matrix, last, found = words[4 * i : 4 * i + 4]
        assert image.get_title() == f"“{EXPRESSIONS[i]}”"
        np.testing.assert_array_equal(shown(image), photo)
        np.testing.assert_allclose(shown(matrix), wanted.prediction.word_attention, atol=1e-6)
        np.testing.assert_array_equal(shown(last), overlay(photo, wanted.last_level))
        np.testing.assert_array_equal(shown(found), overlay(photo, wanted.prediction.mask))
        assert f"score {wanted.prediction.score:.2f}" in found.get_title()
        np.testing.assert_array_equal(shown(places[3 * i]), overlay(photo, wanted.found))


def test_ground_truth_and_a_model_of_the_last_level(
    models_kept, preset, predictor, photo, photo_path, tmp_path, figures
):
    from keras_cmsa.evaluation.drawing import TRUE, overlay

    truth = np.zeros((31, 47), "uint8")
    truth[:, :20] = 255
    Image.fromarray(truth).save(tmp_path / "true.png")
    asked = ["explain", photo_path, "red box", "--model", preset, "-o", tmp_path / "figures"]
    assert run(*asked, "--truth", tmp_path / "true.png", "--single-level", preset) == 0
    _, _, last, found, true = figures["words.png"].axes[:5]
    mask = predictor(photo, "red box").mask
    iou = np.sum(mask & (truth > 0)) / np.sum(mask | (truth > 0))
    assert f"IoU {iou:.2f}" in found.get_title()
    assert "the model cmsa" in last.get_title()
    np.testing.assert_array_equal(shown(last), overlay(photo, mask))
    np.testing.assert_array_equal(shown(true), overlay(photo, truth > 0, TRUE))


def test_ground_truth_that_is_clear_outside(
    models_kept, preset, predictor, photo, photo_path, tmp_path, figures
):
    from keras_cmsa.evaluation.drawing import TRUE, overlay

    truth = np.zeros((31, 47, 4), "uint8")
    truth[..., :3] = 255
    truth[:, :20, 3] = 255
    Image.fromarray(truth).save(tmp_path / "true.png")
    asked = ["explain", photo_path, "red box", "--model", preset, "-o", tmp_path / "figures"]
    assert run(*asked, "--truth", tmp_path / "true.png") == 0
    wanted = overlay(photo, truth[..., 3] > 0, TRUE)
    np.testing.assert_array_equal(shown(figures["words.png"].axes[4]), wanted)


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
