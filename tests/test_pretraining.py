"""Objects with classes, and a backbone that learns them."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cmsa.backbones import small_resnet
from keras_cmsa.data.objects import ImageObjects, class_map, read_objects
from keras_cmsa.data.ref_shapes import write_ref_shapes
from keras_cmsa.data.refer import read_refer
from keras_cmsa.pretraining import pretrain


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
    outside = image._replace(objects=[(1, rectangle(200, 200, 220, 220))])
    assert not class_map(outside, 32, 4).any()


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes") / "data"
    return write_ref_shapes(root, scenes={"train": 12, "val": 3}, processes=1, progress=False)


def test_all_objects_of_the_given_images_are_read(shapes):
    """As in instances.json; of the training images only."""
    records = read_refer(shapes)
    images, classes = read_objects(shapes, "refcoco", records["train"])
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


def test_a_backbone_learns_the_classes(tmp_path):
    """Left half one colour, right half another: afterwards a linear rule tells the two apart."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(4):
        pixels = rng.integers(0, 40, (32, 32, 3), dtype="uint8")
        pixels[:, :16, 0] += 200
        pixels[:, 16:, 2] += 200
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        objects = [(1, rectangle(0, 0, 16, 32)), (2, rectangle(16, 0, 32, 32))]
        images.append(ImageObjects(path, 32, 32, objects))
    keras.utils.set_random_seed(0)
    backbone = small_resnet(32, (4, 6, 6, 6))
    before = [np.array(weight) for weight in backbone.get_weights()]
    pretrain(backbone, images, 3, steps=60, batch_size=4, learning_rate=1e-2, verbose=0)
    assert any((old != new).any() for old, new in zip(before, backbone.get_weights()))
    pixels = np.stack([np.asarray(Image.open(image.image_path)) for image in images])
    features = np.asarray(backbone.predict(pixels.astype("float32"), verbose=0)[-1])
    x = features.reshape(-1, 6)
    x = np.column_stack([x, np.ones(len(x))])
    side = np.tile([-1, -1, 1, 1], len(x) // 4)
    weights = np.linalg.lstsq(x, side, rcond=None)[0]
    assert (np.sign(x @ weights) == side).mean() > 0.9


def test_without_objects_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match="images with annotated objects"):
        pretrain(small_resnet(32), [ImageObjects("x.jpg", 8, 8, [])], 2, steps=1)
