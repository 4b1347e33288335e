"""The one record type of every data set: a sentence, its image, and a way to get the mask."""

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_cmsa.data.mat import read_mat
from keras_cmsa.image import MAX_PIXELS, read_image

# Pycocotools walks every outline in steps of a fifth of a pixel, in memory. COCO's longest is some
# ten thousand pixels; an outline (or a coordinate) beyond this is a damaged file.
MAX_OUTLINE = 1_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """One referring expression and the object it speaks of. A sentence is a sample.

    Attributes:
        image_path: the image file.
        image_id: integer id of the image in its data set.
        ref_id: integer id of the (object, sentences) pair.
        sentence_id: integer id of the sentence, unique within a data set.
        raw: the expression as it was written.
        expression: the expression as the data set normalised it (lower case, punctuation gone).
        split: `"train"`, `"val"`, `"testA"`, `"testB"` or `"test"`.
        height: of the image, in pixels.
        width: of the image, in pixels.
        segmentation: COCO's: a list of polygons `[x0, y0, x1, y1, ...]` in pixels, or a run-length
            dict `{"counts", "size": [height, width]}`. Or the `Path` of a mask file.
        kind: what the expression leans on (RefShapes only), for results split by kind.
    """

    image_path: Path
    image_id: int
    ref_id: int
    sentence_id: int
    raw: str
    expression: str
    split: str
    height: int
    width: int
    segmentation: Any
    kind: str = ""

    def mask(self):
        """The object's mask: `(height, width)` uint8 of 0 and 1, the union of all its parts.

        The union is REFER's merge: parts are rasterised one by one and joined.

        Raises:
            ValueError: if the segmentation is malformed or covers no pixel of the image.
        """
        return rasterize(self.segmentation, self.height, self.width, self.describe())

    def describe(self):
        """A line that names this record in an error."""
        return f"ref {self.ref_id}, sentence {self.sentence_id} ({self.raw!r}), {self.image_path}"


def count(records):
    """Count what the papers count: `(refs, sentences, images)`; a record is a sentence."""
    refs = {record.ref_id for record in records}
    images = {record.image_id for record in records}
    return len(refs), len(records), len(images)


def describe_counts(records):
    """One line per split, for `{split: [Record, ...]}`."""
    lines = []
    for split, of_split in records.items():
        refs, sentences, images = count(of_split)
        lines.append(f"{split}: {refs} refs, {sentences} sentences, {images} images")
    return "\n".join(lines)


def rasterize(segmentation, height, width, name):
    """Draw a COCO segmentation. Parts are drawn one by one and joined; what lies outside is cut.

    Nothing reaches the C code of pycocotools unchecked: it reads out of bounds on bad run lengths.

    Args:
        segmentation: a list of polygons `[x0, y0, x1, y1, ...]` in pixels; or a dict (or a list of
            dicts) with `"size"`, `[height, width]`, and `"counts"`, the run lengths down the
            columns, of 0 first: a list of integers, or COCO's compressed text or bytes; or the
            `Path` of a mask file of that size: `.mat` as in ReferIt (`segimg_t`, 0 is inside), or
            an image, all of whose pixels that are not black are inside.
        height: of the image, in pixels.
        width: of the image, in pixels.
        name: what the mask is of, for errors.

    Returns:
        `(height, width)` uint8 of 0 and 1.

    Raises:
        ValueError: `"<fault>: <name> ..."` if the segmentation is malformed, or covers no pixel.
    """
    if not (height >= 1 and width >= 1 and height * width <= MAX_PIXELS):
        raise ValueError(
            f"bad image size: {name} is {height} x {width} pixels; wanted at least 1 and at most "
            f"{MAX_PIXELS:,}"
        )
    if isinstance(segmentation, Path):
        return _covering(_read_mask(segmentation, height, width, name), name)
    parts = [segmentation] if isinstance(segmentation, dict) else segmentation
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError(
            f"no segmentation: {name} has {reprlib.repr(segmentation)}; wanted a list of polygons "
            "or a dict of run lengths"
        )
    runs = [part for part in parts if isinstance(part, dict)]
    polygons = [part for part in parts if not isinstance(part, dict)]
    mask = np.zeros((height, width), "uint8")
    for part in runs:
        mask |= _draw_runs(part, height, width, name)
    if polygons:
        mask |= _draw_polygons(polygons, height, width, name)
    return _covering(mask, name)


