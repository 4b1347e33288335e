"""Masks and phrases for other tools: what pycocotools and Label Studio's rules read of the files."""

import json

import numpy as np
import tiny
from pycocotools.coco import COCO

from keras_cmsa.data.brush import decode_brush
from keras_cmsa.data.writers import Answer, Interface, label_studio_prediction
from keras_cmsa.data.writers import write_coco as to_coco
from keras_cmsa.data.writers import write_label_studio as to_label_studio

BOX, LINE = tiny.box(6, 9, 1, 2, 5, 7), tiny.box(4, 5, 0, 3, 4, 4)
ANSWERS = [
    Answer("a/1 é.png", "red cup", tiny.runs(BOX), 0.75),
    Answer("2.png", 'the "line", here', tiny.runs(LINE), 0.5),
    Answer("a/1 é.png", "the zebra", tiny.runs(0 * BOX), 0.0),
    Answer("a/1 é.png", "cup", tiny.runs(BOX), 1.0),
]


def test_coco(tmp_path, capsys):
    to_coco(tmp_path / "coco.json", ANSWERS, "cmsa-1")
    coco = COCO(tmp_path / "coco.json")
    assert [image["file_name"] for image in coco.imgs.values()] == ["a/1 é.png", "2.png"]
    found = list(coco.anns.values())
    assert [(x["caption"], x["score"]) for x in found] == [
        ("red cup", 0.75), ('the "line", here', 0.5), ("cup", 1.0),
    ]  # fmt: skip
    for annotation, mask in zip(found, (BOX, LINE, BOX)):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
    assert [x["bbox"] for x in found] == [[2, 1, 5, 4], [3, 0, 1, 4], [2, 1, 5, 4]]
    assert coco.loadCats(found[0]["category_id"])[0]["name"] == "object"
    # The masks as COCO's own evaluation takes results.
    results = [
        {k: x[k] for k in ("image_id", "category_id", "segmentation", "score")} for x in found
    ]
    assert len(coco.loadRes(results).anns) == 3


def test_label_studio(tmp_path):
    to_label_studio(tmp_path / "tasks.json", ANSWERS, "cmsa-1")
    second, first = json.loads((tmp_path / "tasks.json").read_bytes())
    assert first["data"] == {
        "image": "/data/local-files/?d=a/1%20%C3%A9.png", "text": "red cup\nthe zebra\ncup",
    }  # fmt: skip
    assert second["data"]["image"] == "/data/local-files/?d=2.png"
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("cmsa-1", 0.875)
    cup, cup_text, other, other_text = prediction["result"]
    assert cup["id"] == cup_text["id"] != other["id"] == other_text["id"]
    assert [x["value"]["text"] for x in (cup_text, other_text)] == [["red cup"], ["cup"]]
    for region in prediction["result"]:
        assert (region["original_width"], region["original_height"]) == (9, 6)
        assert region["to_name"] == "image" and region["image_rotation"] == 0
    assert (cup["from_name"], cup["type"], cup["score"]) == ("mask", "brushlabels", 0.75)
    assert cup["value"]["brushlabels"] == ["object"] and cup["value"]["format"] == "rle"
    np.testing.assert_array_equal(decode_brush(cup["value"]["rle"], 6, 9, "it"), BOX)


def test_an_interface_without_a_text_for_each_region():
    names = Interface("photo", "brush", None, "thing")
    (region,) = label_studio_prediction([("cup", BOX > 0, 0.5)], "m", names)["result"]
    assert [region[key] for key in ("from_name", "to_name")] == ["brush", "photo"]
    assert label_studio_prediction([], "m", names) == {
        "model_version": "m", "score": 0.0, "result": [],
    }  # fmt: skip
