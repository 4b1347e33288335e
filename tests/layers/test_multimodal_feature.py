"""The multimodal feature against Eq. 1 in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import MultimodalFeature
from keras_cmsa.layers.ops import unit_length

pytestmark = pytest.mark.keras


def test_feature_is_equation_1(seeded, rng):
    visual, words = tiny.normal(rng, 2, 3, 4, 6), tiny.normal(rng, 2, 5, 7)
    positions, unit_words = (tiny.to_numpy(x) for x in MultimodalFeature()(visual, words))
    for example in range(2):
        wanted = literal.feature(visual[example], words[example])  # (N, P, C)
        at_position = np.broadcast_to(positions[example].reshape(12, 6 + 8), (5, 12, 6 + 8))
        of_word = np.broadcast_to(unit_words[example][:, None], (5, 12, 7))
        joined = np.concatenate([at_position, of_word], axis=-1)
        np.testing.assert_allclose(joined, wanted, atol=1e-6)


def test_feature_of_a_dead_position_is_zero_and_has_a_gradient(seeded):
    visual = np.zeros((1, 2, 2, 3), "float32")
    positions, _ = MultimodalFeature()(visual, np.ones((1, 1, 2), "float32"))
    assert not tiny.to_numpy(positions)[..., :3].any()
    (gradient,) = tiny.gradients(lambda x: MultimodalFeature()(x, x[:, 0])[0], [visual])
    assert np.isfinite(gradient).all()


def test_the_length_of_a_vector_is_beyond_float16(seeded):
    """2,048 channels of 8: the sum of their squares is 131,072, float16 ends at 65,504."""
    vector = seeded.ops.full((1, 2048), 8, "float16")
    np.testing.assert_allclose(tiny.to_numpy(unit_length(vector)), 2048**-0.5, rtol=1e-3)


def test_the_size_of_the_map_must_be_known(seeded):
    with pytest.raises(ValueError, match="height and width are known"):
        MultimodalFeature()(seeded.Input((None, None, 3)), seeded.Input((5, 4)))