def _covering(mask, name):
    if not mask.any():
        raise ValueError(
            f"mask covers no pixel: {name}; the segmentation has no area or lies outside the "
            f"{mask.shape[0]} x {mask.shape[1]} image"
        )
    return mask


def _read_mask(path, height, width, name):
    try:
        if path.suffix == ".mat":
            return (read_mat(path, "segimg_t", (height, width)) == 0).astype("uint8")
        mask = read_image(path).any(axis=-1).astype("uint8")
    except FileNotFoundError:
        raise ValueError(f"mask missing: {path}, of {name}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"mask unreadable: {error}") from error
    if mask.shape != (height, width):
        raise ValueError(
            f"mask size differs: {path} is {mask.shape[0]} x {mask.shape[1]}, the image "
            f"{height} x {width} (height x width)"
        )
    return mask


def _draw_polygons(polygons, height, width, name):
    polygons = [_checked_polygon(polygon, name) for polygon in polygons]
    outline = sum(
        np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum() for points in polygons
    )
    if outline > MAX_OUTLINE:
        raise ValueError(
            f"outline too long: {name} has polygons of {outline:.3g} pixels around; wanted at most "
            f"{MAX_OUTLINE:,}"
        )
    parts = coco_mask.frPyObjects([points.ravel() for points in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(parts))


def _checked_polygon(polygon, name):
    """The polygon's points: `(n, 2)` float64, x and y in pixels."""
    try:
        coordinates = np.asarray(polygon, "float64")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"bad polygon: {name} has one with other things than numbers") from None
    if coordinates.ndim != 1 or coordinates.size % 2 or coordinates.size < 6:
        raise ValueError(
            f"bad polygon: {name} has one of {coordinates.size} coordinates (shape "
            f"{coordinates.shape}); wanted x, y of at least three points in one list"
        )
    if not np.abs(coordinates).max() <= MAX_OUTLINE:
        raise ValueError(
            f"bad polygon: {name} has a coordinate that is not finite or beyond {MAX_OUTLINE:,}"
        )
    return coordinates.reshape(-1, 2)


def _draw_runs(segmentation, height, width, name):
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        raise ValueError(
            f"bad run lengths: {name} has them for size {reprlib.repr(size)}; "
            f"wanted {[height, width]}"
        )
    if isinstance(counts, (str, bytes)):
        counts = _decompressed(counts, name)
    counts = _checked_counts(counts, height * width, name)
    values = np.arange(len(counts)).astype("uint8") % 2
    return np.repeat(values, counts).reshape(width, height).T


def _checked_counts(counts, pixels, name):
    """The run lengths as integers, none negative, that add up to the image."""
    wanted = f"wanted whole numbers of at least 0 that add up to {pixels}"
    try:
        counts = np.asarray(counts)
    except ValueError:
        raise ValueError(f"bad run lengths: {name} has nested ones; {wanted}") from None
    if counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise ValueError(f"bad run lengths: {name} has {counts.dtype} {counts.shape}; {wanted}")
    if counts.min() < 0 or counts.max() > pixels or counts.sum() != pixels:
        raise ValueError(
            f"bad run lengths: {name} has {len(counts)}, from {counts.min()} to {counts.max()}; "
            f"{wanted}"
        )
    return counts


def _decompressed(code, name):
    """The integers in COCO's compressed run lengths.

    A character is 48 plus six bits: five of the number, lowest first, and one that says "more
    follow". The top bit of the last five is the sign. From the fourth number on, what is written is
    the difference to the number two before.
    """
    counts, number, shift = [], 0, 0
    for character in code.encode("utf-8") if isinstance(code, str) else code:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(f"bad run lengths: {name} has text that is not COCO's")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError(f"bad run lengths: {name} has text that ends inside a number")
    return counts
