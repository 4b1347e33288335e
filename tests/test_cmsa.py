"""The whole model: its shape, what it is blind to, how it is saved; and the backbones."""

import os
import subprocess
import sys
import urllib.error

import literal
import numpy as np
import pytest
import tiny

pytestmark = pytest.mark.keras

MODES = ("none", "word", "pixel", "pair", "full")
LEVELS = ("res3", "res4", "res5")
P = tiny.SIZE // 8

# Three expressions of 5, 3 and 1 words.
WORDS = np.array([[2, 5, 6, 7, 8], [4, 5, 6, 0, 0], [9, 0, 0, 0, 0]], "int32")


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def images(rng, count=3):
    return rng.uniform(0, 255, (count, tiny.SIZE, tiny.SIZE, 3)).astype("float32")


def to_numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def run(model, image, words):
    outputs = model({"image": image, "words": words}, training=False)
    return {k: to_numpy(v) for k, v in outputs.items()} if isinstance(outputs, dict) else (
        to_numpy(outputs)
    )  # fmt: skip


def shaken(model, rng):
    """Every weight moved, so that nothing is at a start that hides it (biases, gamma, norms)."""
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(scale=0.1, size=weight.shape))
    return model


# --- the model


@pytest.mark.parametrize("mode", MODES)
def test_logits_are_the_papers_equations_on_the_models_own_weights(seeded, rng, mode):
    """From the backbone's maps on, everything again in float64 as the paper writes it."""
    model = shaken(tiny.model(attention=mode), rng)
    image = images(rng)
    maps = [to_numpy(x).astype("float64") for x in model.get_layer("backbone")(image)]
    weights = {w.path: to_numpy(w.value).astype("float64") for w in model.weights}
    kernels = ("query_kernel", "key_kernel", "value_kernel", "output_kernel")
    gates = ("reduction", "memory_gate", "reset_gate")
    fusion = [
        {g: [weights[f"fusion/{g}_{i}/{w}"] for w in ("kernel", "bias")] for g in gates}
        | {"gamma": weights["fusion/gamma"][i - 1]}
        for i in (1, 2, 3)
    ]
    score = weights["score/kernel"], weights["score/bias"]
    for example, ids in enumerate(WORDS):
        words = weights["word_vectors/embeddings"][ids[ids > 0]]
        attended = []
        for level, visual in zip(LEVELS, maps):
            f = literal.feature(visual[example], words)
            if mode == "none":
                level_map = f.mean(axis=0)
            else:
                ours = [weights[f"attention_{level}/{kernel}"] for kernel in kernels]
                level_map = literal.self_attention(f, *ours, mode)
            attended.append(level_map.reshape(P, P, -1))
        wanted = literal.convolution(literal.fusion(attended, fusion)[0], *score)
        logits = run(model, image, WORDS)[example]
        assert logits.shape == (tiny.SIZE, tiny.SIZE, 1)
        np.testing.assert_allclose(logits, upsampled(wanted), rtol=1e-4, atol=1e-5)


def upsampled(score):
    """Bilinear, half-pixel centres, by definition."""
    size, scale = score.shape[0], tiny.SIZE // score.shape[0]
    centres = np.clip((np.arange(tiny.SIZE) + 0.5) / scale - 0.5, 0, size - 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size)))  # (S, P)
    return np.einsum("ap,bq,pqc->abc", weights, weights, score)


def test_inputs_and_output(seeded):
    model = tiny.model()
    assert {name: tuple(x.shape) for name, x in model.input.items()} == {
        "image": (None, tiny.SIZE, tiny.SIZE, 3),
        "words": (None, tiny.WORDS),
    }
    assert tuple(model.output.shape) == (None, tiny.SIZE, tiny.SIZE, 1)
    assert model.output.dtype == "float32"
    joint = [channels + 8 + 5 for channels in (5, 6, 7)]
    assert [tuple(model.get_layer(f"attention_{x}").query_kernel.shape) for x in LEVELS] == [
        (channels, 4) for channels in joint
    ]


