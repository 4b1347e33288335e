"""COCO's JSON with text: which field has the phrase, which objects it means, and what is left out."""

import numpy as np
import pytest
from label_tools import (
    BOX,
    NAME,
    OTHER,
    OTHER_POLYGON,
    POLYGON,
    coco,
    compressed,
    phrases,
    wanted,
    write,
)
from pycocotools.coco import COCO

from keras_cmsa.data.check import check_records
from keras_cmsa.data.sources import read_records


def read(path, content, **options):
    return read_records(write(path, content), **options)


def with_texts(**texts):
    """The file with a text in each of its two annotations: `name=[first, second]`."""
    content = coco()
    for key, values in texts.items():
        for annotation, value in zip(content["annotations"], values):
            annotation[key] = value
    return content


@pytest.mark.parametrize("segmentation", [POLYGON, compressed(BOX)], ids=["VIA's", "compressed"])
def test_other_forms_of_a_mask_give_its_pixels(tmp_path, segmentation):
    content = with_texts(caption=["the cup", None])
    content["annotations"][0]["segmentation"] = segmentation
    with pytest.warns(
        UserWarning,
        match=r"1 objects without text \(the first: .*train.json, annotations entry 1\)",
    ):
        records = read(tmp_path / "train.json", content)
    assert phrases(records) == wanted(("train", "the cup", 1, BOX))
    assert check_records(records["train"])[1] == []


def test_the_field_is_found_and_told(tmp_path, capsys):
    path = write(
        tmp_path / "train.json",
        with_texts(
            attributes=[
                {"The phrase": "big cup", "occluded": False, "track_id": 8, "note": ""},
                {"The phrase": "small cup", "occluded": True},
            ]
        ),
    )
    rows = wanted(("train", "big cup", 1, BOX), ("train", "small cup", 1, OTHER))
    assert phrases(read_records(path)) == rows
    field = "annotations.attributes.The phrase"
    assert f"the phrases are {field} (`text` takes another)" in capsys.readouterr().err
    assert phrases(read_records(path, text=field)) == rows
    assert capsys.readouterr().err == ""


def test_the_class_is_the_phrase_where_there_is_no_other(tmp_path):
    """Roboflow; the objects of a class are one target, or none with `one_each`."""
    content = coco()
    content["categories"].append({"id": 0, "name": "dog"})
    content["annotations"].append(
        {"id": 72, "image_id": "9", "category_id": 0, "segmentation": [OTHER_POLYGON]}
    )
    path = write(tmp_path / "train.json", content)
    both = ("train", "coffee_cup", 2, BOX | OTHER)
    dog = ("train", "dog", 1, OTHER)
    records = read_records(path)
    assert phrases(records) == wanted(both, dog)
    assert [record.expression for record in records["train"]] == ["coffee cup", "dog"]
    assert records["train"][1].categories == {"dog"}
    assert records["train"][1].image_categories == {"dog", "coffee_cup"}
    with pytest.warns(
        UserWarning, match=r"left out are 1 phrases of several objects \(.*9, 'coffee_cup'\)"
    ):
        assert phrases(read_records(path, one_each=True)) == wanted(dog)


def test_an_image_entry_for_each_phrase(tmp_path):
    """SA-Co: the entries of a file are one image, and nothing fits a phrase without annotations."""
    image = {"file_name": NAME, "height": 8, "width": 12}
    content = coco(
        images=[
            {"id": 9, "text_input": "cups", **image},
            {"id": 10, "text_input": "a dog", **image},
            {"id": 11, "text_input": "small cup", **image},
        ],
    )
    content["annotations"].append(
        {"id": 80, "image_id": 11, "category_id": 1, "segmentation": compressed(OTHER)}
    )
    path = write(tmp_path / "gold_test.json", content)
    records = read_records(path)
    rows = ("test", "cups", 2, BOX | OTHER), ("test", "small cup", 1, OTHER)
    nothing = ("test", "a dog", 0, BOX * 0)
    assert phrases(records) == wanted(*rows, nothing)
    assert len({r.image_id for r in records["test"]}) == 1
    assert len({r.ref_id for r in records["test"]}) == 3
    assert not any(record.image_categories for record in records["test"])
    with pytest.warns(UserWarning, match="1 phrases of several objects"):
        assert phrases(read_records(path, one_each=True)) == wanted(rows[1], nothing)


def test_lines_are_phrases_of_one_ref(tmp_path):
    content = with_texts(caption=["The cup!\n\ncup, left\nthe cup", "small"])
    records = read(tmp_path / "train.json", content)["train"]
    assert [r.expression for r in records] == ["the cup", "cup left", "small"]
    assert len({r.sentence_id for r in records}) == 3
    assert records[0].ref_id == records[1].ref_id != records[2].ref_id
    # A small file may have very many.
    assert records[0].segmentation is records[1].segmentation
    assert records[0].image_categories is records[2].image_categories


