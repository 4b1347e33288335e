"""Files of tools that are kept beside the clone: how much of each is read, or why it is refused."""

import re

import pytest

from keras_cmsa.data.sources import read_records

# records, what is left out; test_coco.py counts the phrases of further files
READ = {
    "coco/Obmutescence__coco_instances_crowd.json": (48, ""),
    "coco/PardisTaghavi__cityscapes_rle_string.json": (18, ""),
    "coco/SakibAhmedShuva__cvat_text_attributes.json": (28, ""),
    "coco/lightly-ai__labelformat_crowd_rle.json": (4, ""),
    "coco/open-edge-platform__datumaro_attributes_any.json": (1, "1 objects without text"),
    "coco/roboflow__roboflow_mixed_empty.json": (1, "3 phrases with an object that has no mask"),
    "coco/wkentaro__labelme2coco.json": (7, ""),
    "label_studio/HumanSignal__polygon_single_fixture.json": (1, ""),
    "label_studio/gusalbukrk__polygon_export.json": (4, ""),
    "labelme/CVHub520__xanylabeling_2.4_polygon.json": (2, ""),
    "labelme/Inspector-DAI__v3.16_lineColor.json": (1, ""),
    "labelme/wkentaro__v4_group_id.json": (2, ""),
    "labelme/wkentaro__v5.7_primitives_mask.json": (2, "5 phrases with an object that has no mask"),
    "labelme/ykszk__v5.0.1_mandrill.json": (1, "6 phrases with an object that has no mask"),
}
NO_MASK = (
    r"wanted phrases of objects with masks\. Received: \d+ phrases with an object that has no mask"
)
NO_TASKS = (
    r"wanted a list of tasks with 'data' and 'annotations'\. Received: .*Export from Label Stu"
)
NO_FORM = r"wanted JSON of COCO .*, LabelMe .* or Label Studio .*\. Received: "
NO_TABLE = r"wanted a table .*Received: .*export from a label tool as COCO JSON"
REFUSED = {  # some files for each reason
    # boxes, points, captions of whole images, brushes without a stroke
    "coco/Obmutescence__coco_captions.json": NO_MASK,
    "label_studio/MatthiasDR96__brush_rect_keypoint.json": NO_MASK,
    "labelme/wkentaro__v4_rectangles.json": NO_MASK,
    # other lists
    "label_studio/gusalbukrk__jsonmin_magicwand_brush.json": NO_TASKS,
    "negative/MatthiasDR96__labelbox_export_v1.json": NO_TASKS,
    # other objects
    "coco/facebookresearch__saco_veval_gt.json": NO_FORM + "info, videos",
    "negative/sohailakram6492__via2_file_caption.json": NO_FORM + "1.jpeg45602",
    # other endings
    "cvat_xml/arthur04112006__polygons_small.xml": NO_TABLE,
    # the rest
    "coco/open-edge-platform__panoptic_negative.json": "wanted one field with the phrases",
    "label_studio/smakam__textarea_per_region_audio.json": r"wanted one image file .*bengali_clip",
    "labelme/wkentaro__v4_imageData.json": "wanted 'imagePath' of an image file",
    "negative/egutierrezc93__via2_export.csv": "wanted each of the columns image, expression",
    "odvg/CVHub520__xanylabeling_od.json.jsonl": "wanted 'image' of type str. Received: nothing",
    "vlm_jsonl/roboflow__paligemma_vqa.jsonl": "wanted 'expression' of type str. Received: nothing",
}


@pytest.mark.parametrize("name", READ)
def test_files_that_are_read(samples, name, recwarn):
    number, left_out = READ[name]
    records = [record for of in read_records(samples / "formats" / name).values() for record in of]
    assert len(records) == number
    assert records[-1].mask().any()
    reasons = [
        found[1]
        for warning in recwarn
        if (found := re.search(r"left out are (.*?) \(the first: ", str(warning.message)))
    ]
    assert reasons == [left_out] * bool(left_out)


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(samples, name):
    with pytest.raises(ValueError, match=REFUSED[name]) as error:
        read_records(samples / "formats" / name)
    assert name in str(error.value)
