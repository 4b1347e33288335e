"""Masks with their phrases as a file for other tools: COCO JSON, or tasks to import in Label Studio."""

import json
import uuid
from itertools import groupby
from typing import NamedTuple
from urllib.parse import quote

from pycocotools import mask as coco_mask

from keras_cmsa.data.brush import encode_brush
from keras_cmsa.data.masks import rasterize, run_lengths
from keras_cmsa.utils.files import replaced


class Answer(NamedTuple):
    """What a model found for one phrase in one image.

    Attributes:
        image: its path in the folder of images, with `/`.
        phrase: what was to be found.
        runs: the mask as COCO's run lengths, `{"size": [H, W], "counts": str}`.
        score: 0..1; 0 where nothing was found.
    """

    image: str
    phrase: str
    runs: dict
    score: float

    def mask(self):
        """The mask `(H, W)` bool. Raises a `ValueError` if it is empty or malformed."""
        height, width = self.runs["size"]
        return rasterize(self.runs, height, width, self.image).astype(bool)


class Interface(NamedTuple):
    """Names in the labelling interface of a project in Label Studio, see docs/label_tools.md.

    Attributes:
        image, brush, phrase: of `Image`, `BrushLabels` and the `TextArea` of each region.
        label: of the `Label` that brush regions get.
        image_key, text_key: under which a task has its image, and its phrases, one on each line.
    """

    image: str = "image"
    brush: str = "mask"
    phrase: str | None = "phrase"
    label: str = "object"
    image_key: str = "image"
    text_key: str = "text"


def write_coco(path, answers, model):
    """Writes COCO JSON: an annotation with `caption` and `score` for each mask that is not empty.

    Args:
        path: of the file.
        answers: list of `Answer`.
        model: name of the model.
    """
    images, annotations = {}, []
    for image, phrase, runs, score in answers:
        height, width = runs["size"]
        entry = {"id": len(images) + 1, "file_name": image, "height": height, "width": width}
        number = images.setdefault(image, entry)["id"]
        if score:
            runs = run_lengths(Answer(image, phrase, runs, score).mask())
            shape = {"bbox": coco_mask.toBbox(runs).tolist(), "area": int(coco_mask.area(runs))}
            ids = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            annotations.append(
                {**ids, "caption": phrase, "score": score, "segmentation": runs, **shape}
            )
    content = {
        "info": {"description": f"Masks by {model}"},
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": 1, "name": Interface().label}],
    }
    with replaced(path) as file:
        json.dump(content, file)


def write_label_studio(path, answers, model):
    """Writes tasks to import in Label Studio: the phrases of an image, and a region for each mask.

    The images are local files of the tool. Args: as `write_coco`.
    """
    tasks = []
    by_image = sorted(answers, key=lambda answer: answer.image)
    for image, group in groupby(by_image, key=lambda answer: answer.image):
        group = list(group)
        text = "\n".join(dict.fromkeys(answer.phrase for answer in group))
        masks = [(answer.phrase, answer.mask(), answer.score) for answer in group if answer.score]
        data = {"image": f"/data/local-files/?d={quote(image)}", "text": text}
        tasks.append({"data": data, "predictions": [label_studio_prediction(masks, model)]})
    with replaced(path) as file:
        json.dump(tasks, file)


def label_studio_prediction(masks, model, names=Interface()):  # a tuple  # noqa: B008
    """A prediction in Label Studio's JSON, a brush region with its phrase for each mask.

    Args:
        masks: iterable of `(phrase, mask, score)`; a mask is `(H, W)` bool.
        model: name of the model.
        names: `Interface` of the project.

    Returns:
        Dict of `model_version`, `score`, the mean of the regions', and `result`.
    """
    result, scores = [], []
    for phrase, mask, score in masks:
        scores.append(score)
        height, width = mask.shape
        size = {"original_width": width, "original_height": height, "image_rotation": 0}
        region = {"id": uuid.uuid4().hex[:10], "to_name": names.image, "score": score, **size}
        brush = {"format": "rle", "rle": encode_brush(mask), "brushlabels": [names.label]}
        parts = [(names.brush, "brushlabels", brush)]
        if names.phrase:  # a part of the same region, by its id
            parts.append((names.phrase, "textarea", {"text": [phrase]}))
        result += [{**region, "from_name": n, "type": t, "value": v} for n, t, v in parts]
    mean = sum(scores) / len(scores) if scores else 0.0
    return {"model_version": model, "score": mean, "result": result}


# What each format's file is called, and what writes it.
FORMATS = {
    "coco": ("coco.json", write_coco),
    "label-studio": ("label_studio.json", write_label_studio),
}