def test_a_phrase_with_a_box_alone_is_left_out(tmp_path):
    content = with_texts(caption=["cup", "dog"])
    del content["annotations"][1]["segmentation"]
    with pytest.warns(UserWarning, match="left out are 1 phrases with an object that has no mask"):
        assert phrases(read(tmp_path / "train.json", content)).keys() == {("train", "cup")}
    content["annotations"][0]["segmentation"] = []
    with pytest.raises(ValueError, match="train.json: wanted phrases of objects .* 2 phrases with"):
        read(tmp_path / "train.json", content)


@pytest.mark.parametrize(
    "names",
    [
        {"train": "instances_train2017.json", "val": "instances_val2017.json"},
        {"train": "mine_train.json", "val": "mine_valid.json", "test": "mine_test.json"},
        {"train": "train/_annotations.coco.json", "val": "valid/_annotations.coco.json"},
    ],
)
def test_splits_are_found_by_their_names(tmp_path, names):
    paths = {split: write(tmp_path / name, coco()) for split, name in names.items()}
    for path in paths.values():
        records = read_records(path)
        assert sorted(records) == sorted(names)
        for split, (record,) in records.items():
            assert record.image_path == paths[split].parent / NAME and record.split == split
    ids = {record.sentence_id for (record,) in records.values()}
    assert len(ids) == len(names) and list(read_records(path, splits=["val"])) == ["val"]
    if path.parent != tmp_path:
        assert sorted(read_records(tmp_path)) == sorted(names)


def changed(table, **values):
    content = with_texts(caption=["big cup", "small cup"])
    content[table][0] |= values
    return content


BAD = {
    "'file_name' of type str. Received: int": changed("images", file_name=5),
    "wanted a path inside .* Received: '../7.jpg'": changed("images", file_name="../7.jpg"),
    "annotations entry 0, .*caption entry 0: wanted .* of type str": changed(
        "annotations", caption=5
    ),
    "annotations entry 0, .* Received half a character": changed("annotations", caption="a \ud83d"),
    "annotations entry 0: wanted 'segmentation' as polygons": changed(
        "annotations", segmentation=5
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_images_are_named_or_left_out(tmp_path, message):
    content = BAD[message]
    content["images"].append({"id": 10, "file_name": NAME, "height": 8, "width": 12})
    content["annotations"].append(
        {"id": 72, "image_id": 10, "segmentation": [POLYGON], "caption": "good"}
    )
    path = write(tmp_path / "train.json", content)
    with pytest.raises(ValueError, match=rf"train\.json, .*{message}"):
        read_records(path)
    with pytest.warns(UserWarning, match="1 of 2 images are bad and left out. The first: .*train"):
        assert phrases(read_records(path, on_bad="skip")) == wanted(("train", "good", 1, BOX))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            coco(annotations=[{"id": 1, "image_id": 8}]),
            {},
            "entry 0: wanted 'image_id' of an entry",
        ),
        (coco(images=[{"id": 1}, {"id": "1", "width": 9}]), {}, "entry 1: wanted its own id.* 1, "),
        (
            {"items": []},
            {},
            r"wanted JSON of COCO .*, LabelMe .* or Label Studio .*Received: items",
        ),
        (coco(annotations=[]), {}, "wanted one field with the phrases. Received: no text"),
        (
            with_texts(caption=["a", "b"], attributes=[{"p": "c"}, {}]),
            {},
            "Received: annotations.attributes.p and annotations.caption. Give one of these",
        ),
        (
            with_texts(caption=["a", "b"]),
            {"text": "annotations.captoin"},
            r"Received: 'annotations.captoin'. Give one of these as `text`: annotations.caption, ca",
        ),
        (with_texts(caption=["a", "b"]), {"splits": ["val"]}, "has no split val; it has train"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=rf"train\.json.*{message}"):
        read(tmp_path / "train.json", content, **options)


@pytest.mark.filterwarnings("ignore:.*images are missing")
@pytest.mark.parametrize(
    "name",
    [
        "metalisai__cvat_rle_iscrowd.json",
        "kunalgkjoshi__roboflow_polygons.json",
        "egutierrezc93__via_coco_flat_segmentation.json",
    ],
)
def test_files_of_tools_against_pycocotools(samples, name):
    """Every phrase is a class of an image; its mask is the union of COCO's own masks."""
    path = samples / "formats/coco" / name
    records = [record for of in read_records(path).values() for record in of]
    theirs, objects = COCO(path), {}
    files = {image["id"]: image["file_name"] for image in theirs.dataset["images"]}
    names = {category["id"]: category["name"] for category in theirs.dataset["categories"]}
    for annotation in theirs.dataset["annotations"]:
        annotation["image_id"] = int(annotation["image_id"])  # VIA's are text
        parts = annotation["segmentation"]
        if type(parts) is list and type(parts[0]) is int:
            annotation["segmentation"] = [parts]
        phrase = files[annotation["image_id"]], names[annotation["category_id"]]
        objects.setdefault(phrase, []).append(annotation)
    assert len(records) == len(objects)
    for record in records[1::10]:
        file = record.image_path.relative_to(path.parent).as_posix()
        masks = [theirs.annToMask(annotation) for annotation in objects[file, record.raw]]
        np.testing.assert_array_equal(record.mask(), np.max(masks, axis=0))
        assert record.targets == len(masks)
