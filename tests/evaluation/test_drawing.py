"""The parts of figures: what is painted, and titles that show what people wrote."""

import numpy as np
import pytest
from PIL import Image

from keras_cmsa.evaluation import drawing


def test_overlay():
    painted = drawing.overlay(
        np.full((2, 2, 3), 100, "uint8"), np.eye(2, dtype=bool), (200, 0, 100), 0.5
    )
    assert painted.dtype == np.uint8
    assert painted.tolist() == [
        [[150, 50, 100], [75, 75, 75]],
        [[75, 75, 75], [150, 50, 100]],
    ]


def test_a_mask_has_an_outline_where_it_has_an_edge():
    image = np.full((8, 8, 3), 100, "uint8")
    for mask, lines in ((np.eye(8) > 0, 1), (np.zeros((8, 8)) > 0, 0), (np.ones((8, 8)) > 0, 0)):
        figure = drawing.grid(1, 1, (1,))
        drawing.show_mask(figure.axes[0], image, mask, "title", drawing.TRUE)
        (picture,) = figure.axes[0].images
        np.testing.assert_array_equal(
            picture.get_array(), drawing.overlay(image, mask, drawing.TRUE)
        )
        assert len(figure.axes[0].collections) == lines


def test_iou():
    one, other = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    assert drawing.iou(one, other) == 1
    one[0] = True
    other[0, :2] = other[1, 0] = True
    assert drawing.iou(one, other) == 2 / 5


def test_a_heat_map_is_cut_at_its_99th_percentile():
    heat = np.ones((20, 20))
    heat[0, 0] = 1000
    clipped = drawing.clipped_heat(heat)
    assert clipped.max() == clipped.min() == 1


@pytest.mark.parametrize("text", [r"the $\box$ on_the ^left $ {", "costs $5 to $9", "ünïcode “x”"])
def test_any_expression_can_be_a_title(text, tmp_path):
    """A formula in a title would not be drawn as it was written, or not at all."""
    title = drawing.quoted(text)
    assert title.replace(r"\$", "$").replace("\n", " ") == f"“{text}”"
    figure = drawing.grid(1, 1, (1,))
    drawing.show(figure.axes[0], np.zeros((4, 4, 3), "uint8"), title)
    drawing.write_figure(tmp_path / "title.png", figure)
    with Image.open(tmp_path / "title.png") as picture:
        drawn = np.asarray(picture.convert("L"))
    # Letters above the black square, which is as high as the figure is without its title.
    assert (drawn[: len(drawn) // 10] < 100).any()


def test_long_expressions_are_wrapped():
    lines = drawing.quoted("word " * 20).split("\n")
    assert len(lines) > 2 and max(map(len, lines)) <= drawing.WIDTH


def test_word_attention_is_a_matrix_with_numbers():
    rng = np.random.default_rng(0)
    attention = rng.random((3, 2))
    figure = drawing.grid(1, 1, (1,))
    axis = figure.axes[0]
    drawing.draw_word_attention(axis, ["red", "box"], attention, ["Res3", "Res4", "Res5"])
    np.testing.assert_array_equal(axis.images[0].get_array(), attention)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["red", "box"]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["Res3", "Res4", "Res5"]
    written = [int(text.get_text()) for text in axis.texts]
    np.testing.assert_allclose(written, 100 * attention.ravel(), atol=0.51)


def test_figures_are_whole_or_not_there(tmp_path, monkeypatch):
    figure = drawing.grid(1, 2, (1, 1))
    drawing.write_figure(tmp_path / "figure.png", figure)
    with Image.open(tmp_path / "figure.png") as picture:
        np.testing.assert_allclose(picture.size, figure.get_size_inches() * figure.dpi, atol=1)
    before = (tmp_path / "figure.png").read_bytes()

    def torn(self, file, *_, **__):
        file.write(b"half")
        raise OSError("full")

    monkeypatch.setattr(drawing.FigureCanvasAgg, "print_png", torn)
    with pytest.raises(OSError, match="full"):
        drawing.write_figure(tmp_path / "figure.png", figure)
    assert (tmp_path / "figure.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_peaked_attention_keeps_its_peak():
    """Fewer than a hundredth of the positions have any: the percentile is 0 and divides nothing."""
    heat = np.zeros((20, 20), "float32")
    np.testing.assert_array_equal(drawing.clipped_heat(heat), heat)
    heat[3, 4], heat[5, 6] = 0.5, 0.25
    clipped = drawing.clipped_heat(heat)
    assert clipped[3, 4] == 1 and clipped[5, 6] == 0.5 and clipped.sum() == 1.5
