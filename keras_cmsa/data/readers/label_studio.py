"""Reads Label Studio's export as JSON: brush masks and polygons, with a TextArea for the phrase.

    [{"data": {"image": "/data/upload/4/5e2cfa6e-1.jpg"},
      "annotations": [{"result": [
        {"id": "a", "type": "polygonlabels", "original_width": 640, "original_height": 480,
         "value": {"points": [[10.5, 20.1], ...], "polygonlabels": ["Cup"]}},     in percent
        {"id": "a", "type": "textarea", "from_name": "phrase", "value": {"text": ["the red cup"]}}]}]}]

The TextArea of a region has the region's id, and its field is `regions.<its name>`; one of its own
is about all regions of the task, and is `tasks.<its name>`. Without any the phrase is the label,
`regions.label`. Format: https://labelstud.io/guide/task_format
"""

import os
import re
from urllib.parse import parse_qs, unquote, urlsplit

from keras_cmsa.data.brush import decode_brush
from keras_cmsa.data.masks import run_lengths
from keras_cmsa.data.readers.entries import (
    field,
    image_size,
    located,
    read_each,
    read_json,
    warn_each,
)
from keras_cmsa.data.readers.phrases import AnnotatedImage, AnnotatedObject, Tool
from keras_cmsa.data.readers.split_files import split_files
from keras_cmsa.preprocessing.reading import read_size
from keras_cmsa.utils.names import path_inside

USUAL = re.compile(r"(tasks|regions)\.(?!label$).+", re.DOTALL)
IMAGE_NAME = re.compile(r"[^/\\]+\.(?:jpe?g|png|bmp|gif|tiff?|webp)$", re.IGNORECASE)
UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an upload
PLACES = ("points", "rle", "width", "radiusX")  # of a region; a key point is none


def _images(path, images, on_bad):
    """Annotated images of an export of Label Studio (its JSON, not JSON-MIN).

    Of the annotations of a task the first counts, or the first that is marked as ground truth;
    skipped ones do not. Rectangles, ellipses and key points are no masks. The images have the names
    that they have in Label Studio or had before the upload.
    """
    entries = []
    for split, file in split_files(path).items():
        tasks = read_json(file)
        if type(tasks) is not list or not all(
            type(task) is dict and {"data", "annotations"} <= {*task} for task in tasks
        ):
            raise ValueError(
                f"{file}: wanted a list of tasks with 'data' and 'annotations'. Received: "
                f"{tasks!r:.100}. Export from Label Studio as JSON, not JSON-MIN"
            )
        folder = images or file.parent
        entries += [(split, folder, f"{file}, entry {n}", task) for n, task in enumerate(tasks)]
    further = []
    tasks = read_each(entries, lambda entry: _image(further, *entry), on_bad, "tasks")
    if further:
        warn_each(
            f"{path}: {len(further)} further annotations of the same tasks are left out. "
            f"The first: {further[0]}"
        )
    return [task for task in tasks if task]


def _image(further, split, folder, where, task):
    """The `AnnotatedImage` of a task; None without annotations."""
    annotations = [of for _, of in located(task, "annotations", dict, where)]
    annotations = [of for of in annotations if not of.get("was_cancelled")]
    annotations.sort(key=lambda annotation: not annotation.get("ground_truth"))
    if not annotations:
        return None
    further += [where] * (len(annotations) - 1)
    path = _image_path(field(task, "data", dict, where), folder, where)
    regions = {}
    for place, result in located(annotations[0], "result", dict, where):
        if result.get("type") == "relation":  # of two regions; it has neither id nor value
            continue
        key = field(result, "id", str, place) if "id" in result else place
        regions.setdefault(key, []).append((place, result, field(result, "value", dict, place)))
    size = _size([result for region in regions.values() for result in region], path, where)
    objects, texts = [], {}
    for region in regions.values():
        place, kinds = region[0][0], [field(result, "type", str, at) for at, result, _ in region]
        shapes = [(at, value) for at, _, value in region if any(key in value for key in PLACES)]
        named = _texts(region)
        if not shapes:
            texts |= named
        elif any(result.get("image_rotation") for _, result, _ in region):
            raise ValueError(f"{place}: wanted 'image_rotation' 0. Turn the image itself")
        elif not any(kind.startswith("keypoint") for kind in kinds):
            label = named.get("label") or [""]
            parts = _parts(*shapes[0], size)
            objects.append(AnnotatedObject(place, {"regions": named}, parts, label[0]))
    return AnnotatedImage(where, split, path, size, {"tasks": texts}, objects)


def _size(results, path, where):
    """`(height, width)` of the image: that of all regions, or of its file if there is none."""
    sizes = {
        image_size(
            {side: result.get(f"original_{side}") for side in ("height", "width")},
            f"{place}, original_height and original_width",
        )
        for place, result, _ in results
        if "original_height" in result
    }
    if len(sizes) > 1:
        raise ValueError(f"{where}: wanted one size of the image. Received: {sizes!r:.100}")
    try:
        return sizes.pop() if sizes else read_size(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _image_path(data, folder, where):
    """The path of a task's image, with or without what its upload put before the name."""
    names = set()
    for value in data.values():
        try:
            url = urlsplit(value if type(value) is str else "")
        except ValueError:
            continue
        # Files of a local storage are /data/local-files/?d=folder/1.jpg.
        path = parse_qs(url.query).get("d", [unquote(url.path)])[0]
        names |= {match[0] for match in [IMAGE_NAME.search(path)] if match}
    if len(names) != 1:
        raise ValueError(
            f"{where}: wanted one image file in 'data'. Received: {', '.join(sorted(names)) or data!r:.200}"
        )
    (name,) = names
    paths = [path_inside(folder, each, where) for each in (name, UPLOAD.sub("", name, count=1))]
    return next((path for path in paths if os.path.isfile(path)), paths[0])


def _texts(region):
    """The texts of a region or a task by name: `{"label": [...], name of a TextArea: [...]}`."""
    texts = {}
    for place, result, value in region:
        kind = result["type"]
        if kind == "textarea":
            text = field(value, "text", list | str, place)
            name = field(result, "from_name", str, place)
            texts[name] = text if type(text) is list else [text]
        elif kind.endswith("labels"):
            texts["label"] = [label for _, label in located(value, kind, str, place)]
    return texts


def _parts(where, value, size):
    """COCO's segmentation of a region, as a list; empty where it is no mask."""
    height, width = size
    if "rle" in value:
        code = field(value, "rle", list, where)
        mask = decode_brush(code, height, width, where) if code else None
        return [] if mask is None or not mask.any() else [run_lengths(mask)]
    if "points" not in value:
        return []
    points = field(value, "points", list, where)
    try:
        return [[c for x, y in points for c in (x * width / 100, y * height / 100)]]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{where}: wanted 'points' as [[x, y], ...] in percent. Received: {points!r:.100}"
        ) from None


LABEL_STUDIO = Tool(_images, USUAL, "regions.label")
