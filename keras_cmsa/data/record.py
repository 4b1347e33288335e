"""The record: one referring expression with its image and mask, the same for every data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_cmsa.data.masks import check_size, rasterize
from keras_cmsa.preprocessing.reading import read_image


@dataclass(frozen=True, slots=True)
class Record:
    """One referring expression and the objects that it refers to. Each sentence is a sample.

    Attributes:
        image_path: the image file.
        image_id: integer id of the image in its data set.
        ref_id: integer id of the ref, a target with all of its sentences.
        sentence_id: integer id of the sentence, unique within a data set.
        raw: the expression as it was written.
        expression: the expression as the data set normalised it: lower case, no punctuation.
        split: `"train"`, `"val"`, `"testA"`, `"testB"` or `"test"`.
        height: height of the image in pixels.
        width: width of the image in pixels.
        segmentation: a COCO segmentation: a list of polygons `[x0, y0, x1, y1, ...]` in pixels, or
            run lengths `{"counts", "size": [height, width]}`. Or a `MaskFile`.
        kind: kind of the expression (RefShapes only), for results by kind.
        as_stored: whether the segmentation lies over the image's pixels as they are stored, as in
            COCO, and not over the image that its EXIF orientation turns upright.
        targets: how many objects the expression refers to, whose union the segmentation is. 0 where
            nothing in the image fits; the segmentation is then `None`.
        categories: names of the classes of these objects, where the data set has them.
        image_categories: names of the classes of all annotated objects of the image, likewise.
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
    as_stored: bool = False
    targets: int = 1
    categories: frozenset[str] = frozenset()
    image_categories: frozenset[str] = frozenset()

    @property
    def stored_size(self):
        """Argument of `read_image`: the size in which the image is not turned, or None."""
        return (self.height, self.width) if self.as_stored else None

    def image(self):
        """Reads the image that the mask lies over: `(height, width, 3)` uint8 RGB.

        Raises:
            FileNotFoundError, ValueError: as in `read_image`.
        """
        return read_image(self.image_path, stored_size=self.stored_size)

    def mask(self):
        """Draws the mask of the target: `(height, width)` uint8 of 0 and 1, all 0 if there is none.

        Each part of an object is drawn on its own, as in REFER, and the mask is their union.

        Raises:
            ValueError: if the segmentation of a target is malformed or covers no pixel of the image,
                or the image has no size to draw in.
        """
        if not self.targets:
            check_size(self.height, self.width, self.describe())
            return np.zeros((self.height, self.width), "uint8")
        return rasterize(self.segmentation, self.height, self.width, self.describe())

    def describe(self):
        """A line that identifies this record in an error."""
        return f"ref {self.ref_id}, sentence {self.sentence_id} ({self.raw!r}), {self.image_path}"


def images_of(records):
    """What identifies the image of each record, to put those of one image together."""
    # The declared size decides how it is turned, see `Record.image`.
    return [(record.image_path, record.height, record.width) for record in records]


def by_image(records):
    """The indices of the records of each image: list of lists, images as they first come."""
    indices = {}
    for i, image in enumerate(images_of(records)):
        indices.setdefault(image, []).append(i)
    return list(indices.values())


def count(records):
    """Counts `(refs, sentences, images)`, as the papers do. A record is a sentence."""
    refs = {record.ref_id for record in records}
    images = {record.image_id for record in records}
    return len(refs), len(records), len(images)


def describe_counts(records):
    """Formats the counts of `{split: [Record, ...]}`, one line per split."""
    line = "{}: {} refs, {} sentences, {} images"
    return "\n".join(line.format(split, *count(x)) for split, x in records.items())
