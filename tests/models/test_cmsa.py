"""CMSA as a whole: its equations, what it is blind to, how it is saved."""

import json

import literal
import numpy as np
import pytest
import tiny
from fresh_process import run_python

from keras_cmsa.layers import GatedMultiLevelFusion
from keras_cmsa.models.backbones import small_resnet
from keras_cmsa.models.cmsa import Cmsa, build_cmsa, with_all_outputs, with_attention
from keras_cmsa.training.loop import compile_model
from keras_cmsa.training.settings import Settings

pytestmark = pytest.mark.keras

LEVELS = ("res3", "res4", "res5")
P = tiny.SIZE // 8

# Three expressions of 5, 3 and 1 words.
WORDS = np.array([[2, 5, 6, 7, 8], [4, 5, 6, 0, 0], [9, 0, 0, 0, 0]], "int32")


def images(rng, count=3):
    return rng.uniform(0, 255, (count, tiny.SIZE, tiny.SIZE, 3)).astype("float32")


def run(model, image, words):
    """The outputs for one expression about each image, `words` `(B, N)`."""
    outputs = model({"image": image, "words": words[:, None]}, training=False)
    if isinstance(outputs, dict):
        return {name: tiny.to_numpy(x)[:, 0] for name, x in outputs.items()}
    return tiny.to_numpy(outputs)[:, 0]


# --- the model


