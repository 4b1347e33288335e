"""Reads LabelMe: a JSON file for each image, with polygons and mask shapes.

    {"imagePath": "1.jpg", "imageHeight": 480, "imageWidth": 640,
     "shapes": [{"label": "cup", "description": "the red cup", "group_id": null,
                 "shape_type": "polygon", "points": [[10, 12], ...]},
                {"label": "cup", "description": "cup on the left", "group_id": null,
                 "shape_type": "mask", "points": [[10, 12], [19, 31]], "mask": "<PNG in base64>"}]}

Shapes of one label and one `group_id` are parts of one object. The field is `shapes.description` or
`shapes.label`. Format: https://github.com/wkentaro/labelme, X-AnyLabeling writes the same
"""

import base64
import re

import numpy as np

from keras_cmsa.data.masks import run_lengths
from keras_cmsa.data.readers.entries import field, image_size, located, read_each, read_json
from keras_cmsa.data.readers.phrases import AnnotatedImage, AnnotatedObject, Tool
from keras_cmsa.data.readers.split_files import split_files
from keras_cmsa.preprocessing.reading import read_mask
from keras_cmsa.utils.names import path_inside

IGNORED = "__ignore__"  # LabelMe's own word for what is of no class
USUAL = re.compile(r"shapes\.description")


def _images(root, images, on_bad):
    """Annotated images of a folder of files, a folder with `train/` and `val/`, or one file.

    Rectangles, circles, lines and points are no masks.
    """
    sources = split_files(root) if root.is_dir() else {None: root}
    entries = [
        (split, file, images or file.parent)
        for split, source in sources.items()
        for file in (sorted(source.glob("*.json")) if source.is_dir() else [source])
    ]
    return read_each(entries, _image, on_bad, "files")


def _image(entry):
    split, path, folder = entry
    content = read_json(path)
    shapes = located(content, "shapes", dict, path)
    sides = {side: content.get(f"image{side.title()}") for side in ("height", "width")}
    size = image_size(sides, f"{path}, imageHeight and imageWidth")
    # The files may have moved since, with the images or without.
    name = re.split(r"[\\/]", field(content, "imagePath", str, path))[-1]
    if name.endswith(".json"):
        raise ValueError(
            f"{path}: wanted 'imagePath' of an image file. Received: {name!r:.100}. Save the image "
            "beside it"
        )
    groups = {}
    for where, shape in shapes:
        label, group = field(shape, "label", str, where), shape.get("group_id")
        if label != IGNORED:
            key = where if group is None else (label, str(group))
            groups.setdefault(key, []).append((where, shape))
    objects = [
        AnnotatedObject(of[0][0], {"shapes": _texts(of)}, _parts(of, size), of[0][1]["label"])
        for of in groups.values()
    ]
    return AnnotatedImage(str(path), split, path_inside(folder, name, path), size, {}, objects)


def _texts(shapes):
    """The label and the descriptions of an object's shapes."""
    descriptions = [
        field(shape, "description", str, where)
        for where, shape in shapes
        if shape.get("description") is not None
    ]
    return {"label": shapes[0][1]["label"], "description": [*filter(str.strip, descriptions)]}


def _parts(shapes, size):
    """COCO's segmentation of an object, as a list; empty if one of its shapes is no mask."""
    parts = []
    for where, shape in shapes:
        # LabelMe had only polygons when it did not write their type yet.
        kind = field({"shape_type": "polygon", **shape}, "shape_type", str, where)
        if kind not in ("polygon", "mask"):
            return []
        points = field(shape, "points", list, where)
        try:
            points = np.asarray(points, "float64").reshape(len(points), 2)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"{where}: wanted 'points' as [[x, y], ...] in pixels. Received: {points!r:.100}"
            ) from None
        parts.append(
            points.ravel().tolist() if kind == "polygon" else _placed(shape, points, size, where)
        )
    return parts


def _placed(shape, points, size, where):
    """The run lengths of a mask shape, whose PNG lies from one corner to the other, both inside."""
    try:
        inside = read_mask(base64.b64decode(field(shape, "mask", str, where), validate=True))
    except ValueError as error:
        raise ValueError(f"{where}: wanted 'mask' as a PNG in base64. {error}") from None
    height, width = inside.shape
    fits = points.shape == (2, 2) and ((points >= 0) & (points < max(size))).all()
    # Corners may have fractions, which LabelMe cuts off.
    left, top = points[0].astype(int) if fits else (0, 0)
    fits = fits and (np.rint(points[1] - points[0]) + 1 == (width, height)).all()
    if not fits or top + height > size[0] or left + width > size[1]:
        raise ValueError(
            f"{where}: wanted 'points' as two corners inside the image of {size[1]} x {size[0]} "
            f"(width x height), {width} x {height} apart as the mask is, both counted. Received: "
            f"{points.tolist()!r:.100}"
        )
    mask = np.zeros(size, "uint8")
    mask[top : top + height, left : left + width] = inside
    return run_lengths(mask)


LABELME = Tool(_images, USUAL, "shapes.label")
