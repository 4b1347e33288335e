"""Reads COCO's JSON with text: SAM 3's SA-Co, Roboflow, CVAT, Datumaro, labelme2coco, VIA.

    {"images": [{"id": 1, "file_name": "1.jpg", "height": 480, "width": 640}],
     "annotations": [{"id": 5, "image_id": 1, "category_id": 2, "segmentation": [[10, 12, ...]],
                      "caption": "the red cup", "attributes": {"phrase": "cup on the left"}}],
     "categories": [{"id": 2, "name": "cup"}]}

The phrase is `images.text_input` (SA-Co: an entry of `images` for each file and phrase, and nothing
fits a phrase without annotations), a text of the annotations, or the name of the class. A crowd is
an object as the others are: CVAT writes every brush mask as one. Formats: https://cocodataset.org,
https://github.com/facebookresearch/sam3 (scripts/eval/gold/README.md)
"""

import re
from collections import defaultdict

from keras_cmsa.data.readers.entries import (
    field,
    image_size,
    located,
    read_each,
    read_json,
    whole,
)
from keras_cmsa.data.readers.phrases import AnnotatedImage, AnnotatedObject, Tool
from keras_cmsa.data.readers.split_files import split_files
from keras_cmsa.utils.names import path_inside

ROBOFLOW = "_annotations.coco.json"
USUAL = re.compile(
    r"images\.text_input|annotations\.(caption|description|attributes\..+)", re.DOTALL
)


def _images(root, images, on_bad):
    """Annotated images of a file, or of the folder of an export of Roboflow.

    The files of other splits beside it are read too: `train/_annotations.coco.json`.
    """
    entries = []
    for split, path in split_files(root).items():
        path = path / ROBOFLOW if path.is_dir() else path
        entries += [(split, images or path.parent, *entry) for entry in _entries(path)]
    return read_each(entries, _image, on_bad, "images")


def _entries(path):
    """`[(where, image, its annotations, categories), ...]` of a file."""
    content = read_json(path)
    if type(content) is not dict or "images" not in content:
        received = ", ".join(content) if type(content) is dict else type(content).__name__
        raise ValueError(
            f"{path}: wanted JSON of COCO ('images', 'annotations'), LabelMe ('shapes') or Label "
            f"Studio (a list of tasks). Received: {received:.100}"
        )
    images, categories, annotations = coco_tables({"categories": [], **content}, path)
    return [
        (f"{path}, image {image_id}", image, annotations[image_id], categories)
        for image_id, image in images.items()
    ]


def coco_tables(content, path):
    """`({id: image}, {id: category}, {image id: [(where, annotation), ...]})` of a file's content.

    Ids are text, since VIA writes both 1 and "1".

    Raises:
        ValueError: if a table is missing or damaged, two entries have one id, so that others could
            mean either, or an annotation is of no image.
    """
    tables = {"images": {}, "categories": {}}
    for key, table in tables.items():
        for where, entry in located(content, key, dict, path):
            entry_id = str(field(entry, "id", int | str, where))
            if table.setdefault(entry_id, entry) != entry:
                raise ValueError(
                    f"{where}: wanted its own id. Received: {entry_id:.100}, that of another too"
                )
    annotations = defaultdict(list)
    for where, annotation in located(content, "annotations", dict, path):
        image_id = id_among(tables["images"], annotation, "image_id", where)
        annotations[image_id].append((where, annotation))
    return *tables.values(), annotations


def id_among(table, annotation, key, where):
    """The id in an annotation, which must be that of an entry of a table."""
    entry_id = str(field(annotation, key, int | str, where))
    if entry_id not in table:
        raise ValueError(
            f"{where}: wanted {key!r} of an entry of the file. Received: {entry_id:.100}"
        )
    return entry_id


def _image(entry):
    split, folder, where, image, annotations, categories = entry
    objects = []
    for place, annotation in annotations:
        category = categories.get(str(whole(annotation.get("category_id"))), {})
        entries = {"annotations": annotation, "categories": category}
        name = category.get("name")
        name = name if type(name) is str else ""
        objects.append(AnnotatedObject(place, entries, parts_of(annotation, place), name))
    path = path_inside(folder, field(image, "file_name", str, where), where)
    return AnnotatedImage(where, split, path, image_size(image, where), {"images": image}, objects)


def parts_of(annotation, where):
    """The parts of a segmentation; empty where there is only a box."""
    parts = annotation.get("segmentation") or []
    if type(parts) is dict:
        return [parts]
    if type(parts) is not list:
        raise ValueError(
            f"{where}: wanted 'segmentation' as polygons or run lengths. Received: {parts!r:.100}"
        )
    # VIA writes a polygon without the list around it.
    return [parts] if parts and type(parts[0]) in (int, float) else parts


COCO_JSON = Tool(_images, USUAL, "categories.name", as_stored=True)