def test_default_sizes_are_the_papers(seeded):
    from keras_cmsa.cmsa import build_cmsa

    image = seeded.Input((320, 320, 3))
    maps = [seeded.layers.AveragePooling2D(8)(image) for _ in range(3)]
    model = build_cmsa(10, backbone=seeded.Model(image, maps))
    assert tuple(model.input["words"].shape) == (None, 20)
    assert tuple(model.get_layer("word_vectors").embeddings.shape) == (10, 1000)
    bound = np.abs(to_numpy(model.get_layer("word_vectors").embeddings)).max()
    assert 0.0799 < bound <= 0.08
    assert tuple(model.get_layer("attention_res5").value_kernel.shape) == (3 + 8 + 1000, 512)
    assert tuple(model.get_layer("score").kernel.shape) == (3, 3, 500, 1)


def test_an_expression_gives_what_it_gives_alone_and_unpadded(seeded, rng):
    """Whatever else is in the batch, and however many pads follow."""
    model = shaken(tiny.model(), rng)
    image = images(rng)
    together = run(model, image, WORDS)
    for i, count in enumerate((5, 3, 1)):
        short = tiny.model(max_words=count)
        short.set_weights(model.get_weights())
        alone = run(short, image[i : i + 1], WORDS[i : i + 1, :count])
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-6)


def test_the_word_vector_of_padding_counts_for_nothing(seeded, rng):
    model = shaken(tiny.model(word_positions=True), rng)
    image = images(rng)
    before = run(model, image, WORDS)
    embeddings = model.get_layer("word_vectors").embeddings
    embeddings.assign(np.concatenate([np.full((1, 5), 1e3), to_numpy(embeddings)[1:]]))
    np.testing.assert_allclose(run(model, image, WORDS), before, atol=1e-6)


def test_word_order_matters_with_word_positions_only(seeded, rng):
    image = images(rng, 1)
    words = np.array([[2, 5, 6, 7, 8]], "int32")
    for word_positions in (False, True):
        model = shaken(tiny.model(word_positions=word_positions), rng)
        difference = np.abs(run(model, image, words) - run(model, image, words[:, ::-1])).max()
        assert difference > 1e-3 if word_positions else difference < 1e-5


def test_every_weight_learns(seeded, rng):
    """One step of plain gradient descent moves every trainable weight."""
    model = shaken(tiny.model(word_positions=True), rng)
    model.compile(seeded.optimizers.SGD(0.1), seeded.losses.BinaryCrossentropy(from_logits=True))
    before = [to_numpy(w.value) for w in model.trainable_weights]
    masks = (rng.random((3, tiny.SIZE, tiny.SIZE, 1)) < 0.5).astype("float32")
    model.train_on_batch({"image": images(rng), "words": WORDS}, masks)
    for weight, old in zip(model.trainable_weights, before):
        moved = np.abs(to_numpy(weight.value) - old)
        assert np.isfinite(moved).all() and moved.max() > 0, weight.path
    embeddings = np.abs(to_numpy(model.get_layer("word_vectors").embeddings) - before[
        [w.path for w in model.trainable_weights].index("word_vectors/embeddings")
    ]).max(axis=1)  # fmt: skip
    assert (embeddings > 0).tolist() == [i in WORDS and i > 0 for i in range(len(embeddings))]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_stays_close(seeded, rng, policy):
    exact = shaken(tiny.model(), rng)
    seeded.config.set_dtype_policy(policy)
    try:
        model = tiny.model()
    finally:
        seeded.config.set_dtype_policy("float32")
    model.set_weights(exact.get_weights())
    assert all(w.dtype == "float32" for w in model.weights)
    assert model.get_layer("attention_res5").compute_dtype == policy.removeprefix("mixed_")
    image = images(rng)
    logits, wanted = run(model, image, WORDS), run(exact, image, WORDS)
    assert logits.dtype == "float32"
    assert 1e-7 < np.abs(logits - wanted).max() < 0.05 * np.abs(wanted).max()


