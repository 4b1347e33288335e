"""Masks of polygons, run lengths and files: as drawn by hand and by pycocotools, or refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_ref import SQUARE
from PIL import Image
from pycocotools import mask as coco_mask

from keras_cmsa.data.masks import MaskFile, rasterize, run_lengths

RUNS = {"size": [3, 4], "counts": [2, 3, 7]}
BAD_RUNS = "bad run lengths: it: .* Received: "


def compressed(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype("uint8")))


@pytest.mark.parametrize("counts", [[2, 3, 7], [2.0, 3.0, 7.0]], ids=str)
def test_run_lengths_by_hand(counts):
    """Some tools write whole numbers as floats."""
    expected = [[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(rasterize({**RUNS, "counts": counts}, 3, 4, "it"), expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_compressed_run_lengths_equal_pycocotools(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    mask[0, 0] = True
    runs = compressed(mask)
    np.testing.assert_array_equal(rasterize(runs, height, width, "it"), mask)
    as_text = {**runs, "counts": runs["counts"].decode()}
    np.testing.assert_array_equal(rasterize([as_text], height, width, "it"), mask)
    assert run_lengths(mask) == as_text


def test_parts_are_joined():
    other = [4, 4, 10, 4, 10, 7, 4, 7]
    joined = rasterize([SQUARE, other], 8, 12, "it")
    np.testing.assert_array_equal(
        joined, rasterize([SQUARE], 8, 12, "it") | rasterize([other], 8, 12, "it")
    )
    assert joined.sum() == 16 + 18 - 4
    # Run lengths that overlap, and a polygon of three points.
    runs = [compressed(rasterize([part], 8, 12, "it")) for part in (SQUARE, other)]
    triangle = [0, 8, 0, 4, 4, 8]
    all_forms = rasterize([*runs, triangle], 8, 12, "it")
    np.testing.assert_array_equal(all_forms, joined | rasterize([triangle], 8, 12, "it"))
    assert all_forms.sum() > joined.sum()


def test_polygon_partly_outside_is_cut():
    mask = rasterize([[-50, -50, 3, -50, 3, 4, -50, 4]], 8, 12, "it")
    assert mask[:4, :3].all() and mask.sum() == 12


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([SQUARE[:-1]], r"bad polygon: it: wanted x, y, .* Received: \[2, 2, 6, 2, 6, 6, \.\.\."),
        ([[1, 1, 5, 5]], r"bad polygon: it: wanted x, y, .* Received: \[1, 1, 5, 5\]"),
        ([[1, 1], [5, 1], [5, 5]], r"three points in one list. Received: \[1, 1\]"),
        ([[0.1, 0.1, 0.9, 0.1, 0.9, 1.0]], "Received: all in -1..1. Are they shares of the image"),
        ([[]], r"bad polygon: it: wanted x, y, .* Received: \[\]"),
        (SQUARE, "bad polygon: it: wanted x, y, .* Received: 2"),
        ([["a", "b"] * 3], "bad polygon: it: wanted a list of numbers"),
        ([[10**400] * 6], "bad polygon: it: wanted a list of numbers"),
        ([[[1, 2], [3]]], "bad polygon: it: wanted a list of numbers"),
        ([[1, 2, float("nan"), 4, 5, 6]], "bad polygon: it: .* Received: .* nan"),
        ([[1, 2, float("inf"), 4, 5, 6]], "bad polygon: it: .* Received: .* inf"),
        ([[1, 2, 1e9, 4, 5, 6]], "bad polygon: it: wanted coordinates in -1,000,000..1,000,000"),
        ([[0, 0, 9e5, 9e5, 0, 9e5]], "outline too long: it: .* Received: 2.7e.06"),
        ([[1, 1, 5, 1, 1, 1]], "mask covers no pixel: it; the segmentation has no area"),
        ([[50, 1, 60, 1, 60, 5]], "mask covers no pixel: it; .* outside the 8 x 12 image"),
        ([[1, -9, 6, -9, 6, -2]], "mask covers no pixel: it"),
        ([], r"no segmentation: it: wanted a list of polygons or .* Received: \[\]"),
        (None, "no segmentation: it: .* Received: None"),
        ({}, "bad run lengths: it: wanted the size .* Received: None"),
        (RUNS, r"bad run lengths: it: wanted the size .* \[8, 12\]. Received: \[3, 4\]"),
        ({"size": [8, 12], "counts": [96]}, "mask covers no pixel: it"),
        ({"size": [8, 12], "counts": [90, 5]}, "bad run lengths: .* that add up to 96"),
        ({"size": [8, 12], "counts": [90, 7]}, BAD_RUNS + ".90, 7."),
        ({"size": [8, 12], "counts": [97, -1]}, BAD_RUNS + ".97, -1."),
        ({"size": [8, 12], "counts": [2**32, 96]}, BAD_RUNS + ".4294967296, 96."),
        ({"size": [8, 12], "counts": [2**70]}, BAD_RUNS + ".11805916207174113"),
        ({"size": [8, 12], "counts": [90.5, 5.5]}, BAD_RUNS + ".90.5, 5.5."),
        ({"size": [8, 12], "counts": [1e300]}, BAD_RUNS + ".1e.300."),
        ({"size": [12, 8], "counts": [90, 6]}, r"\[8, 12\]. Received: \[12, 8\]"),
        ({"size": [8, 12], "counts": [[1], [2, 3]]}, BAD_RUNS + "..1., .2, 3.."),
        ({"size": [8, 12], "counts": []}, BAD_RUNS + r"\[\]"),
        ({"size": [8, 12], "counts": None}, BAD_RUNS + "None"),
        ({"size": [8, 12], "counts": "P"}, "bad run lengths: it: .* text that ends inside"),
        ({"size": [8, 12], "counts": "o" * 10**6}, BAD_RUNS + "other text"),
        ({"size": [8, 12], "counts": "häh"}, BAD_RUNS + "other text"),
        ({"size": [8, 12], "counts": b"9999"}, BAD_RUNS + r"\[9, 9, 9, 18\]"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_segmentation_says_why(segmentation, message):
    with pytest.raises(ValueError, match=message):
        rasterize(segmentation, 8, 12, "it")


@given(st.binary(max_size=30) | st.text(max_size=30))
def test_any_compressed_text_is_safe(counts):
    try:
        assert rasterize({"size": [8, 12], "counts": counts}, 8, 12, "it").shape == (8, 12)
    except ValueError as error:
        assert "it" in str(error)


@pytest.mark.parametrize("part", [[1, 1, 5, 5], [3.0, 3.0], [], [7, 7, 9]], ids=str)
def test_a_part_without_area_is_left_out(part):
    """In any place, beside polygons and beside run lengths."""
    wanted = rasterize([SQUARE], 8, 12, "it")
    for parts in ([SQUARE, part], [part, SQUARE], [part, part, tuple(SQUARE)]):
        np.testing.assert_array_equal(rasterize(parts, 8, 12, "it"), wanted)
    runs = coco_mask.encode(np.asfortranarray(wanted))
    np.testing.assert_array_equal(rasterize([runs, part], 8, 12, "it"), wanted)
    with pytest.raises(ValueError, match="bad polygon: it: wanted x, y, .* at least three points"):
        rasterize([part], 8, 12, "it")


@pytest.mark.parametrize(
    "part", [SQUARE[:-1], ["a"], "abc", 5, None, [[1, 2], [3, 4]], [1, 1, None, 5]], ids=str
)
def test_a_part_that_is_damaged_is_not_left_out(part):
    with pytest.raises(ValueError, match="bad polygon: it"):
        rasterize([SQUARE, part], 8, 12, "it")


IDS = np.zeros((8, 12), "uint8")
IDS[2:5, 3:9], IDS[5:7, :4], IDS[0] = 1, 2, 255


def palette(ids):
    image = Image.fromarray(ids, "L").convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *[224, 224, 192] * 253])
    return image


FORMS = {
    "levels": lambda ids: Image.fromarray(ids),
    "16 bits": lambda ids: Image.fromarray(ids.astype("uint16")),
    "palette": palette,
    "transparent": lambda ids: Image.merge("LA", [Image.fromarray(x) for x in (ids, ids)]),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
def test_one_id_of_a_file_with_several(tmp_path, form):
    path = tmp_path / "mask.png"
    FORMS[form](IDS).save(path)
    for number in (1, 2, 255):
        mask = rasterize(MaskFile(path, number), 8, 12, "it")
        np.testing.assert_array_equal(mask, IDS == number)
    np.testing.assert_array_equal(rasterize(MaskFile(path), 8, 12, "it"), IDS > 0)
    with pytest.raises(ValueError, match=r"wanted pixels of the id 7. Received: 0, 1, 2, 255"):
        rasterize(MaskFile(path, 7), 8, 12, "it")


def test_one_colour_of_a_file(tmp_path):
    path = tmp_path / "mask.png"
    palette(IDS).convert("RGB").save(path)
    mask = rasterize(MaskFile(path, 128 * 65536), 8, 12, "it")
    np.testing.assert_array_equal(mask, IDS == 1)


def test_a_mask_of_the_turned_size_says_so(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"12 x 8 \(height x width\)\. Turn it as the EXIF"):
        rasterize(MaskFile(tmp_path / "mask.png"), 12, 8, "it")


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (30_000, 30_000)])
def test_bad_size_says_so(size):
    with pytest.raises(
        ValueError, match=r"bad image size: it: wanted an image of 1 to 50,000,000 pixels"
    ):
        rasterize([SQUARE], *size, "it")
