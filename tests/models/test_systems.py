"""Every system of the paper's tables under one shared check, and its size."""

import functools
import inspect

import numpy as np
import pytest
import tiny
from fresh_process import run_python
from keras import layers

import keras_cmsa.models.systems
from keras_cmsa.models.systems import SYSTEMS, build_system

pytestmark = pytest.mark.keras

SIZES = {"word_dim": 6, "attention_dim": 4, "fusion_dim": 8, "max_words": tiny.WORDS}
# Expressions of 5, 3 and 1 words.
WORDS = np.array([[2, 5, 6, 7, 8], [4, 5, 6, 0, 0], [9, 0, 0, 0, 0]], "int32")


@pytest.fixture
def rng():
    """Seeded so that no ReLU of any system is off everywhere, which would stop its weights."""
    return np.random.default_rng(6)


def chain():
    """A backbone like `tiny.backbone` whose maps follow from one another, as those of a ResNet."""
    import keras

    backbone = tiny.backbone()
    x, maps = backbone.get_layer("stem_norm").output, []
    for i, channels in ((3, 5), (4, 6), (5, 7)):
        x = layers.Dense(channels, "tanh", name=f"conv{i}")(x)
        maps.append(x)
    return keras.Model(backbone.input, maps, name="backbone")


def build(name, **sizes):
    sizes = {**SIZES, **sizes, "backbone": sizes.get("backbone") or chain()}
    if name == "cmsa_released":  # an eighth of it is a width, and each has a ReLU
        sizes["attention_dim"] = 64
    return build_system(name, len(tiny.vocabulary()), image_size=tiny.SIZE, **sizes)


def draw_inputs(rng):
    return {"image": rng.uniform(0, 255, (3, tiny.SIZE, tiny.SIZE, 3)).astype("float32"),
            "words": WORDS[:, None]}  # fmt: skip


# --- what every system must do


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_maps_image_and_words_to_logits(seeded, rng, name):
    model = made(seeded, name, rng)
    assert model.name == name
    assert {k: tuple(x.shape) for k, x in model.input.items()} == {
        "image": (None, tiny.SIZE, tiny.SIZE, 3),
        "words": (None, None, tiny.WORDS),
    }
    # About each image an expression, the same backwards and another one, or none.
    words = np.stack([WORDS[0], WORDS[0, ::-1], WORDS[1]])
    inputs = {"image": draw_inputs(rng)["image"][:2], "words": np.stack([words, words])}
    inputs["words"][1, 1] = 0
    logits = tiny.to_numpy(model(inputs, training=False))
    assert logits.shape == (2, 3, tiny.SIZE, tiny.SIZE, 1) and logits.dtype == "float32"
    assert np.isfinite(logits).all()
    # Each with an image of its own gets the same.
    alone = {"image": inputs["image"].repeat(3, axis=0), "words": inputs["words"].reshape(6, 1, -1)}
    found = tiny.to_numpy(model(alone, training=False)).reshape(logits.shape)
    np.testing.assert_allclose(found, logits, atol=1e-5)
    # Words change where it looks, not only the level of all logits; some systems see their order.
    one, back, other = logits[0]
    assert one.std() > 1e-3 and (one - other).std() > 1e-4
    orderly = "cmsa_s", "cmsa_ordered", "cmsa_refined", "cmsa_released"
    blind = name.startswith("cmsa") and name not in orderly
    difference = np.abs(one - back).max()
    assert difference < 1e-5 if blind else difference > 1e-4


