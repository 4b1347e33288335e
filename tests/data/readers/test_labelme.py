"""LabelMe's files: polygons and mask shapes, descriptions, groups, and what is left out."""

import base64
import io
import json

import numpy as np
import pytest
from label_tools import (
    BOX,
    NAME,
    OTHER,
    OTHER_POLYGON,
    POLYGON,
    labelme,
    mask_shape,
    phrases,
    points,
    shape,
    wanted,
    write,
)
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.sources import read_records


def outline(label, polygon=POLYGON, **of):
    return shape(label, points(polygon), **of)


def read(folder, *shapes, **options):
    write(folder / "train/7.json", labelme(*shapes))
    return read_records(folder, **options)


def test_masks_come_back_and_the_description_is_the_phrase(tmp_path, rng, capsys):
    """A mask lies with its first pixel on the first corner, whose fraction LabelMe cuts off."""
    inside = (rng.random((4, 5)) < 0.5).astype("uint8")
    mask = np.zeros_like(BOX)
    mask[3:7, 6:11] = inside
    shapes = [
        outline("cup", description="the cup\nbig cup | cup in the middle"),
        mask_shape("cup", inside, 6.398, 3.0, description="noise"),
        mask_shape("cup", np.ones((2, 2)), 0, 0, description="corner"),
    ]
    records = read(tmp_path, *shapes)
    rows = [
        ("the cup", BOX),
        ("big cup | cup in the middle", BOX),
        ("noise", mask),
        ("corner", OTHER),
    ]
    assert phrases(records) == wanted(*(("train", raw, 1, of) for raw, of in rows))
    assert check_records(records["train"])[1] == []
    assert records["train"][0].image_categories == {"cup"}
    assert "the phrases are shapes.description" in capsys.readouterr().err


def test_without_descriptions_the_label_is_the_phrase(tmp_path):
    records = read(tmp_path, outline("cup", description=None), outline("cup", OTHER_POLYGON))
    assert phrases(records) == wanted(("train", "cup", 2, BOX | OTHER))


def test_a_shape_without_a_type_is_a_polygon(tmp_path):
    old = {"label": "cup", "line_color": None, "fill_color": None, "points": points(POLYGON)}
    assert phrases(read(tmp_path, old)) == wanted(("train", "cup", 1, BOX))


def test_the_shapes_of_a_group_are_one_object(tmp_path):
    shapes = [
        outline("cup", group_id=0, description="hidden cup"), outline("cup", OTHER_POLYGON, group_id=0),
        outline("dog", group_id=0, description="dog"),
    ]  # fmt: skip
    records = read(tmp_path, *shapes)
    assert phrases(records) == wanted(
        ("train", "hidden cup", 1, BOX | OTHER), ("train", "dog", 1, BOX)
    )


def test_what_is_no_mask_is_left_out(tmp_path):
    shapes = [
        outline("cup"),
        shape("box", [[1, 1], [5, 5]], "rectangle"),
        shape("x", [[1, 1]], "point"),
    ]
    with pytest.warns(UserWarning, match="left out are 2 phrases with an object that has no mask"):
        assert phrases(read(tmp_path, *shapes)) == wanted(("train", "cup", 1, BOX))


def test_files_and_folders(tmp_path, capsys):
    """A folder, one for each split, or one file; and the images in another."""
    (tmp_path / "pixels").mkdir()
    for number in range(20):
        write(tmp_path / f"photos/{number}.json", labelme(outline("cup"), name=f"{number}.jpg"))
        Image.new("RGB", (12, 8)).save(tmp_path / f"pixels/{number}.jpg")
    records = read_records(tmp_path / "photos", images=tmp_path / "pixels")
    assert {split: len(of) for split, of in records.items()} == {"train": 18, "val": 2}
    assert "photos has no splits: 2 of its 20 images are val" in capsys.readouterr().err
    for name in ("a/train/1.json", "a/val/1.json", "a/val/2.json"):
        write(tmp_path / name, labelme(outline("cup")))
    records = read_records(tmp_path / "a")
    assert {split: len(of) for split, of in records.items()} == {"train": 1, "val": 2}
    assert len(read_records(tmp_path / "a/val/1.json")["train"]) == 1


@pytest.mark.parametrize("name", [f"../photos/{NAME}", rf"..\photos\{NAME}", f"/home/me/{NAME}"])
def test_images_are_found_by_their_names(tmp_path, name):
    path = write(tmp_path / "1.json", labelme(outline("cup"), name=name))
    (record,) = read_records(path)["train"]
    assert record.image_path == tmp_path / NAME


BAD = {
    "wanted 'imagePath' of an image file. Received: 'a.json'": labelme(name="a.json"),
    "imageHeight and imageWidth: wanted 'height' of type int. Received: NoneType": {
        **labelme(),
        "imageHeight": None,
    },
    "shapes entry 0: wanted 'points' as .* in pixels": labelme(shape("a", [[1, 2], [3]])),
    "shapes entry 0: wanted 'points' as two corners .* 5 x 4 apart": labelme(
        mask_shape("a", np.ones((4, 5)), 9, 0)
    ),
    "shapes entry 0: wanted 'mask' as a PNG in base64": labelme(
        shape("a", [[0, 0], [3, 3]], "mask", mask="????")
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_named(tmp_path, message):
    write(tmp_path / "train/1.json", BAD[message])
    with pytest.raises(ValueError, match=rf"1\.json.*{message}"):
        read_records(tmp_path)


@pytest.mark.filterwarnings("ignore:.*(left out|images are missing)")
def test_a_real_file(samples):
    """LabelMe's own example of every shape: what is drawn is what its PNG holds."""
    path = samples / "formats/labelme/wkentaro__v5.7_primitives_mask.json"
    shapes = {s["shape_type"]: s for s in json.loads(path.read_text())["shapes"]}
    (of,) = read_records(path).values()
    records = {record.raw: record for record in of}
    assert set(records) == {"polygon", "octagon"}
    inside = Image.open(io.BytesIO(base64.b64decode(shapes["mask"]["mask"])))
    np.testing.assert_array_equal(records["octagon"].mask()[305:405, 417:517], np.asarray(inside))
    assert records["octagon"].mask().sum() == np.asarray(inside).sum()
