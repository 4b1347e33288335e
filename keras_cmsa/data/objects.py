"""The objects of an image with their classes, spoken of or not: COCO's annotations."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_cmsa.data.reading import field
from keras_cmsa.data.records import rasterize
from keras_cmsa.data.refer import read_instances
from keras_cmsa.image import padded_geometry


class ImageObjects(NamedTuple):
    """An image and what is annotated in it.

    Attributes:
        image_path: the image file.
        height, width: of the image, in pixels.
        objects: pairs of a class, from 1 (0 is the background), and COCO's segmentation; where
            two overlap the later one is in front.
    """

    image_path: Path
    height: int
    width: int
    objects: list[tuple[int, Any]]


def read_objects(root, dataset, records):
    """All annotated objects of the images of some records.

    Args:
        root, dataset: as in `read_refer`.
        records: list of `Record` of that data set.

    Returns:
        `(list of ImageObjects, one per image; number of classes, the background included)`.

    Raises:
        FileNotFoundError: if `instances.json` is missing.
        ValueError: if it is damaged.
    """
    instances = read_instances(Path(root), dataset)
    images = {r.image_id: ImageObjects(r.image_path, r.height, r.width, []) for r in records}
    found = [
        (
            field(annotation, "category_id", int, f"{instances.path}, annotation {number}"),
            annotation,
        )
        for number, annotation in instances.annotations.items()
        if annotation.get("image_id") in images and annotation.get("segmentation")
    ]
    classes = {number: c for c, number in enumerate(sorted({n for n, _ in found}), start=1)}
    for number, annotation in found:
        pair = classes[number], annotation["segmentation"]
        images[annotation["image_id"]].objects.append(pair)
    return list(images.values()), 1 + len(classes)


def class_map(image, size, stride):
    """The class under the centre of each cell of a feature map.

    Args:
        image: `ImageObjects`.
        size: side in pixels of the square that the image is scaled to and padded into.
        stride: pixels of the square per cell.

    Returns:
        `(size / stride, size / stride)` int32. An object without a pixel is passed over.
    """
    new_height, new_width, top, left = padded_geometry(image.height, image.width, size)
    centres = (np.arange(size // stride) + 0.5) * stride
    rows = np.floor((centres - top) * image.height / new_height).astype(int)
    columns = np.floor((centres - left) * image.width / new_width).astype(int)
    is_row = (rows >= 0) & (rows < image.height)
    is_column = (columns >= 0) & (columns < image.width)
    inside = np.zeros((is_row.sum(), is_column.sum()), "int32")
    for number, segmentation in image.objects:
        try:
            mask = rasterize(segmentation, image.height, image.width, str(image.image_path))
        except ValueError:
            continue
        inside[mask[rows[is_row]][:, columns[is_column]] > 0] = number
    classes = np.zeros((len(centres), len(centres)), "int32")
    classes[np.ix_(is_row, is_column)] = inside
    return classes
