"""Objects with their classes, and the class under each cell of a feature map."""

import json

import numpy as np
import pytest

from keras_cmsa.data.objects import ImageObjects, class_map, objects_of
from keras_cmsa.data.readers.refer import read_instances, read_refer
from keras_cmsa.data.ref_shapes import write_ref_shapes


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_a_class_map_has_what_lies_under_each_centre():
    """A wide image: the square's cells above and below it are background, the later one wins."""
    everything = rectangle(0, 0, 80, 40)
    image = ImageObjects("x.jpg", 40, 80, [(1, everything), (2, rectangle(40, 0, 80, 20))])
    # 80 x 40 pixels become 32 x 16 of a 32 x 32 square, eight rows down; cells are 4 pixels wide.
    wanted = np.zeros((8, 8), int)
    wanted[2:6] = 1
    wanted[2:4, 4:] = 2
    np.testing.assert_array_equal(class_map(image, 32, 4), wanted)
    # Stretched, a cell is 5 rows by 10 columns of the image.
    wanted = np.ones((8, 8), int)
    wanted[:4, 4:] = 2
    np.testing.assert_array_equal(class_map(image, 32, 4, "stretch"), wanted)
    outside = image._replace(objects=[(1, rectangle(200, 200, 220, 220))])
    assert not class_map(outside, 32, 4).any()


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes") / "data"
    return write_ref_shapes(root, scenes={"train": 12, "val": 3}, processes=1, progress=False)


def test_all_objects_of_the_given_images_are_read(shapes):
    """As in instances.json; of the training images only."""
    records = read_refer(shapes)
    images, classes = objects_of(read_instances(shapes, "refcoco"), records["train"])
    instances = json.loads((shapes / "refcoco" / "instances.json").read_text())
    assert {i.image_path for i in images} == {r.image_path for r in records["train"]}
    ids = {r.image_id for r in records["train"]}
    of_images = [a for a in instances["annotations"] if a["image_id"] in ids]
    assert sum(len(image.objects) for image in images) == len(of_images)
    assert classes == 1 + len({a["category_id"] for a in of_images})
    kinds = {c["id"]: c["supercategory"] for c in instances["categories"]}
    names = {c["id"]: c["name"] for c in instances["categories"]}
    for annotation in of_images:
        facts = annotation["attributes"]
        assert names[annotation["category_id"]] == f"{facts['colour']} {facts['shape']}"
        assert kinds[annotation["category_id"]] == facts["shape"]