# Between them these have every kind of recurrence; the parts of the others have tests of their own.
QUICKLY = ("rmi", "rrn", "cmsa_ordered")


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=() if x in QUICKLY else pytest.mark.slow) for x in SYSTEMS],
)
def test_a_system_is_padded_saved_lowered_and_trained(seeded, rng, tmp_path, name):
    """One model of each, so that building is paid for once."""
    model = made(seeded, name, rng)
    inputs = draw_inputs(rng)
    logits = tiny.to_numpy(model(inputs, training=False))

    for row in range(3):  # alone
        alone = {k: x[row : row + 1] for k, x in inputs.items()}
        np.testing.assert_allclose(
            tiny.to_numpy(model(alone, training=False)), logits[row : row + 1], atol=1e-5
        )
    short = build(name, max_words=3)  # fewer pads
    copy_weights(model, short)
    fewer = {"image": inputs["image"][1:], "words": WORDS[1:, None, :3]}
    np.testing.assert_allclose(tiny.to_numpy(short(fewer, training=False)), logits[1:], atol=1e-5)

    model.save(tmp_path / "model.keras")
    loaded = seeded.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(tiny.to_numpy(loaded(inputs, training=False)), logits, atol=1e-6)

    with tiny.dtype_policy(seeded, "mixed_bfloat16"):
        low = build(name)
    low.set_weights(model.get_weights())
    low_logits = tiny.to_numpy(low(inputs, training=False))
    assert low_logits.dtype == "float32" and np.isfinite(low_logits).all()
    assert np.abs(low_logits - logits).mean() < 0.05 * np.abs(logits).max()

    every_weight_learns(seeded, model, inputs, rng)
    # With its last weights it still answers the same twice.
    twice = [tiny.to_numpy(model(inputs, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*twice)


def made(keras, name, rng):
    """A system whose weights are away from their start."""
    # TensorFlow keeps what Keras traced for the models before, and slows down with it.
    keras.utils.clear_session()
    return tiny.shaken(build(name), rng)


def copy_weights(model, short):
    """Weights of a model of more words; the vectors of places beyond the last word are dropped."""
    for target, source in zip(short.weights, model.weights, strict=True):
        value = tiny.to_numpy(source.value)
        target.assign(value[: target.shape[0]] if target.shape else value)


def every_weight_learns(keras, model, inputs, rng):
    """A step of plain gradient descent moves every trainable weight, and lowers the loss.

    Of the word vectors it moves those of the words that stand there.
    """
    model.compile(
        keras.optimizers.SGD(3e-3),
        keras.losses.BinaryCrossentropy(from_logits=True),
        # To trace a gradient takes TensorFlow seconds for each system; test_loop.py does it.
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    masks = (rng.random((3, 1, tiny.SIZE, tiny.SIZE, 1)) < 0.5).astype("float32")
    before = [tiny.to_numpy(w.value) for w in model.trainable_weights]
    first = model.train_on_batch(inputs, masks)
    for weight, old in zip(model.trainable_weights, before):
        moved = np.abs(tiny.to_numpy(weight.value) - old)
        assert np.isfinite(moved).all() and moved.max() > 0, weight.path
        if weight.path == "word_vectors/embeddings":
            assert set(np.nonzero(moved.any(axis=1))[0]) == set(WORDS[WORDS > 0])
    assert model.train_on_batch(inputs, masks) < first


@pytest.mark.parametrize(
    "name", ["cmsa", "cmsa_ppm", "cmsa_deconv", "cmsa_gated", "cmsa_released", "dmn", "kwa", "rrn"]
)
def test_where_keras_has_channels_first(seeded, rng, name):
    """A system is built there as elsewhere."""
    backbone = chain()
    model = tiny.shaken(build(name, backbone=backbone), rng)
    inputs = draw_inputs(rng)
    wanted = tiny.to_numpy(model(inputs, training=False))
    seeded.config.set_image_data_format("channels_first")
    try:
        built = build(name, backbone=backbone)
        built.set_weights(model.get_weights())
        found = tiny.to_numpy(built(inputs, training=False))
    finally:
        seeded.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_what_a_system_does_not_take(seeded):
    with pytest.raises(ValueError, match=r"must be one of .*'rmi'.* Received: name='lstm'"):
        build_system("lstm", 10)
    with pytest.raises(TypeError, match="word_dims"):
        build("rmi", word_dims=3)
    with pytest.raises(ValueError, match="levels must be one or more of .* Received: levels="):
        build("cmsa", levels=("res2",))


# --- sizes


STRIDE_8 = ((8, 512), (8, 1024), (8, 2048))
PUBLISHED = {  # size of the image, (stride, channels) of the backbone's maps
    "lstm_cnn": (512, [(32, 1000)]),
    "dmn": (512, [(2, 64), (4, 256), (8, 512), (16, 1024), (32, 2048)]),
    "kwa": (480, STRIDE_8),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_parameters_are_those_stated(seeded, name):
    """At the default sizes, in the docstring of the function or, for variants of CMSA, the module."""
    image_size, maps = PUBLISHED.get(name, (320, STRIDE_8))
    backbone = tiny.weightless_backbone(seeded, image_size, maps)
    stated = SYSTEMS[name].__doc__
    if isinstance(SYSTEMS[name], functools.partial) or name == "cmsa":
        stated = keras_cmsa.models.systems.__doc__
    else:
        assert inspect.signature(SYSTEMS[name]).parameters["image_size"].default == image_size
    # Nobody looks at the weights, and to draw 30 million of them takes a second.
    with seeded.StatelessScope(initialize_variables=False):
        model = build_system(name, 10_000, backbone=backbone)
    assert f"{model.count_params():,}" in stated
    assert model.output.shape[2:] == (image_size, image_size, 1)
    # LSTM-CNN and RMI by hand, from the numbers of their papers.
    lstm = 4 * (2000 * 1000 + 1000)
    by_hand = {
        "lstm_cnn": 10**7 + lstm + 2009 * 500 + 501 + 64 * 64,
        "rmi": 10**7 + lstm + 2049 * 1000 + 4 * 500 * (3008 + 500 + 1) + 501,
        "rrn_cnn": 10**7 + lstm + 2049 * 1000 + 2009 * 500 + 9 * 500 + 1,
    }
    assert by_hand.get(name, model.count_params()) == model.count_params()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "side", "positions"),
    [
        (["lstm_cnn"], 512, 16),
        (["dmn"], 512, 16),
        (["kwa"], 480, 60),
        (["rmi", "rrn", "cmsa"], 320, 40),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, list) else str(x),
)
def test_paper_size_runs_forward(names, side, positions):
    """On their own backbone at their own image size, in a process of its own, within 8 GB."""
    import keras

    run_python(PAPER_SIZE, side, positions, *names, backend=keras.backend.backend())


PAPER_SIZE = """
import resource, sys
import numpy as np, keras
from keras_cmsa.models import backbones
from keras_cmsa.models.systems import build_system

side, positions, *names = sys.argv[1:]
side, positions = int(side), int(positions)
keras.utils.set_random_seed(0)
make = {"lstm_cnn": backbones.vgg16, "dmn": backbones.pyramid_resnet101}
backbone = make.get(names[0], backbones.dilated_resnet101)(side, weights=None)
rng = np.random.default_rng(0)
image = rng.uniform(0, 255, (1, side, side, 3)).astype("float32")
words = np.zeros((1, 1, 20), "int32")
words[0, 0, :7] = rng.integers(2, 10_000, 7)
for name in names:
    model = build_system(name, 10_000, backbone=backbone)
    assert model.input["image"].shape == (None, side, side, 3), name
    logits = keras.ops.convert_to_numpy(model({"image": image, "words": words}, training=False))
    assert logits.shape == (1, 1, side, side, 1), name
    assert np.isfinite(logits).all() and logits.std() > 0, name
    fusion = next(x for x in reversed(model.layers) if x.name.startswith("fusion"))
    shape = keras.tree.flatten(fusion.output)[0].shape
    assert shape[-3:-1] == (positions, positions), name
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 8e6
"""
