"""Objects with their classes, and the class under each cell of a feature map."""

import numpy as np
import tiny
from one_ref import SQUARE

from keras_cmsa.data.objects import class_map, objects_of
from keras_cmsa.data.readers.refer import read_instances

OTHER = [0, 0, 3, 0, 3, 2, 0, 2]


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_a_class_map_has_what_lies_under_each_centre():
    """A wide image: the square's cells above and below it are background, the later one wins."""
    everything = rectangle(0, 0, 80, 40)
    image = tiny.record("x.jpg", np.zeros((40, 80)))
    objects = [(1, everything), (2, rectangle(40, 0, 80, 20))]
    # 80 x 40 pixels become 32 x 16 of a 32 x 32 square, eight rows down; cells are 4 pixels wide.
    wanted = np.zeros((8, 8), int)
    wanted[2:6] = 1
    wanted[2:4, 4:] = 2
    np.testing.assert_array_equal(class_map(image, objects, 32, 4), wanted)
    # Stretched, a cell is 5 rows by 10 columns of the image.
    wanted = np.ones((8, 8), int)
    wanted[:4, 4:] = 2
    np.testing.assert_array_equal(class_map(image, objects, 32, 4, "stretch"), wanted)
    outside = [(1, rectangle(200, 200, 220, 220))]
    assert not class_map(image, outside, 32, 4).any()


def test_all_objects_of_the_given_images_have_their_classes(one_ref):
    """Of those images alone; what has no segmentation is left out."""
    (annotation,) = one_ref.instances["annotations"]
    others = [
        {"category_id": 7, "segmentation": [OTHER]},
        {"category_id": 1, "segmentation": []},
        {"category_id": 3, "image_id": 8, "segmentation": [OTHER]},
    ]
    one_ref.instances["annotations"] = [
        annotation | {"category_id": 9},
        *(annotation | {"id": n, **other} for n, other in enumerate(others)),
    ]
    records = one_ref.read()["train"]
    found = objects_of(read_instances(one_ref.path, "refcoco"), records)
    assert found == ([(records[0], [(2, [SQUARE]), (1, [OTHER])])], 3)
