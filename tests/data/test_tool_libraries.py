"""The label tools' own libraries: their files are read, and they read ours. `make test-tools` has them
in an environment of its own, since one wants an older NumPy and another a desktop."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny
from label_studio_project import CONFIG, region, webhook_request
from label_tools import (
    BOX,
    NAME,
    OTHER,
    OTHER_POLYGON,
    POLYGON,
    coco,
    phrases,
    shape,
    wanted,
    write,
)
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from keras_cmsa.data.sources import read_records
from keras_cmsa.data.writers import Answer, label_studio_prediction, write_coco
from keras_cmsa.serving.label_studio import interface_of, masks_in

brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="`make test-tools` has it")
from_coco = pytest.importorskip("label_studio_sdk.converter.imports.coco")
interfaces = pytest.importorskip("label_studio_sdk.label_interface")
objects = pytest.importorskip("label_studio_sdk.label_interface.objects")
labelme = pytest.importorskip("labelme._label_file", exc_type=ImportError)  # no desktop
supervision = pytest.importorskip("supervision")

RING = BOX - tiny.box(8, 12, 3, 4, 5, 8)


def drawn(path, mask):
    """Label Studio's annotation of a mask: its library takes a file."""
    Image.fromarray(mask * 255).save(path)
    return brush.image2annotation(str(path), "Cup", "mask", "image")


def test_label_studio_writes_brushes(tmp_path, rng):
    mask = (rng.random((8, 12)) < 0.5).astype("uint8")
    annotation = drawn(tmp_path / "mask.png", mask)
    tasks = [{"data": {"image": f"/data/upload/3/{NAME}"}, "annotations": [annotation]}]
    assert phrases(read_records(write(tmp_path / "train.json", tasks))) == wanted(
        ("train", "Cup", 1, mask)
    )
    # What a webhook brings, for the one phrase of its task.
    (runs,) = masks_in(annotation, ["cup"], 8, 12)["cup"]
    np.testing.assert_array_equal(coco_mask.decode(runs), mask)


def test_label_studio_writes_polygons(tmp_path):
    content = coco()
    for annotation, polygon in zip(content["annotations"], (POLYGON, OTHER_POLYGON)):
        annotation |= {"iscrowd": 0, "segmentation": [polygon]}
        del annotation["bbox"]  # which would be a rectangle beside
    path = write(tmp_path / "coco.json", content)
    from_coco.convert_coco_to_ls(str(path), str(tmp_path / "train.json"))
    assert phrases(read_records(tmp_path / "train.json")) == wanted(
        ("train", "coffee_cup", 2, BOX | OTHER)
    )


def page():
    """The labelling interface of the page."""
    text = (Path(__file__).parents[2] / "docs/label_tools.md").read_text("utf-8")
    return re.search(r"    <View>\n.*?    </View>", text, re.DOTALL)[0]


@pytest.mark.parametrize("config", [page(), CONFIG], ids=["the page's", "the tests'"])
def test_label_studio_takes_predictions_and_annotations(config):
    interface, names = interfaces.LabelInterface(config), interface_of(config)
    interface.validate()
    assert interface.get_object(names.image).tag == "Image"
    assert interface.get_control(names.brush).tag == "BrushLabels"
    assert interface.get_control(names.phrase).tag == "TextArea"
    assert interface.get_control(names.brush).labels == [names.label]
    masks = [("red cup", BOX > 0, 0.75), ("cup", OTHER > 0, 0.5)]
    prediction = label_studio_prediction(masks, "cmsa-1", names)
    assert interface.validate_prediction(prediction, return_errors=True) == []
    assert objects.PredictionValue(**prediction).model_dump() == prediction
    for part, (_, mask, _) in zip(prediction["result"][::2], masks):
        values = brush.decode_rle(part["value"]["rle"]).reshape(8, 12, 4)
        np.testing.assert_array_equal(values[..., 3] > 0, mask)
    # The requests of the other tests are as the tool has them.
    annotation = webhook_request("/a.png", "", region(BOX, "red cup"))["annotation"]
    assert interface.validate_annotation(annotation)
    annotation["result"][0]["type"] = "polygonlabels"
    assert not interface.validate_annotation(annotation)


# Its reader leaves the image open.
@pytest.mark.filterwarnings("ignore:.*FileIO:pytest.PytestUnraisableExceptionWarning")
def test_labelme_writes_masks_and_reads_them(tmp_path, rng):
    inside = rng.random((4, 5)) < 0.5
    png = labelme.utils.img_arr_to_b64(inside.astype("uint8"))
    shapes = [
        shape("a", [[2.3, 1.4], [6.3, 4.4]], "mask", mask=png, description="noise"),
        shape("b", [[3, 2], [9, 2], [9, 6], [3, 6]], description="the box"),
    ]
    path = write(tmp_path / "train/7.json", {})
    labelme.write_label_file(
        str(path), shapes=shapes, image_path=NAME, image_height=8, image_width=12
    )
    noise = 0 * BOX
    noise[1:5, 2:7] = inside
    rows = ("train", "noise", 1, noise), ("train", "the box", 1, BOX)
    assert phrases(read_records(tmp_path)) == wanted(*rows)
    np.testing.assert_array_equal(labelme.read_label_file(str(path)).shapes[0]["mask"], inside)


def test_supervision_writes_coco_and_reads_it(tmp_path):
    """Run lengths for what has holes or parts, else a polygon through the middles of its outer
    pixels, which COCO draws smaller."""
    masks = {"box": BOX, "ring": RING, "two parts": BOX | OTHER}
    source = write(tmp_path / "7.json", {}).with_name(NAME)
    bools = np.stack([*masks.values()]) > 0
    found = supervision.Detections(
        supervision.mask_to_xyxy(bools), bools, class_id=np.arange(len(masks))
    )
    folder = tmp_path / "export/train"
    supervision.DetectionDataset([*masks], [str(source)], {str(source): found}).as_coco(
        str(folder), str(folder / "_annotations.coco.json")
    )
    theirs = COCO(folder / "_annotations.coco.json")
    drawn = {
        theirs.cats[a["category_id"]]["name"]: theirs.annToMask(a) for a in theirs.anns.values()
    }
    assert drawn["box"].sum() == 3 * 5 and (drawn["box"] <= BOX).all()
    for name in ("ring", "two parts"):
        np.testing.assert_array_equal(drawn[name], masks[name])
    records = read_records(tmp_path / "export")
    assert phrases(records) == wanted(*(("train", n, 1, mask) for n, mask in drawn.items()))

    answers = [Answer(NAME, n, tiny.runs(mask), 0.5) for n, mask in masks.items()]
    write_coco(tmp_path / "coco.json", answers, "cmsa-1")
    ((_, _, read),) = supervision.DetectionDataset.from_coco(
        str(tmp_path), str(tmp_path / "coco.json"), force_masks=True
    )
    np.testing.assert_array_equal(read.mask, bools)
