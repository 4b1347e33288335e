"""From COCO's instances to a table: pixels, splits, and what is left out."""

import json
import os
from collections import Counter

import numpy as np
import pytest
import tiny
from descriptions import Seen, meant
from image_files import encoded
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.descriptions import writer
from keras_cmsa.data.descriptions.writer import describe_instances
from keras_cmsa.data.masks import rasterize
from keras_cmsa.data.sources import read_records

SIZE = 24, 40
LEFT, RIGHT = [3, 4, 15, 4, 15, 20, 3, 20], [22, 4, 38, 4, 38, 20, 22, 20]
CATEGORIES = [{"id": 1, "name": "Traffic_light"}, {"id": 2, "name": "dog"}]


class Data:
    """Photos in a folder and what `write` writes as their instances."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder / "instances.json"
        self.content = {"images": [], "annotations": [], "categories": CATEGORIES}

    def photo(self, *segmentations, category=2, name=None, file=None, size=SIZE, **entry):
        """One more photo with an annotation for each segmentation."""
        id = len(self.content["images"]) + 1
        path = self.folder / (name or f"photos/{id}.png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file or encoded(np.full((*size, 3), id, "uint8")))
        name = path.relative_to(self.folder).as_posix()
        image = {"id": id, "file_name": name, "height": size[0], "width": size[1]}
        self.content["images"].append({**image, **entry})
        for segmentation in segmentations:
            self.annotation(segmentation, image_id=id, category_id=category)

    def annotation(self, segmentation, **entry):
        id = len(self.content["annotations"]) + 1
        entry = {"id": id, "image_id": 1, "category_id": 2, "segmentation": segmentation, **entry}
        self.content["annotations"].append(entry)

    def describe(self, output="mine", **options):
        self.path.write_text(json.dumps(self.content))
        return describe_instances(self.path, self.folder, self.folder / output, **options)

    def read(self, output="mine"):
        return read_records(self.folder / output / "table.csv")


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path)


def drawn(polygon):
    return rasterize([polygon], *SIZE, "it")


def test_every_form_of_a_mask_keeps_its_pixels(data):
    data.photo([LEFT], tiny.runs(drawn(RIGHT)))
    data.photo(LEFT, category="1")
    counts = data.describe(val=0)
    records = data.read()["train"]
    assert check_records(records) == (records, [])
    of_object = {(r.image_path.name, "left" in r.raw): r for r in records}
    np.testing.assert_array_equal(of_object["1.png", True].mask(), drawn(LEFT))
    np.testing.assert_array_equal(of_object["1.png", False].mask(), drawn(RIGHT))
    np.testing.assert_array_equal(of_object["2.png", False].mask(), drawn(LEFT))
    assert of_object["2.png", False].expression.endswith("traffic light")
    assert all((r.image() == int(r.image_path.stem)).all() for r in records)
    sentences = {"sentences": len(records)}
    assert counts == Counter(photos=2, train=2, described=3, **sentences)
    assert {r.ref_id for r in records} == {1, 2, 3}


def test_what_is_left_out_is_counted(data):
    data.photo([LEFT], [RIGHT], [[0, 0, 2, 0, 2, 2, 0, 2]])
    data.annotation([RIGHT], category_id=1)
    data.annotation(tiny.runs(drawn(LEFT)), category_id=1, iscrowd=1)
    data.photo([LEFT])
    data.annotation([[50, 50, 60, 50, 60, 60]], image_id=2)
    data.annotation([], image_id=2)
    data.photo([LEFT], [LEFT])
    with pytest.warns(UserWarning, match="2 masks .*no pixel: .*entry 6;.*entry 7"):
        counts = data.describe(min_area=0.01)
    reasons = {writer.SMALL: 1, writer.ALIKE: 4, writer.CROWD: 1, writer.BAD_MASK: 2}
    assert {name: counts[name] for name in reasons} == reasons
    # The photos without a sentence are not there.
    assert [path.name for path in (data.folder / "mine/images/photos").iterdir()] == ["1.png"]


@pytest.mark.parametrize("crowd", [0, False, None, "0", "false", "False", 1, True, "1", "true"])
def test_a_crowd_may_be_told_in_text(data, crowd):
    data.photo([LEFT])
    data.annotation([RIGHT], category_id=1, iscrowd=crowd)
    assert data.describe()[writer.CROWD] == (crowd in (1, "1", "true"))


def test_the_split_of_a_photo_is_its_own(data):
    for _ in range(60):
        data.photo([LEFT])
    counts = data.describe("one", val=0.3)
    assert counts["train"] + counts["val"] == 60 and 8 <= counts["val"] <= 28
    data.photo([LEFT])
    data.describe("two", val=0.3)
    one, two = (
        {r.image_path.name: split for split, records in data.read(name).items() for r in records}
        for name in ("one", "two")
    )
    assert two.items() > one.items()
    data.describe("three", val=0.3)
    table = (data.folder / "two/table.csv").read_bytes()
    assert (data.folder / "three/table.csv").read_bytes() == table
    data.describe("four", val=0.3, seed=1)
    assert (data.folder / "four/table.csv").read_bytes() != table


@pytest.mark.parametrize("turn", range(1, 9))
def test_masks_over_stored_pixels_are_turned_with_the_photo(data, turn):
    """Left is what is left in the photo as people see it; so are masks of the upright size."""
    pixels = np.zeros((*SIZE, 3), "uint8")
    pixels[drawn(LEFT) > 0] = 255
    exif = Image.Exif()
    exif[0x0112] = turn
    file = encoded(pixels, "JPEG", quality=95, subsampling=0, exif=exif)
    data.photo([LEFT], [RIGHT], name="1.jpg", file=file)
    data.describe(val=0)
    (white,) = {
        mask.tobytes(): mask
        for r in data.read()["train"]
        if (mask := r.mask())[r.image()[..., 0] > 127].all()
    }.values()
    record = data.read()["train"][0]
    assert record.image().shape[:2] == white.shape == (SIZE if turn < 5 else SIZE[::-1])
    np.testing.assert_array_equal(white, record.image()[..., 0] > 127)
    upright = [Seen("dog", r.mask()) for r in data.read()["train"]]
    upright = list({seen.mask.tobytes(): seen for seen in upright}.values())
    for r in data.read()["train"]:
        (i,) = meant(r.expression, upright, 0)
        np.testing.assert_array_equal(upright[i].mask, r.mask())


def test_masks_of_the_upright_size_are_not_turned(data):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(np.zeros((*SIZE, 3), "uint8"), "JPEG", exif=exif)
    polygon = [3, 4, 15, 4, 15, 30, 3, 30]
    data.photo([polygon], name="1.jpg", file=file, height=SIZE[1], width=SIZE[0])
    data.describe(val=0)
    mask = data.read()["train"][0].mask()
    np.testing.assert_array_equal(mask, rasterize([polygon], *SIZE[::-1], "it"))


def test_photos_are_links_or_copies(data, monkeypatch):
    data.photo([LEFT])
    original = data.folder / "photos/1.png"
    data.describe("links")
    assert os.path.samefile(data.folder / "links/images/photos/1.png", original)

    def no_links(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", no_links)
    data.describe("copies")
    copy = data.folder / "copies/images/photos/1.png"
    assert not os.path.samefile(copy, original) and copy.read_bytes() == original.read_bytes()


def test_a_folder_that_holds_something_is_left_alone(data):
    data.photo([LEFT])
    (data.folder / "mine").mkdir()
    assert data.describe()["described"] == 1
    before = (data.folder / "mine/table.csv").read_bytes()
    with pytest.raises(FileExistsError, match="mine, which holds something"):
        data.describe(seed=5)
    assert (data.folder / "mine/table.csv").read_bytes() == before


def spoil(key, place=0, **entry):
    return lambda data: data.content[key][place].update(entry)


BAD = {
    "wanted 'categories' of type list": lambda data: data.content.pop("categories"),
    "category 2: wanted 'name' of type str": spoil("categories", 1, name=None),
    "category 2: wanted a name with a word": spoil("categories", 1, name="--"),
    "annotations entry 0: wanted 'image_id' of an entry of the file. Received: 7": spoil(
        "annotations", image_id=7
    ),
    "annotations entry 0: wanted 'category_id' of an entry of the file. Received: 9": spoil(
        "annotations", category_id=9
    ),
    "1 of 1 photos are missing, first .*none.png. Give .* `images`": spoil(
        "images", file_name="none.png"
    ),
    "wanted a path inside": spoil("images", file_name="../1.png"),
    "1.png: wanted a photo of .* 8 x 40 .* Received: 24 x 40": spoil("images", height=8),
    "wanted one image for each photo. Received: .*1.png twice": lambda data: data.photo(
        [LEFT], name="photos/1.png"
    ),
}


@pytest.mark.parametrize("message", BAD, ids=str)
def test_bad_input_is_named(data, message):
    data.content["categories"] = [dict(category) for category in CATEGORIES]
    data.photo([LEFT])
    BAD[message](data)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        data.describe()
    assert not (data.folder / "mine").exists()
