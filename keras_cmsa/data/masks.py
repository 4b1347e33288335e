"""Draws masks of 0 and 1 from COCO's segmentations and from mask files."""

import reprlib
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from keras_cmsa.data.readers.mat import read_mat
from keras_cmsa.preprocessing.reading import MAX_PIXELS, read_ids, read_mask

# Pycocotools stores every outline in steps of a fifth of a pixel. COCO's longest outline has about
# ten thousand pixels, so an outline or a coordinate above this limit means a damaged file.
MAX_OUTLINE = 1_000_000


@dataclass(frozen=True)
class MaskFile:
    """A file that holds a mask.

    Attributes:
        path: a `.mat` file as in ReferIt (the matrix `segimg_t`, 0 is inside), or an image.
        id: the mask are the pixels with this id, see `read_ids`; None takes what `read_mask` takes.
    """

    path: Path
    id: int | None = None


def rasterize(segmentation, height, width, name):
    """Draws a COCO segmentation or reads a mask file.

    Parts are drawn one by one and joined; whatever lies outside of the image is cut off, and parts
    that `has_no_area` tells of are left out if there are others. Every value is checked first,
    because the C code of pycocotools reads out of bounds on bad run lengths.

    Args:
        segmentation: one of

            - a list of polygons `[x0, y0, x1, y1, ...]` in pixels;
            - run lengths: a dict (or a list of dicts) of `"size"`, `[height, width]`, and
              `"counts"`, the lengths of the runs down the columns, starting with a run of 0, as a
              list of integers or as COCO's compressed text or bytes;
            - a `MaskFile` of the image's size.
        height: height of the image in pixels.
        width: width of the image in pixels.
        name: name of the mask in errors.

    Returns:
        `(height, width)` uint8 of 0 and 1.

    Raises:
        ValueError: `"<fault>: <name>..."` if the segmentation is malformed or covers no pixel.
    """
    check_size(height, width, name)
    parts = [segmentation] if isinstance(segmentation, (dict, MaskFile)) else segmentation
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError(
            f"no segmentation: {name}: wanted a list of polygons or a dict of run lengths. "
            f"Received: {reprlib.repr(segmentation)}"
        )
    # A list without any area is an error, which tells of its first part.
    parts = [part for part in parts if not has_no_area(part)] or parts
    mask, polygons = np.zeros((height, width), "uint8"), []
    for part in parts:
        if isinstance(part, MaskFile):
            mask |= _read_mask(part, height, width, name)
        elif isinstance(part, dict):
            mask |= _draw_runs(part, height, width, name)
        else:
            polygons.append(part)
    if polygons:
        mask |= _draw_polygons(polygons, height, width, name)
    if not mask.any():
        raise ValueError(
            f"mask covers no pixel: {name}; the segmentation has no area or lies outside the "
            f"{height} x {width} image"
        )
    return mask


def check_size(height, width, name):
    """Raises a `ValueError` if an image has no pixel or too many to draw masks of."""
    if not (height >= 1 and width >= 1 and height * width <= MAX_PIXELS):
        raise ValueError(
            f"bad image size: {name}: wanted an image of 1 to {MAX_PIXELS:,} pixels. "
            f"Received: {height} x {width} (height x width)"
        )


