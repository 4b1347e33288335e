"""A backbone learns the classes of the objects in its images."""

import keras
import numpy as np
import pytest
import tiny
from PIL import Image

from keras_cmsa.data.order import RowOrder
from keras_cmsa.training.pretraining import ClassBatches, pretrain
from keras_cmsa.training.settings import Settings

SETTINGS = Settings(
    backbone="small_resnet",
    backbone_weights="none",
    pretrain_steps=60,
    pretrain_batch_size=4,
    pretrain_learning_rate=1e-2,
)


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def record(path):
    return tiny.record(path, np.zeros((32, 32)))


def backbone_of_two_levels():
    """Small, since TensorFlow traces the training of `small_resnet` for seconds."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for _ in range(3):
        x = keras.layers.Conv2D(6, 3, 2, "same", activation="relu")(x)
    return keras.Model(image, [x, keras.layers.Conv2D(6, 1, activation="relu")(x)])


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
        images.append((record(path), objects))
    keras.utils.set_random_seed(0)
    backbone = backbone_of_two_levels()
    before = [np.array(weight) for weight in backbone.get_weights()]
    pretrain(backbone, (images, 3), SETTINGS, verbose=0)
    assert any((old != new).any() for old, new in zip(before, backbone.get_weights()))
    pixels = np.stack([each.image() for each, _ in images])
    features = np.asarray(backbone.predict(pixels.astype("float32"), verbose=0)[-1])
    x = features.reshape(-1, 6)
    x = np.column_stack([x, np.ones(len(x))])
    side = np.tile([-1, -1, 1, 1], len(x) // 4)
    weights = np.linalg.lstsq(x, side, rcond=None)[0]
    assert (np.sign(x @ weights) == side).mean() > 0.9


def test_without_objects_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match="images with annotated objects"):
        pretrain(backbone_of_two_levels(), ([(record("x.jpg"), [])], 2), SETTINGS)


@pytest.mark.usefixtures("untraced")
def test_an_image_that_cannot_be_read_is_the_error_that_names_it(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"no picture")
    image = record(tmp_path / "cut.png"), [(1, rectangle(0, 0, 16, 32))]
    with pytest.raises(ValueError, match="^[^\n]*cut.png[^\n]*$"):
        pretrain(backbone_of_two_levels(), ([image], 2), SETTINGS, verbose=0)


def test_processes_share_the_batches():
    def sample(image):
        return np.full((2, 2, 3), image), np.full((1, 1), image)

    given = range(10), sample, RowOrder(range(10), seed=1), 2, 4, 5
    wholes, *parts = ClassBatches(*given), *(ClassBatches(*given, (i, 2)) for i in range(2))
    for whole, *of_parts in zip(wholes, *parts, strict=True):
        joined = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *of_parts)
        keras.tree.map_structure(np.testing.assert_array_equal, joined, whole)
