"""What every layer must do: be rebuilt from its configuration, say its shapes, keep its precision."""

import numpy as np
import pytest
import tiny

from keras_cmsa import layers

pytestmark = pytest.mark.keras

MAP, WORDS, MASK = (2, 4, 4, 6), (2, 5, 3), (2, 5)
SENTENCES, MASKS = (2, 3, 5, 3), (2, 3, 5)
# A layer's options, and the shapes of its inputs.
LAYERS = {
    "AppendCoordinates": ({}, [MAP]),
    "ChannelGatedFusion": ({}, [[MAP, MAP, MAP]]),
    "ConvLSTM": ({"units": 3}, [[MAP, MAP]]),
    "CornerUpsampling2D": ({"scale": 3}, [MAP]),
    "CrossModalSelfAttention": (
        {"attention_dim": 7, "output_dim": 2, "attention": "pair", "query_chunk": 4},
        [MAP, SENTENCES, MASKS],
    ),
    "ExistenceFeature": ({"dim": 3}, [MAP, WORDS, MASK]),
    "FoldedAttention": ({"attention_dim": 7, "output_dim": 2}, [MAP, SENTENCES, MASKS]),
    "FromRows": ({}, [(6, 4, 2), SENTENCES]),
    "GatedMultiLevelFusion": ({}, [[MAP, MAP]]),
    "MultimodalFeature": ({}, [MAP, WORDS]),
    "MultimodalLSTM": ({"units": 3}, [MAP, WORDS, MASK]),
    "PooledSelfAttention": ({"attention_dim": 4, "joint_dim": 7}, [MAP, WORDS, MASK]),
    "RepeatPerSentence": ({}, [MAP, SENTENCES]),
    "SimpleRecurrentUnit": ({"units": 4}, [WORDS, MASK]),
    "WordPositions": ({}, [WORDS]),
}
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")  # those of a training
by_name = pytest.mark.parametrize("name", LAYERS)


def make(name, **options):
    return getattr(layers, name)(**LAYERS[name][0], **options)


def inputs_of(name, make_one):
    """What the layer is called with, each part made of its shape."""
    return [
        [make_one(part) for part in shape] if isinstance(shape, list) else make_one(shape)
        for shape in LAYERS[name][1]
    ]


def drawn(name, rng):
    """Inputs as arrays; the second expression has two words."""
    mask = np.arange(5) < np.array([[5], [2]])
    return inputs_of(name, lambda shape: mask if shape == MASK else tiny.normal(rng, *shape))


def test_every_layer_is_here():
    assert set(LAYERS) == set(layers.__all__) - {"BilinearFilter"}  # an initializer


@by_name
def test_a_layer_is_rebuilt_from_its_configuration(seeded, rng, name):
    layer, inputs = make(name), drawn(name, rng)
    first = seeded.tree.flatten(layer(*inputs))
    twin = seeded.saving.deserialize_keras_object(seeded.saving.serialize_keras_object(layer))
    assert twin.get_config() == layer.get_config()
    assert {k: twin.get_config()[k] for k in LAYERS[name][0]} == LAYERS[name][0]
    twin(*inputs)
    twin.set_weights(layer.get_weights())
    for a, b in zip(first, seeded.tree.flatten(twin(*inputs)), strict=True):
        np.testing.assert_array_equal(tiny.to_numpy(a), tiny.to_numpy(b))


@by_name
@pytest.mark.parametrize("policy", POLICIES)
def test_a_layer_says_its_shapes_and_types(seeded, rng, name, policy):
    """Those of its symbolic outputs are those of its results; low precision is kept."""
    if seeded.backend.backend() == "torch" and policy == "mixed_float16":
        pytest.skip("PyTorch has not every operation in float16 on a CPU")
    options = {"return_attention": True} if name == "CrossModalSelfAttention" else {}

    def symbol(shape):
        return seeded.KerasTensor((None, *shape[1:]), "bool" if shape == MASK else "float32")

    symbolic = make(name, dtype=policy)(*inputs_of(name, symbol), **options)
    results = make(name, dtype=policy)(*drawn(name, rng), **options)
    pairs = zip(seeded.tree.flatten(symbolic), seeded.tree.flatten(results), strict=True)
    for spec, result in pairs:
        assert spec.shape == (None, *result.shape[1:])
        assert spec.dtype == seeded.backend.standardize_dtype(result.dtype)
    assert seeded.tree.flatten(symbolic)[0].dtype == policy.removeprefix("mixed_")
