"""The parts of figures: what is painted, and titles that show what people wrote."""

import numpy as np
import pytest
from PIL import Image

from keras_cmsa.explain import drawing
from keras_cmsa.explain.word_importance import WordImportance


def test_overlay():
    painted = drawing.overlay(np.full((2, 2, 3), 100, "uint8"), np.eye(2, dtype=bool))
    assert painted.dtype == np.uint8
    assert painted.tolist() == [  # the orange is (230, 159, 0)
        [[165, 130, 50], [85, 85, 85]],
        [[85, 85, 85], [165, 130, 50]],
    ]


def test_an_outline_in_pixels_is_black_outside_and_white_inside():
    image = np.full((9, 9, 3), 100, "uint8")
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    painted = drawing.outlined_overlay(image, mask)
    ring, inner = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    ring[1:8, 1:8], inner[3:6, 3:6] = True, True
    assert (painted[ring & ~mask] == 0).all() and (painted[mask & ~inner] == 255).all()
    elsewhere = inner | ~ring
    np.testing.assert_array_equal(painted[elsewhere], drawing.overlay(image, mask)[elsewhere])


def test_a_probability_goes_from_the_grey_photo_to_orange():
    image = np.full((1, 3, 3), (30, 60, 90), "uint8")
    painted = drawing.probability_overlay(image, np.array([[0, 0.5, 1]]))
    np.testing.assert_array_equal(painted[0, 0], [60, 60, 60])
    np.testing.assert_allclose(painted[0, 2], 0.9 * np.array(drawing.MASK_COLOUR) + 6, atol=1)
    np.testing.assert_allclose(painted[0, 1], 0.45 * np.array(drawing.MASK_COLOUR) + 33, atol=1)


def test_a_mask_has_an_outline_where_it_has_an_edge():
    image = np.full((8, 8, 3), 100, "uint8")
    some, none, every = np.eye(8) > 0, np.zeros((8, 8)) > 0, np.ones((8, 8)) > 0
    for mask, truth, lines in (
        (some, None, 1), (none, None, 0), (every, None, 0), (some, some, 2), (none, some, 1)
    ):  # fmt: skip
        _, ((axis,),) = drawing.grid(1, (1,))
        drawing.show_mask(axis, image, mask, "title", truth)
        (picture,) = axis.images
        np.testing.assert_array_equal(picture.get_array(), drawing.overlay(image, mask))
        assert len(axis.collections) == lines


def test_importance_is_a_bar_for_each_word_from_the_first_at_the_top():
    words = [WordImportance("cheap", 0.25, 0.5), WordImportance("$box$", 1.0, 0.0)]
    _, ((axis,),) = drawing.grid(1, (1,))
    drawing.draw_importance(axis, words)
    assert [bar.get_width() for bar in axis.patches] == [0.25, 1.0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["cheap", r"\$box\$"]
    bottom, top = axis.get_ylim()
    assert bottom > top and axis.get_xlim()[0] == 0
    assert [text.get_text() for text in axis.texts] == ["IoU 0.50", "IoU 0.00"]


@pytest.mark.parametrize("text", [r"the $\box$ on_the ^left $ {", "costs $5 to $9", "ünïcode “x”"])
def test_any_expression_can_be_a_title(text, tmp_path):
    """A formula in a title would not be drawn as it was written, or not at all."""
    title = drawing.quoted(text)
    assert title.replace(r"\$", "$").replace("\n", " ") == f"“{text}”"
    figure, ((axis,),) = drawing.grid(1, (1,))
    drawing.show(axis, np.zeros((4, 4, 3), "uint8"), title)
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
    _, ((axis,),) = drawing.grid(1, (1,))
    drawing.draw_word_attention(axis, ["red", "box"], attention, ["Res3", "Res4", "Res5"])
    np.testing.assert_array_equal(axis.images[0].get_array(), attention)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["red", "box"]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["Res3", "Res4", "Res5"]
    written = [int(text.get_text()) for text in axis.texts]
    np.testing.assert_allclose(written, 100 * attention.ravel(), atol=0.51)


def test_a_figure_is_written_at_its_size(tmp_path):
    figure, _ = drawing.grid(1, (1, 1))
    drawing.write_figure(tmp_path / "figure.png", figure)
    with Image.open(tmp_path / "figure.png") as picture:
        np.testing.assert_allclose(picture.size, figure.get_size_inches() * figure.dpi, atol=1)