@pytest.mark.parametrize("mode", ["none", "full"])
def test_logits_are_the_papers_equations_on_the_models_own_weights(seeded, rng, mode):
    """From the backbone's maps on, everything again in float64 as the paper writes it."""
    model = tiny.shaken(tiny.model(attention=mode), rng)
    image = images(rng)
    maps = [tiny.to_numpy(x).astype("float64") for x in model.get_layer("backbone")(image)]
    weights = {w.path: tiny.to_numpy(w.value).astype("float64") for w in model.weights}
    kernels = ("query_kernel", "key_kernel", "value_kernel", "output_kernel")
    fusion = [
        (*(weights[f"fusion/gates_{i}/{w}"] for w in ("kernel", "bias")), gamma)
        for i, gamma in zip((1, 2, 3), weights["fusion/gamma"], strict=True)
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
            r = [weights[f"attention_{level}/reduction_{w}"] for w in ("kernel", "bias")]
            attended.append((level_map @ r[0] + r[1]).reshape(P, P, -1))
        wanted = literal.convolution(literal.fusion(attended, fusion)[0], *score)
        logits = run(model, image, WORDS)[example]
        assert logits.shape == (tiny.SIZE, tiny.SIZE, 1)
        np.testing.assert_allclose(
            logits, literal.resized(wanted, (tiny.SIZE, tiny.SIZE)), rtol=1e-4, atol=1e-5
        )


def test_the_parts_and_the_sizes_are_the_papers(seeded):
    image = seeded.Input((320, 320, 3))
    maps = [seeded.layers.AveragePooling2D(8)(image) for _ in range(3)]
    backbone = seeded.Model(image, maps)
    model = build_cmsa(10, backbone=backbone)
    assert isinstance(model, Cmsa) and model.image_encoder is backbone
    assert model.input["words"].shape == (None, None, 20)
    assert model.word_encoder.embeddings.shape == (10, 1000)
    assert 0.0799 < np.abs(tiny.to_numpy(model.word_encoder.embeddings)).max() <= 0.08
    assert [x.name for x in model.attention_layers] == [f"attention_{x}" for x in LEVELS]
    assert model.attention_layers[-1].value_kernel.shape == (3 + 8 + 1000, 512)
    assert isinstance(model.fusion, GatedMultiLevelFusion)
    assert model.score.kernel.shape == (3, 3, 500, 1)
    sizes = (model.vocabulary_size, model.image_size, model.max_words, model.word_dim)
    assert (*sizes, model.attention_dim, model.fusion_dim) == (10, 320, 20, 1000, 512, 500)
    assert model.levels == LEVELS and model.attention == "full"


def test_a_model_is_made_again_from_its_configuration(seeded, rng):
    """With its options, its precision, and what is frozen in its backbone."""
    with tiny.dtype_policy(seeded, "mixed_bfloat16"):
        model = tiny.model(
            fusion="self_gated", levels=LEVELS[1:], word_positions=True, query_chunk=3
        )
    tiny.shaken(model, rng).image_encoder.get_layer("conv4").trainable = False
    twin = seeded.saving.deserialize_keras_object(
        json.loads(json.dumps(seeded.saving.serialize_keras_object(model)))
    )
    assert isinstance(twin, Cmsa)
    assert json.dumps(twin.get_config()) == json.dumps(model.get_config())
    assert seeded.config.dtype_policy().name == "float32"
    assert twin.score.compute_dtype == "bfloat16"
    assert [w.path for w in twin.trainable_weights] == [w.path for w in model.trainable_weights]
    twin.set_weights(model.get_weights())
    image = images(rng)
    np.testing.assert_array_equal(run(twin, image, WORDS), run(model, image, WORDS))


def test_with_attention(seeded, rng):
    model = tiny.shaken(tiny.model(), rng)
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
    # Level by level.
    _, *deepest = seeded.Model(model.input, model.get_layer("attention_res5").output).predict(
        {"image": image, "words": WORDS[:, None]}, verbose=0
    )
    for name, wanted in zip(("word_attention", "position_attention"), deepest):
        np.testing.assert_allclose(outputs[name][:, 2], wanted[:, 0], atol=1e-5)


@pytest.mark.slow
def test_a_saved_model_loads_in_a_process_that_only_imports(seeded, rng, tmp_path):
    """No custom_objects and no call of ours: with options, and compiled."""
    model = tiny.shaken(tiny.model(attention="pair", word_positions=True, query_chunk=3), rng)
    compile_model(model, Settings(steps=10, dice_weight=0.5))
    image = images(rng)
    np.savez(tmp_path / "inputs.npz", image=image, words=WORDS[:, None])
    model.save(tmp_path / "model.keras")
    script = """
import numpy as np, keras, keras_cmsa
model = keras.saving.load_model("model.keras")
inputs = dict(np.load("inputs.npz"))
np.save("logits.npy", keras.ops.convert_to_numpy(model(inputs, training=False)))
"""
    run_python(script, backend=seeded.backend.backend(), cwd=tmp_path)
    logits = np.load(tmp_path / "logits.npy")[:, 0]
    np.testing.assert_allclose(logits, run(model, image, WORDS), atol=1e-6)


def test_all_outputs_of_any_model(seeded):
    """With its attention where it has some; what has all outputs stays as it is."""
    model = tiny.model()
    names = {"logits", "word_attention", "position_attention"}
    every = with_all_outputs(model)
    assert set(every.output) == names and with_all_outputs(every) is every
    inputs = {
        "image": seeded.Input((4, 4, 3), name="image"),
        "words": seeded.Input((None, 5), name="words"),
    }
    plain = seeded.Model(inputs, seeded.layers.Dense(1)(inputs["image"]), name="plain")
    only = with_all_outputs(plain)
    assert set(only.output) == {"logits"} and only.name == "plain"
    assert only.trainable_weights == plain.trainable_weights


def test_the_model_says_what_is_wrong(seeded):
    with pytest.raises(ValueError, match=r"3 or more\. Received: vocabulary_size=2"):
        build_cmsa(2, tiny.SIZE, tiny.backbone())
    with pytest.raises(ValueError, match=r"images of \(16, 16\).* Received: image_size=32"):
        build_cmsa(9, 32, tiny.backbone())
    finer = small_resnet(32, widths=(2, 2, 2, 2), finer=True)
    with pytest.raises(ValueError, match=r"three maps of one side.* \(4, 4\), \(8, 8\)\]"):
        build_cmsa(9, 32, finer)
    with pytest.raises(ValueError, match="Received: 'backbone', another system"):
        with_attention(tiny.backbone())
    with pytest.raises(ValueError, match=r"fusion must be .* Received: fusion='sum'"):
        tiny.model(fusion="sum")


def test_the_model_says_what_words_it_wants(seeded, rng):
    """Also in a graph; ids are looked at where they are an array."""
    model, image = tiny.model(), images(rng)
    flat = {"image": image, "words": WORDS}
    for ask in (model, model.predict_on_batch):
        with pytest.raises(ValueError, match=r"wanted \(B, K, N\).* Received: shape \(3, 5\)"):
            ask(flat)
    for wrong in (-1, 10):
        words = np.where(WORDS == 9, wrong, WORDS)[:, None]
        with pytest.raises(ValueError, match=rf"ids from 0 to 9\. Received: .*{wrong}"):
            model({"image": image, "words": words})
