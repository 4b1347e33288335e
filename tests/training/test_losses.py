"""The loss against Eq. 7 and the Dice term in float64."""

import literal
import numpy as np
import pytest

from keras_cmsa.training.losses import MaskLoss

pytestmark = pytest.mark.keras


def test_loss_is_equation_7(seeded, rng):
    shape = (3, 16, 16, 1)
    mask = (rng.random(shape) < 0.4).astype("float32")
    logits = rng.normal(scale=3, size=shape).astype("float32")
    loss = float(MaskLoss()(mask, seeded.ops.convert_to_tensor(logits)))
    wanted = literal.cross_entropy(mask, literal.sigmoid(logits.astype("float64")))
    assert loss == pytest.approx(wanted, rel=1e-6)
    far = np.where(mask > 0, 1e4, -1e4).astype("float32")
    for sign, wanted in ((1, 0.0), (-1, 1e4)):
        far_loss = MaskLoss()(mask, seeded.ops.convert_to_tensor(sign * far))
        assert float(far_loss) == pytest.approx(wanted)


def test_dice_loss_is_added_per_sample(seeded, rng):
    """Of a mask that is there, and of an empty one."""
    logits = rng.normal(size=(2, 3, 3, 1)).astype("float32")
    mask = np.stack([np.eye(3), np.zeros((3, 3))])[..., None].astype("float32")
    wanted = []
    for y, p in zip(mask, literal.sigmoid(logits.astype("float64"))):
        dice = (2 * np.sum(p * y) + 1) / (np.sum(p) + np.sum(y) + 1)
        wanted.append(literal.cross_entropy(y, p) + 0.7 * (1 - dice))
    loss = float(MaskLoss(0.7)(mask, seeded.ops.convert_to_tensor(logits)))
    assert loss == pytest.approx(np.mean(wanted), rel=1e-6)


@pytest.mark.parametrize("dice_weight", [0.0, 0.7])
def test_a_sample_without_weight_costs_nothing(seeded, rng, dice_weight):
    """The mean is over those that count, wherever they are in their rows."""
    shape = (2, 3, 4, 4, 1)
    mask = (rng.random(shape) < 0.4).astype("float32")
    logits = rng.normal(scale=3, size=shape).astype("float32")
    weights = np.array([[1, 0, 0], [1, 1, 0]], "float32")
    loss = MaskLoss(dice_weight)
    counted = [
        (mask[i], seeded.ops.convert_to_tensor(logits[i])) for i in zip(*np.nonzero(weights))
    ]
    wanted = np.mean([float(loss(y[None], x[None])) for y, x in counted])
    found = float(loss(mask, seeded.ops.convert_to_tensor(logits), sample_weight=weights))
    assert found == pytest.approx(wanted, rel=1e-6)


def test_weights_of_another_shape_are_refused(seeded):
    masks = seeded.ops.zeros((2, 3, 4, 4, 1))
    with pytest.raises(ValueError, match=r"2 axes .* such as \(B, K\)\. Received: shape \(2,\)"):
        MaskLoss()(masks, masks, sample_weight=np.ones(2, "float32"))


def test_a_loss_is_rebuilt_from_its_configuration(seeded):
    loss = MaskLoss(0.7)
    twin = seeded.saving.deserialize_keras_object(seeded.saving.serialize_keras_object(loss))
    assert twin.get_config() == loss.get_config() and twin.dice_weight == 0.7
