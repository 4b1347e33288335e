"""The fusions of Table 3 against their equations in float64."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.layers import ConvLSTM
from keras_cmsa.models.fusions import (
    deconvolution,
    pyramid_pooling,
    recurrent_refinement,
    self_gated,
    single_level,
)

pytestmark = pytest.mark.keras


def fused(keras, rng, fusion):
    """A fusion of three maps X^i: these, its result, and its weights by name in float64."""
    levels = [tiny.normal(rng, 1, 3, 3, 8) for _ in range(3)]
    inputs = [keras.Input(x.shape[1:]) for x in levels]
    model = keras.Model(inputs, fusion(inputs))
    tiny.shaken(model, rng)
    weights = {w.path: tiny.to_numpy(w.value).astype("float64") for w in model.weights}
    return [x[0].astype("float64") for x in levels], tiny.to_numpy(model(levels))[0], weights


def convolved(x, weights, name):
    return literal.convolution(x, weights[f"{name}/kernel"], weights[f"{name}/bias"])


def test_single_level(seeded, rng):
    levels, value, _ = fused(seeded, rng, single_level)
    tiny.assert_near(value, np.maximum(0, levels[-1]))


def test_self_gated_fusion(seeded, rng):
    levels, value, weights = fused(seeded, rng, self_gated)
    x = [np.maximum(0, level) for level in levels]
    m = [literal.sigmoid(convolved(x[i], weights, f"memory_gate_{i + 1}")) for i in range(3)]
    assert [gate.shape for gate in m] == [(3, 3, 1)] * 3
    tiny.assert_near(value, sum(m[i] * x[i] for i in range(3)))


def test_pyramid_pooling(seeded, rng):
    levels, value, weights = fused(seeded, rng, pyramid_pooling)
    total = sum(levels)
    joined = [total]
    for bins in (1, 2, 3, 6):
        edges = [
            (int(np.floor(k * 3 / bins)), int(np.ceil((k + 1) * 3 / bins))) for k in range(bins)
        ]
        means = np.array([[total[a:b, c:d].mean((0, 1)) for c, d in edges] for a, b in edges])
        pyramid = np.maximum(0, convolved(means, weights, f"pyramid_{bins}"))
        joined.append(literal.resized(pyramid, (3, 3)))
    tiny.assert_near(
        value, np.maximum(0, convolved(np.concatenate(joined, -1), weights, "pyramid_fusion"))
    )


def test_deconvolution(seeded, rng):
    (x3, x4, x5), value, weights = fused(seeded, rng, deconvolution)

    def deconvolved(x, name, stride):
        kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        return np.maximum(0, literal.transposed_convolution(x, kernel, bias, stride))

    x = deconvolved(x5, "deconvolution_2", 1) + x4
    x = deconvolved(x, "deconvolution_1", 1) + x3
    x = deconvolved(x, "enlargement_1", 2)
    x = deconvolved(x, "enlargement_2", 2)
    assert value.shape == (12, 12, 2)
    tiny.assert_near(value, x)


def test_recurrent_refinement_runs_from_coarse_to_fine(seeded, rng):
    levels, value, weights = fused(seeded, rng, recurrent_refinement)
    maps = [x[None].astype("float32") for x in levels[::-1]]
    cell = ConvLSTM(8)
    cell.build([x.shape for x in maps])
    cell.set_weights([weights[f"fusion/{w.name}"] for w in cell.weights])
    tiny.assert_near(value, tiny.to_numpy(cell(maps))[0])