def test_with_attention(seeded, rng):
    from keras_cmsa.cmsa import with_attention

    model = shaken(tiny.model(), rng)
    image = images(rng)
    outputs = run(with_attention(model), image, WORDS)
    np.testing.assert_allclose(outputs["logits"], run(model, image, WORDS), atol=1e-6)
    assert outputs["word_attention"].shape == (3, 3, tiny.WORDS)
    assert outputs["position_attention"].shape == (3, 3, P, P)
    np.testing.assert_allclose(outputs["word_attention"].sum(-1), np.ones((3, 3)), atol=1e-5)
    np.testing.assert_allclose(
        outputs["position_attention"].sum((-1, -2)), np.ones((3, 3)), atol=1e-5
    )
    assert not outputs["word_attention"].swapaxes(1, 2)[WORDS == 0].any()
    # Level by level, the means of Eq. 3.
    maps = [to_numpy(x).astype("float64") for x in model.get_layer("backbone")(image)]
    words = to_numpy(model.get_layer("word_vectors").embeddings).astype("float64")[WORDS[0]]
    for i, (level, visual) in enumerate(zip(LEVELS, maps)):
        layer = model.get_layer(f"attention_{level}")
        kernels = [to_numpy(k).astype("float64") for k in (layer.query_kernel, layer.key_kernel)]
        weights = literal.attention(literal.feature(visual[0], words), *kernels).mean((0, 1))
        np.testing.assert_allclose(outputs["word_attention"][0, i], weights.sum(1), atol=1e-5)
        np.testing.assert_allclose(
            outputs["position_attention"][0, i].ravel(), weights.sum(0), atol=1e-5
        )


def test_saved_models_load_in_a_process_that_only_imports(seeded, rng, tmp_path):
    """No custom_objects and no call of ours: the uncompiled, the compiled, every option."""
    from keras_cmsa.training import compile_model

    plain = shaken(tiny.model(), rng)
    options = shaken(tiny.model(attention="pair", word_positions=True, query_chunk=3), rng)
    compile_model(options, steps=10, dice_weight=0.5)
    image = images(rng)
    np.savez(tmp_path / "inputs.npz", image=image, words=WORDS)
    for name, model in (("plain", plain), ("options", options)):
        model.save(tmp_path / f"{name}.keras")
    script = """
import sys, numpy as np, keras, keras_cmsa
inputs = dict(np.load("inputs.npz"))
for name in ("plain", "options"):
    model = keras.saving.load_model(name + ".keras")
    np.save(name + ".npy", keras.ops.convert_to_numpy(model(inputs, training=False)))
"""
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "KERAS_BACKEND": seeded.backend.backend()},
    )
    for name, model in (("plain", plain), ("options", options)):
        np.testing.assert_allclose(
            np.load(tmp_path / f"{name}.npy"), run(model, image, WORDS), atol=1e-6
        )


def test_the_model_says_what_is_wrong(seeded):
    from keras_cmsa.backbones import dilated_resnet101, small_resnet
    from keras_cmsa.cmsa import build_cmsa, with_attention

    with pytest.raises(ValueError, match=r"3 or more\. Received: vocabulary_size=2"):
        build_cmsa(2, tiny.SIZE, tiny.backbone())
    with pytest.raises(ValueError, match=r"images of \(16, 16\).* Received: image_size=32"):
        build_cmsa(9, 32, tiny.backbone())
    for size in (0, 20):
        with pytest.raises(ValueError, match=f"multiple of 8.* Received: image_size={size}"):
            small_resnet(size)
        with pytest.raises(ValueError, match=f"multiple of 8.* Received: image_size={size}"):
            dilated_resnet101(size, weights=None)
    with pytest.raises(ValueError, match=r"train_stages must be among .* Received: \['res5'\]"):
        dilated_resnet101(32, weights=None, train_stages=("conv3", "res5"))
    with pytest.raises(ValueError, match="Received: 'backbone', which has none"):
        with_attention(tiny.backbone())


# --- the backbones


def test_small_resnet_maps(seeded):
    from keras_cmsa.backbones import small_resnet

    backbone = small_resnet(24, widths=(3, 4, 5, 6), blocks=2)
    assert [tuple(x.shape) for x in backbone.outputs] == [(None, 3, 3, c) for c in (4, 5, 6)]
    dilation = {"conv3": 1, "conv4": 2, "conv5": 4}
    for stage, rate in dilation.items():
        for block in (1, 2):
            layer = backbone.get_layer(f"{stage}_block{block}_2")
            assert layer.dilation_rate == (rate, rate)