def _read_mask(file, height, width, name):
    path = file.path
    try:
        if path.suffix == ".mat":
            return (read_mat(path, "segimg_t", (height, width)) == 0).astype("uint8")
        mask = read_mask(path) if file.id is None else _pixels_of(file)
    except FileNotFoundError:
        raise ValueError(f"mask missing: {path}, the mask of {name}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"mask unreadable: {error}") from error
    if mask.shape != (height, width):
        turned = ". Turn it as the EXIF orientation turns the photo, or make it anew"
        raise ValueError(
            f"mask size differs: {path} is {mask.shape[0]} x {mask.shape[1]}, the image is "
            f"{height} x {width} (height x width){turned if mask.shape == (width, height) else ''}"
        )
    return mask.astype("uint8")


def _pixels_of(file):
    ids = read_ids(file.path)
    if not (ids == file.id).any():
        others = np.unique(ids)
        raise ValueError(
            f"{file.path}: wanted pixels of the id {file.id}. Received: "
            f"{', '.join(map(str, others[:20]))}{', ...' if len(others) > 20 else ''}"
        )
    return ids == file.id


def _draw_polygons(polygons, height, width, name):
    polygons = [_checked_polygon(polygon, name) for polygon in polygons]
    if max(np.abs(points).max() for points in polygons) <= 1 < max(height, width):
        raise ValueError(
            f"bad polygon: {name}: wanted coordinates in pixels. Received: all in -1..1. Are they "
            "shares of the image? Multiply x by its width and y by its height"
        )
    outline = sum(
        np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum() for points in polygons
    )
    if outline > MAX_OUTLINE:
        raise ValueError(
            f"outline too long: {name}: wanted outlines of at most {MAX_OUTLINE:,} pixels. "
            f"Received: {outline:.3g}"
        )
    parts = coco_mask.frPyObjects([points.ravel() for points in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(parts))


def has_no_area(part):
    """Whether a part of a segmentation is a polygon of fewer than three points.

    COCO has some. Detectron2 and MMDetection leave them out too.
    """
    are_numbers = isinstance(part, (list, tuple)) and all(isinstance(x, Real) for x in part)
    return are_numbers and len(part) < 6


def _checked_polygon(polygon, name):
    """The polygon's points: `(n, 2)` float64, x and y in pixels."""
    try:
        coordinates = np.asarray(polygon, "float64")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"bad polygon: {name}: wanted a list of numbers. Received: other values in it"
        ) from None
    if coordinates.ndim != 1 or coordinates.size % 2 or coordinates.size < 6:
        raise ValueError(
            f"bad polygon: {name}: wanted x, y, x, y, ... of at least three points in one list. "
            f"Received: {reprlib.repr(polygon)}"
        )
    largest = np.abs(coordinates).max()
    if not largest <= MAX_OUTLINE:  # true for NaN too
        raise ValueError(
            f"bad polygon: {name}: wanted coordinates in -{MAX_OUTLINE:,}..{MAX_OUTLINE:,}. "
            f"Received: a coordinate of size {largest:g}"
        )
    return coordinates.reshape(-1, 2)


def _draw_runs(segmentation, height, width, name):
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        raise ValueError(
            f"bad run lengths: {name}: wanted the size [height, width], {[height, width]}. "
            f"Received: {reprlib.repr(size)}"
        )
    if isinstance(counts, (str, bytes)):
        counts = decompressed(counts, name)
    pixels = height * width
    are_lengths = isinstance(counts, (list, tuple)) and all(
        isinstance(count, Real) and 0 <= count <= pixels and count % 1 == 0 for count in counts
    )
    if not are_lengths or sum(counts) != pixels:
        raise ValueError(
            f"bad run lengths: {name}: wanted integers of at least 0 that add up to {pixels}. "
            f"Received: {reprlib.repr(counts)}"
        )
    counts = np.asarray(counts, "int64")  # some tools write 90.0
    values = np.arange(len(counts)).astype("uint8") % 2
    return np.repeat(values, counts).reshape(width, height).T


def decompressed(code, name):
    """The integers in COCO's compressed run lengths, text or bytes.

    Each character is 48 plus six bits: five bits of a number, the lowest first, and one bit that is
    set if more bits follow. The top bit of the last five is the sign. From the fourth number on,
    the text holds the difference from the number two places before.
    """
    counts, number, shift = [], 0, 0
    for character in code.encode("utf-8") if isinstance(code, str) else code:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(
                f"bad run lengths: {name}: wanted COCO's compressed text. Received: other text"
            )
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError(
            f"bad run lengths: {name}: wanted COCO's compressed text. "
            "Received: text that ends inside a number"
        )
    return counts


def run_lengths(mask):
    """Encodes a mask `(H, W)` as COCO's run lengths: `{"size": [H, W], "counts": str}`."""
    runs = coco_mask.encode(np.asfortranarray(mask, "uint8"))
    return {"size": runs["size"], "counts": runs["counts"].decode("ascii")}
