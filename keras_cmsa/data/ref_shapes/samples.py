"""One image of RefShapes with all that is known of it, as records in REFER's and COCO's fields."""

from io import BytesIO
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from keras_cmsa.data.ref_shapes.expressions import draw_plan, find_expressions
from keras_cmsa.data.ref_shapes.masks import polygon, visible_masks, whole_mask
from keras_cmsa.data.ref_shapes.meaning import Judge
from keras_cmsa.data.ref_shapes.regions import STUFF, draw_regions
from keras_cmsa.data.ref_shapes.render import paint
from keras_cmsa.data.ref_shapes.scene import draw_scene
from keras_cmsa.data.ref_shapes.things import ANGULAR, COLOURS, ROUND, SHAPES

TARGET_FAMILY = {"testA": ROUND, "testB": ANGULAR}
# Pairs of a category, such as "red star", and what it is a kind of.
CATEGORIES = [(f"{colour} {shape}", shape) for shape in SHAPES for colour in COLOURS]
CATEGORIES += [(name, "stuff") for name in STUFF]
CATEGORY_IDS = {name: number for number, (name, _) in enumerate(CATEGORIES, start=1)}
JPEG_QUALITY = 93
# Of the scenes for a pair of `order` expressions: those made for one such as "left of" and its
# counterpart. These are rare otherwise, and without words of place there are none.
FLANKED = {"unc": 0.7, "unc+": 0.0, "gref": 0.7, "referit": 0.7}
PLAN_TRIES = 100  # scenes that are drawn for a plan before another plan is made


class Sample(NamedTuple):
    """An image and its records.

    Attributes:
        jpeg: the image file's bytes.
        annotations: COCO's annotations of all things and regions.
        refs: REFER's refs; each sentence also has its `kind`.
    """

    jpeg: bytes
    annotations: list
    refs: list


def draw_sample(rng, flavour, split, image_id, file_name, size):
    """Draws an image of a split; `size` is its side in pixels, `rng` a numpy `Generator`."""
    scene, told = _draw_told_scene(rng, flavour, split, size)
    masks = [whole_mask(thing, size) for thing in scene.things]
    annotations = _annotate(scene, masks, image_id)
    refs = [
        _ref(annotations[target], number, sentences, split, flavour, file_name)
        for number, (target, sentences) in enumerate(told.items())
    ]
    return Sample(_encode(paint(rng, scene, masks)), annotations, refs)


def _draw_told_scene(rng, flavour, split, size):
    """A scene of which all can be said that was planned: `(scene, sentences by target)`."""
    family = TARGET_FAMILY.get(split, SHAPES)
    while True:
        plan = draw_plan(rng, flavour)
        for _ in range(PLAN_TRIES):
            flanked = "order" in plan.kinds and rng.random() < FLANKED[flavour]
            scene = draw_scene(rng, family, size, flanked)
            if scene is None:
                continue
            if flavour == "referit":
                scene.regions.extend(draw_regions(rng, scene.things, size))
            targets = [n for n, thing in enumerate(scene.things) if thing.shape in family]
            targets += range(len(scene.things), len(scene.things) + len(scene.regions))
            told = find_expressions(rng, Judge(scene), flavour, plan, targets)
            if told:
                return scene, told


def _annotate(scene, masks, image_id):
    """COCO's annotations: the things from back to front, then the regions."""
    size = len(masks[0])
    annotations = []
    for thing, whole, visible in zip(scene.things, masks, visible_masks(masks)):
        if thing.shape == "ring" or (visible != whole).any():
            segmentation = _run_lengths(visible)
        else:
            segmentation = [polygon(thing, size)]
        category = f"{thing.colour} {thing.shape}"
        annotation = _annotation(image_id, len(annotations), category, segmentation, visible)
        annotations.append({**annotation, "attributes": thing.facts()})
    free = ~np.logical_or.reduce(masks)
    for region in scene.regions:
        seen = region.mask & free
        segmentation = _run_lengths(seen)
        annotations.append(_annotation(image_id, len(annotations), region.name, segmentation, seen))
    return annotations


def _annotation(image_id, number, name, segmentation, mask):
    runs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "id": image_id * 100 + number,
        "image_id": image_id,
        "category_id": CATEGORY_IDS[name],
        "segmentation": segmentation,
        "area": int(coco_mask.area(runs)),
        "bbox": coco_mask.toBbox(runs).tolist(),
        "iscrowd": int(isinstance(segmentation, dict)),
    }


def _run_lengths(mask):
    """COCO's uncompressed run lengths: down the columns, the first run outside of the mask."""
    pixels = np.concatenate([[False], mask.ravel(order="F")])
    starts = np.flatnonzero(pixels[1:] != pixels[:-1]).tolist()
    edges = [0, *starts, mask.size]
    counts = [end - start for start, end in pairwise(edges)]
    return {"counts": counts, "size": list(mask.shape)}


def _ref(annotation, number, sentences, split, flavour, file_name):
    """REFER's record of one target."""
    ref_id = annotation["image_id"] * 10 + number
    records = [
        {
            "tokens": words.split(),
            "raw": f"{words.capitalize()}." if flavour == "gref" else words,
            "sent_id": ref_id * 10 + place,
            "sent": words,
            "kind": kind,
        }
        for place, (words, kind) in enumerate(sentences)
    ]
    return {
        "sent_ids": [record["sent_id"] for record in records],
        "file_name": file_name,
        "ann_id": annotation["id"],
        "ref_id": ref_id,
        "image_id": annotation["image_id"],
        "split": split,
        "sentences": records,
        "category_id": annotation["category_id"],
    }


def _encode(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return file.getvalue()
