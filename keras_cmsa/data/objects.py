"""All annotated objects of images and their classes, with or without an expression."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_cmsa.data.masks import rasterize
from keras_cmsa.data.readers.entries import field
from keras_cmsa.preprocessing.fitting import placement


class ImageObjects(NamedTuple):
    """An image and its annotated objects.

    Attributes:
        image_path: the image file.
        height: height of the image in pixels.
        width: width of the image in pixels.
        objects: list of `(class, segmentation)`: a class from 1 (0 is the background), and a COCO
            segmentation. Where objects overlap, the later one is in front.
        stored_size: as in `Record`.
    """

    image_path: Path
    height: int
    width: int
    objects: list[tuple[int, Any]]
    stored_size: tuple[int, int] | None = None


def objects_of(instances, records):
    """Finds all annotated objects in the images of some records.

    Args:
        instances: `Instances` of the data set, see `read_instances`.
        records: list of `Record` of that data set.

    Returns:
        `(images, classes)`: a list of `ImageObjects`, one per image, and the number of classes with
        the background.

    Raises:
        ValueError: if an object has no class.
    """
    images = {
        r.image_id: ImageObjects(r.image_path, r.height, r.width, [], r.stored_size)
        for r in records
    }
    annotations = [
        (
            field(annotation, "category_id", int, f"{instances.path}, annotation {annotation_id}"),
            annotation,
        )
        for annotation_id, annotation in instances.annotations.items()
        if type(image_id := annotation.get("image_id")) in (int, float)
        and image_id in images
        and annotation.get("segmentation")
    ]
    category_ids = sorted({category_id for category_id, _ in annotations})
    classes = {category_id: number for number, category_id in enumerate(category_ids, start=1)}
    for category_id, annotation in annotations:
        pair = classes[category_id], annotation["segmentation"]
        images[annotation["image_id"]].objects.append(pair)
    return list(images.values()), 1 + len(classes)


def class_map(image, size, stride, resizing="pad"):
    """Finds the class at the centre of each cell of a feature map.

    Args:
        image: `ImageObjects`.
        size: side in pixels of the square that the image is resized to.
        stride: side of a cell in pixels of the square.
        resizing: how the image is resized to the square, as in `Preprocessor`.

    Returns:
        `(size // stride, size // stride)` int32. Objects whose mask is bad or empty are skipped.
    """
    new_height, new_width, top, left = placement(image.height, image.width, size, resizing)
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
