"""Draws one image of RefShapes with its annotations and refs, in COCO's and REFER's formats."""

from io import BytesIO
from itertools import product

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from keras_cmsa.data.masks import decompressed
from keras_cmsa.data.ref_shapes.expressions import draw_plan, find_expressions
from keras_cmsa.data.ref_shapes.generalised import add_several_and_none
from keras_cmsa.data.ref_shapes.layout import IMAGE_NAME
from keras_cmsa.data.ref_shapes.meaning import Judge
from keras_cmsa.data.ref_shapes.render import paint
from keras_cmsa.data.ref_shapes.scene import draw_scene
from keras_cmsa.data.ref_shapes.things import ANGULAR, COLOURS, ROUND, SHAPES

TARGET_FAMILY = {"testA": ROUND, "testB": ANGULAR}
# COCO's categories, such as "red star" of the supercategory "star".
CATEGORIES = [
    {"id": number, "name": f"{colour} {shape}", "supercategory": shape}
    for number, (shape, colour) in enumerate(product(SHAPES, COLOURS), start=1)
]
CATEGORY_IDS = {category["name"]: category["id"] for category in CATEGORIES}
NO_TARGET = [-1]  # in the place of gRefCOCO's ids
JPEG_QUALITY = 93
# The fraction of the scenes with `order` expressions whose things are placed for an expression such
# as "left of" and its counterpart. Such pairs are rare in other scenes.
FLANKED = 0.7
PLAN_TRIES = 100  # scenes to draw for a plan before drawing another plan


def draw_sample(rng, split, image_id, size, targets="one", colours=COLOURS):
    """Draws an image and its refs.

    Args:
        rng: a NumPy `Generator`.
        split: split of the image.
        image_id: integer id of the image.
        size: side of the image in pixels.
        targets: `"one"` for REFER's refs, of one target each; `"any"` for gRefCOCO's, of none, one
            or several.
        colours: names of the things' colours.

    Returns:
        `(jpeg, annotations, refs)`: the bytes of the image file; list of COCO's annotations of all
        things; list of REFER's refs, or gRefCOCO's, in which each sentence also has its `kind`, and
        an absent one its `planted` word and its `original`.
    """
    scene, sentences_of = _draw_scene_with_sentences(rng, split, size, targets, colours)
    masks = [thing.mask(size) for thing in scene.things]
    annotations = _annotate(scene, masks, image_id)
    refs = [
        _ref(annotations, target, image_id * 10 + number, sentences, split)
        for number, (target, sentences) in enumerate(sentences_of.items())
    ]
    file = BytesIO()
    pixels = Image.fromarray(paint(rng, scene, masks))
    pixels.save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return file.getvalue(), annotations, refs


def _draw_scene_with_sentences(rng, split, size, targets, colours):
    """Draws plans and scenes until a scene allows its plan: `(scene, {target: sentences})`.

    With `"any"` a target is a tuple of things.
    """
    family = TARGET_FAMILY.get(split, SHAPES)
    while True:
        refs, kinds = draw_plan(rng)
        for _ in range(PLAN_TRIES):
            flanked = "order" in kinds and rng.random() < FLANKED
            scene = draw_scene(rng, family, size, flanked, colours)
            if scene is None:
                continue
            things = [n for n, thing in enumerate(scene.things) if thing.shape in family]
            judge = Judge(scene)
            sentences_of = find_expressions(rng, judge, refs, kinds, things)
            if sentences_of and targets == "any":
                sentences_of = add_several_and_none(rng, judge, sentences_of, things, colours)
            if sentences_of:
                return scene, sentences_of


def _annotate(scene, masks, image_id):
    """COCO's annotations of the things, from back to front."""
    annotations = []
    covered = np.logical_or.accumulate(masks[::-1])[::-1]  # by a thing or by what is before it
    for thing, whole, before in zip(scene.things, masks, [*covered[1:], np.False_]):
        visible = whole & ~before
        runs = coco_mask.encode(np.asfortranarray(visible, np.uint8))
        is_polygon = thing.shape != "ring" and (visible == whole).all()
        category = f"{thing.colour} {thing.shape}"
        if is_polygon:
            segmentation = [thing.polygon(len(visible))]
        else:
            counts = decompressed(runs["counts"], category)
            segmentation = {"counts": counts, "size": list(visible.shape)}
        annotations.append(
            {
                "id": image_id * 100 + len(annotations),
                "image_id": image_id,
                "category_id": CATEGORY_IDS[category],
                "segmentation": segmentation,
                "area": int(coco_mask.area(runs)),
                "bbox": coco_mask.toBbox(runs).tolist(),
                "iscrowd": int(not is_polygon),
                "attributes": thing.attributes(),
            }
        )
    return annotations


def _ref(annotations, target, ref_id, sentences, split):
    """REFER's ref of a thing, or gRefCOCO's of a tuple of things, with lists of ids."""
    records = [_record(ref_id * 10 + place, sentence) for place, sentence in enumerate(sentences)]
    if isinstance(target, tuple):
        ann_id, category_id = (
            [annotations[place][name] for place in target] or NO_TARGET
            for name in ("id", "category_id")
        )
    else:
        ann_id, category_id = annotations[target]["id"], annotations[target]["category_id"]
    return {
        "sent_ids": [record["sent_id"] for record in records],
        "file_name": IMAGE_NAME.format(annotations[0]["image_id"]),
        "ann_id": ann_id,
        "ref_id": ref_id,
        "image_id": annotations[0]["image_id"],
        "split": split,
        "sentences": records,
        "category_id": category_id,
    }


def _record(sentence_id, sentence):
    """REFER's record of a sentence."""
    record = {
        "tokens": sentence.words.split(),
        "raw": sentence.words,
        "sent_id": sentence_id,
        "sent": sentence.words,
        "kind": sentence.kind,
    }
    if sentence.planted:
        record |= {"planted": sentence.planted, "original": sentence.original}
    return record