class Resnets:
    """The published network with random weights and statistics, and ours with the same."""

    def __init__(self, keras, folder):
        from keras_cmsa.backbones import dilated_resnet101

        rng = np.random.default_rng(1)
        self.published = keras.applications.ResNet101(include_top=False, weights=None)
        for layer in self.published.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                gamma, beta, mean, variance = (np.shape(w) for w in layer.get_weights())
                layer.set_weights(
                    [
                        rng.uniform(0.3, 0.6, gamma),
                        rng.normal(0, 0.1, beta),
                        rng.normal(0, 0.1, mean),
                        rng.uniform(0.8, 1.2, variance),
                    ]
                )
        # The format of the files that Keras publishes, which its own writer still knows.
        self.path = folder / "resnet101_notop.h5"
        self.published.save(self.path)
        self.ours = dilated_resnet101(64, self.path, train_stages=("conv4", "conv5"))
        self.features = next(x for x in self.ours.layers if isinstance(x, keras.Model))


@pytest.fixture(scope="module")
def resnets(tmp_path_factory):
    import keras

    keras.utils.set_random_seed(7)
    return Resnets(keras, tmp_path_factory.mktemp("resnet"))


def test_dilated_resnet_is_the_published_one_at_every_other_position(seeded, resnets, rng):
    """A stride traded for dilation keeps what was computed and adds what lies between."""
    image = rng.uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    ends = ("conv3_block4_out", "conv4_block23_out", "conv5_block3_out")
    published = seeded.Model(
        resnets.published.input, [resnets.published.get_layer(end).output for end in ends]
    )
    # Caffe's preprocessing: BGR, less the means of ImageNet.
    caffe = image[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
    wanted = [to_numpy(x) for x in published(caffe, training=False)]
    maps = [to_numpy(x) for x in resnets.ours(image, training=False)]
    assert [x.shape for x in maps] == [(1, 8, 8, c) for c in (512, 1024, 2048)]
    assert [x.shape[1] for x in wanted] == [8, 4, 2]
    for ours, theirs, step in zip(maps, wanted, (1, 2, 4)):
        assert theirs.std() > 0.01
        np.testing.assert_allclose(
            ours[:, ::step, ::step], theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max()
        )


def test_dilated_resnet_strides_and_dilations(seeded, resnets):
    convolutions = [x for x in resnets.features.layers if isinstance(x, seeded.layers.Conv2D)]
    assert len(convolutions) == 104
    assert [x.name for x in convolutions if x.strides != (1, 1)] == [
        "conv1_conv",
        "conv3_block1_1_conv",
        "conv3_block1_0_conv",
    ]
    rates = {"conv4": 2, "conv5": 4}
    for layer in convolutions:
        rate = rates.get(layer.name[:5], 1) if layer.kernel_size == (3, 3) else 1
        assert layer.dilation_rate == (rate, rate), layer.name


def test_dilated_resnet_trains_the_stages_asked_for(seeded, resnets):
    """And no statistics or scale of batch normalisation once it is pretrained."""
    kernels = {w.path.split("_")[0].split("/")[-1] for w in resnets.ours.trainable_weights}
    assert kernels == {"conv4", "conv5"}
    assert {w.name for w in resnets.ours.trainable_weights} == {"kernel", "bias"}
    assert len(resnets.ours.trainable_weights) == 2 * (3 * (23 + 3) + 2)


def test_frozen_norm_stays_and_is_used_in_training(seeded, resnets, rng):
    image = rng.uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    before = resnets.ours.get_weights()
    training = [to_numpy(x) for x in resnets.ours(image, training=True)]
    for a, b in zip(resnets.ours.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(training, resnets.ours(image, training=False)):
        np.testing.assert_array_equal(a, to_numpy(b))


def test_imagenet_weights_without_a_network(seeded, tmp_path, monkeypatch):
    """The error says which file, from where, where to put it, and how else to give it."""
    from keras_cmsa.backbones import dilated_resnet101

    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", refuse)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(OSError, match="no route to host") as error:
        dilated_resnet101(32)
    for part in (
        "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "keras-applications",
        "~/.keras/models",
        "--backbone-weights PATH",
    ):
        assert part in str(error.value)


def test_a_weights_file_that_is_not_there_or_does_not_fit(seeded, tmp_path):
    from keras_cmsa.backbones import dilated_resnet101

    with pytest.raises(ValueError, match=r"path to the weights file.*nowhere\.h5"):
        dilated_resnet101(32, str(tmp_path / "nowhere.h5"))
    other = seeded.Sequential([seeded.Input((2,)), seeded.layers.Dense(2)])
    other.save(tmp_path / "other.h5")
    with pytest.raises(ValueError, match="layers"):
        dilated_resnet101(32, str(tmp_path / "other.h5"))
