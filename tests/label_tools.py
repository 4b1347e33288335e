"""What label tools write of one image of 12 x 8, to be read and to be spoilt."""

import base64
import io
import json

import numpy as np
import tiny
from PIL import Image
from pycocotools import mask as coco_mask

from keras_cmsa.data.brush import encode_brush

NAME, SIZE = "7.jpg", (8, 12)
BOX, OTHER = tiny.box(*SIZE, 2, 3, 6, 9), tiny.box(*SIZE, 0, 0, 2, 2)
BLACK = np.zeros((*SIZE, 3))
POLYGON, OTHER_POLYGON = [3, 2, 9, 2, 9, 6, 3, 6], [0, 0, 2, 0, 2, 2, 0, 2]


def image_bytes(pixels=BLACK, format="PNG"):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, "uint8")).save(file, format)
    return file.getvalue()


def noise(seed=0, format="PNG"):
    """The bytes of an image of noise."""
    return image_bytes(np.random.default_rng(seed).integers(0, 256, (8, 12, 3)), format)


def compressed(mask):
    """A mask as COCO's compressed text."""
    runs = coco_mask.encode(np.asfortranarray(mask))
    return {**runs, "counts": runs["counts"].decode()}


def png(mask):
    """A mask as LabelMe keeps it: PNG of 0 and 1 in base64."""
    return base64.b64encode(image_bytes(mask)).decode("ascii")


def coco(**of):
    """COCO's JSON with two cups, one of them a crowd as CVAT writes its brush masks."""
    annotation = {"id": 70, "image_id": 9, "category_id": 1, "area": 24, "bbox": [3, 2, 6, 4]}
    return {
        "images": [{"id": 9, "file_name": NAME, "height": 8, "width": 12}],
        "annotations": [
            {**annotation, "iscrowd": 0, "segmentation": [POLYGON]},
            {**annotation, "id": 71, "iscrowd": 1, "segmentation": tiny.runs(OTHER)},
        ],
        "categories": [{"id": 1, "name": "coffee_cup", "supercategory": "none"}],
        **of,
    }


def region(number, kind, value, **of):
    """A result of Label Studio."""
    return {
        "id": number, "type": kind, "from_name": "label", "to_name": "image", "image_rotation": 0,
        "original_width": 12, "original_height": 8, "value": value, **of,
    }  # fmt: skip


def percent(polygon):
    """A polygon as Label Studio has it, in percent of the image."""
    return [[x * 100 / 12, y * 100 / 8] for x, y in zip(polygon[::2], polygon[1::2])]


def brush(number, mask, **of):
    value = {"format": "rle", "rle": encode_brush(mask), "brushlabels": ["Cup"]}
    return region(number, "brushlabels", value, **of)


def outline(number, polygon, label="Cup"):
    value = {"points": percent(polygon), "closed": True, "polygonlabels": [label]}
    return region(number, "polygonlabels", value)


def text_area(number, text):
    return region(number, "textarea", {"text": [text]}, from_name="phrase")


def task(*results, image=f"/data/upload/4/5e2cfa6e-{NAME}", **of):
    """A task of Label Studio with one annotation."""
    annotation = {"id": 3, "completed_by": 1, "was_cancelled": False, "ground_truth": False}
    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [{**annotation, "result": [*results]}],
    } | of


def shape(label, points, kind="polygon", **of):
    """A shape of LabelMe."""
    return {
        "label": label, "points": points, "group_id": None, "description": "", "shape_type": kind,
        "flags": {}, "mask": None, **of,
    }  # fmt: skip


def mask_shape(label, inside, left, top, **of):
    height, width = np.shape(inside)
    corners = [[left, top], [left + width - 1, top + height - 1]]
    return shape(label, corners, "mask", mask=png(inside), **of)


def points(polygon):
    return [[float(x), float(y)] for x, y in zip(polygon[::2], polygon[1::2])]


def labelme(*shapes, name=NAME):
    """A file of LabelMe."""
    return {
        "version": "5.7.0", "flags": {}, "shapes": [*shapes], "imagePath": name, "imageData": None,
        "imageHeight": 8, "imageWidth": 12,
    }  # fmt: skip


def annotated(number=1, split="train", **of):
    """A row of jxu124/refcoco, whose image is on COCO's disk."""
    sentences = [
        {"raw": f"The cup {number}!", "sent": "the cup", "sent_id": 0, "tokens": ["cup"]},
        {"raw": f"cup, {number}", "sent": "cup", "sent_id": 1, "tokens": ["cup"]},
    ]
    return {
        "sent_ids": [0, 1], "file_name": f"{NAME[:-4]}_{number}.jpg", "ann_id": 70, "ref_id": number,
        "image_id": 9, "split": split, "sentences": sentences, "category_id": 1,
        "raw_anns": json.dumps({"id": 70, "image_id": 9, "segmentation": [POLYGON], "area": 24.0}),
        "raw_image_info": json.dumps({"id": 9, "file_name": NAME, "height": 8, "width": 12}),
        "raw_sentences": "[]", "image_path": f"coco/train2014/{NAME}", "bbox": [3.0, 2.0, 9.0, 6.0],
        **of,
    }  # fmt: skip


def with_image(**of):
    """A row of moondream/refcoco-m."""
    samples = [
        {"sentences": ["The cup", "cup, middle"], "mask": compressed(BOX)},
        {"sentences": ["corner"], "mask": compressed(OTHER)},
    ]
    return {"image": {"bytes": noise(), "path": "a.png"}, "samples": samples, **of}


def write(path, content):
    """Writes JSON, and the image beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    Image.new("RGB", SIZE[::-1]).save(path.parent / NAME)
    return path


def phrases(records):
    """`{(split, phrase): (targets, mask)}` of records."""
    return {
        (split, record.raw): (record.targets, record.mask().tolist())
        for split, of in records.items()
        for record in of
    }


def wanted(*rows):
    """The same of rows `(split, phrase, targets, mask)`."""
    return {(split, raw): (targets, mask.tolist()) for split, raw, targets, mask in rows}
