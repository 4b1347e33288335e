"""All annotated objects of images and their classes, with or without an expression."""

import numpy as np

from keras_cmsa.data.masks import rasterize
from keras_cmsa.data.readers.entries import field
from keras_cmsa.preprocessing.fitting import placement


def objects_of(instances, records):
    """Finds all annotated objects in the images of some records.

    Args:
        instances: `Instances` of the data set, see `read_instances`.
        records: list of `Record` of that data set.

    Returns:
        `(images, classes)`: a list of `(record, objects)`, one per image, and the number of classes
        with the background. The objects are a list of `(class, segmentation)`: a class from 1 (0 is
        the background), and a COCO segmentation. Where they overlap, the later one is in front.

    Raises:
        ValueError: if an object has no class.
    """
    images = {record.image_id: (record, []) for record in records}
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
        images[annotation["image_id"]][1].append(pair)
    return list(images.values()), 1 + len(classes)


def class_map(record, objects, size, stride, resizing="pad"):
    """Finds the class at the centre of each cell of a feature map.

    Args:
        record, objects: an image, as `objects_of` returns it.
        size: side in pixels of the square that the image is resized to.
        stride: side of a cell in pixels of the square.
        resizing: how the image is resized to the square, as in `Preprocessor`.

    Returns:
        `(size // stride, size // stride)` int32. Objects whose mask is bad or empty are skipped.
    """
    new_height, new_width, top, left = placement(record.height, record.width, size, resizing)
    centres = (np.arange(size // stride) + 0.5) * stride
    rows = np.floor((centres - top) * record.height / new_height).astype(int)
    columns = np.floor((centres - left) * record.width / new_width).astype(int)
    is_row = (rows >= 0) & (rows < record.height)
    is_column = (columns >= 0) & (columns < record.width)
    inside = np.zeros((is_row.sum(), is_column.sum()), "int32")
    for number, segmentation in objects:
        try:
            mask = rasterize(segmentation, record.height, record.width, str(record.image_path))
        except ValueError:
            continue
        inside[mask[rows[is_row]][:, columns[is_column]] > 0] = number
    classes = np.zeros((len(centres), len(centres)), "int32")
    classes[np.ix_(is_row, is_column)] = inside
    return classes
