"""DMN: its join, written as a sum, and the pyramid that it climbs."""

import numpy as np
import pytest
import tiny

from keras_cmsa.models.dmn import join
from keras_cmsa.models.systems import build_system

pytestmark = pytest.mark.keras


def test_dmn_joins_positions_words_and_responses(seeded, rng):
    positions, words, responses = (
        tiny.normal(rng, 1, 2, 3, 4),
        tiny.normal(rng, 1, 5, 6),
        tiny.normal(rng, 1, 5, 2, 3, 2),
    )
    inputs = [seeded.Input(x.shape[1:]) for x in (positions, words, responses)]
    model = tiny.shaken(seeded.Model(inputs, join(*inputs, 7)), rng)
    value = tiny.to_numpy(model([positions, words, responses]))[0]
    w = {x.path: tiny.to_numpy(x.value).astype("float64") for x in model.weights}
    kernel = np.concatenate(
        [w[f"join_{part}/kernel"] for part in ("positions", "words", "responses")]
    )
    for n, y, x in np.ndindex(5, 2, 3):
        joint = np.concatenate([positions[0, y, x], words[0, n], responses[0, n, y, x]])
        tiny.assert_near(value[n, y, x], joint @ kernel + w["join_positions/bias"])


@pytest.mark.parametrize("shape", ["pyramid", "flat"])
def test_dmn_climbs_the_pyramid_it_is_given(seeded, shape):
    """Five maps that double up to half of the image; three of one size, and bilinear to the image."""
    maps = {"pyramid": [(s, 3) for s in (2, 4, 8, 16, 32)], "flat": [(8, 3)] * 3}[shape]
    backbone = tiny.weightless_backbone(seeded, 32, maps)
    sizes = {"word_dim": 6, "attention_dim": 4, "fusion_dim": 8, "max_words": 5}
    model = build_system("dmn", 10, image_size=32, backbone=backbone, **sizes)
    stages = [x.output.shape[1:] for x in model.layers if x.name.startswith("stage_")]
    wanted = {
        "pyramid": [(2, 2, 8), (4, 4, 4), (8, 8, 2), (16, 16, 1), (32, 32, 1)],
        "flat": [(4, 4, 8), (4, 4, 4), (8, 8, 2)],
    }
    assert stages == wanted[shape]
    assert model.output.shape[2:] == (32, 32, 1)
