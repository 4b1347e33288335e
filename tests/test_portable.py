"""Folded, ONNX and LiteRT forms compute what the model does, and run outside it."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

tf = pytest.importorskip("tensorflow")
FORMS = {"onnx": ".onnx", "litert": ".tflite"}


@pytest.fixture(scope="module")
def model():
    """With statistics in its normalisations that are not those of a fresh one."""
    import keras

    keras.utils.set_random_seed(7)
    model = tiny.shaken(tiny.model(), np.random.default_rng(5))
    norm = model.get_layer("backbone").get_layer("stem_norm")
    norm.set_weights([np.array(x, "float32") for x in
                      ([1.5, -2, 0.5, 3], [0.1, 2, -1, 0.3], [0.3, -0.2, 0, 1], [0.5, 2, 3, 0.1])])  # fmt: skip
    return model


def inputs_of(batch, seed=0):
    rng = np.random.default_rng(seed)
    words = rng.integers(1, len(tiny.vocabulary()), (batch, tiny.WORDS)).astype("int32")
    words[0, 2:] = 0
    image = rng.uniform(0, 255, (batch, tiny.SIZE, tiny.SIZE, 3)).astype("float32")
    return {"image": image, "words": words}


def norms_of(model):
    from keras import Model, layers

    inner = [norm for x in model.layers if isinstance(x, Model) for norm in norms_of(x)]
    return inner + [x.name for x in model.layers if isinstance(x, layers.BatchNormalization)]


def test_folding_changes_nothing_but_the_work(model):
    from keras_cmsa.cmsa import with_attention
    from keras_cmsa.folding import fold_batch_norms

    before = [weight.numpy() for weight in model.weights]
    folded = fold_batch_norms(model)
    assert norms_of(model) == ["stem_norm"] and norms_of(folded) == []
    inputs = inputs_of(3)
    wanted = with_attention(model).predict_on_batch(inputs)
    found = with_attention(folded).predict_on_batch(inputs)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5 * max(1, np.abs(value).max()))
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_only_what_can_be_folded_is(seeded):
    """Not behind an activation, not where the convolution is read twice or is an output, not alone."""
    from keras import layers

    from keras_cmsa.folding import fold_batch_norms

    rng = np.random.default_rng(0)
    x = seeded.Input((6, 6, 2))
    norm = layers.BatchNormalization
    a = norm(name="folds", scale=False)(layers.Conv2D(3, 3, groups=1, name="a")(x))
    b = norm(name="after_relu")(layers.Conv2D(3, 3, activation="relu", name="b")(x))
    twice = layers.Conv2D(3, 3, name="twice")(x)
    c = layers.Add()([norm(name="read_twice")(twice), twice])
    out = layers.Conv2D(3, 3, name="out")(x)
    d = norm(name="of_an_output")(out)
    e = norm(name="alone", center=False)(a)
    model = seeded.Model(x, [layers.Add()([a, b, c, d, e]), out])
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    folded = fold_batch_norms(model)
    assert set(norms_of(folded)) == {"after_relu", "read_twice", "of_an_output", "alone"}
    image = rng.normal(size=(2, 6, 6, 2)).astype("float32")
    for found, wanted in zip(folded.predict_on_batch(image), model.predict_on_batch(image)):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_resnet_101_folds_whole(seeded):
    from keras_cmsa.backbones import dilated_resnet101
    from keras_cmsa.folding import fold_batch_norms

    backbone = dilated_resnet101(64, weights=None)
    assert len(norms_of(backbone)) == 104 and not norms_of(fold_batch_norms(backbone))


@pytest.fixture(params=FORMS)
def form(request):
    pytest.importorskip({"onnx": "onnxruntime", "litert": "ai_edge_litert"}[request.param])
    return request.param


def test_it_runs_elsewhere(model, tmp_path, form):
    from keras_cmsa import portable
    from keras_cmsa.cmsa import with_attention
    from keras_cmsa.text import Vocabulary

    path = tmp_path / "new" / f"model{FORMS[form]}"
    write, run = {
        "onnx": (portable.export_onnx, portable.run_onnx),
        "litert": (portable.export_litert, portable.run_litert),
    }[form]
    assert write(model, tiny.vocabulary(), path, fold_norms=True) == path
    assert {p.name for p in path.parent.iterdir()} == {path.name, "model.vocabulary.txt"}
    words = Vocabulary.load(path.with_suffix(".vocabulary.txt"), tiny.WORDS)
    assert words == tiny.vocabulary()
    telling = with_attention(model)
    for batch in (1, 3):
        inputs = inputs_of(batch, seed=batch)
        wanted, found = telling.predict_on_batch(inputs), run(path, inputs)
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4 * max(1, np.abs(value).max()))
    with pytest.raises(FileExistsError, match="is there already"):
        write(model, tiny.vocabulary(), path)


def test_scores_of_any_range(model, tmp_path, form):
    """The branch of the attention that is taken where exponentials of scores would vanish."""
    from keras_cmsa import portable
    from keras_cmsa.cmsa import with_attention

    wide = tiny.model()
    wide.set_weights(model.get_weights())
    for layer in wide.layers:
        if layer.name.startswith("attention_"):
            for kernel in (layer.query_kernel, layer.key_kernel):
                kernel.assign(60 * kernel)
    path = tmp_path / f"wide{FORMS[form]}"
    write = {"onnx": portable.export_onnx, "litert": portable.export_litert}[form]
    run = {"onnx": portable.run_onnx, "litert": portable.run_litert}[form]
    write(wide, tiny.vocabulary(), path)
    inputs = inputs_of(2)
    wanted, found = with_attention(wide).predict_on_batch(inputs), run(path, inputs)
    assert wanted["word_attention"].max() > 0.3
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-3 * max(1, np.abs(value).max()))


def test_what_computes_something_else_is_not_kept(model, tmp_path, form, monkeypatch):
    from keras_cmsa import Vocabulary, portable

    name = f"run_{form}"
    run = getattr(portable, name)
    monkeypatch.setattr(
        portable, name, lambda *a: {n: x + 0.5 * (n == "logits") for n, x in run(*a).items()}
    )
    write = {"onnx": portable.export_onnx, "litert": portable.export_litert}[form]
    with pytest.raises(RuntimeError, match="gives other logits than the model"):
        write(model, tiny.vocabulary(), tmp_path / f"model{FORMS[form]}")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f"must end in {FORMS[form]}"):
        write(model, tiny.vocabulary(), tmp_path / "model.bin")
    with pytest.raises(ValueError, match="The vocabulary does not fit the model"):
        write(model, Vocabulary(["red"], tiny.WORDS), tmp_path / f"model{FORMS[form]}")
    monkeypatch.setattr(portable.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=rf"keras-cmsa\[{form}\]"):
        write(model, tiny.vocabulary(), tmp_path / f"model{FORMS[form]}")


def test_the_example_of_the_docs(model, tmp_path, monkeypatch, photo):
    pytest.importorskip("onnxruntime")
    from keras_cmsa import Predictor
    from keras_cmsa.portable import export_onnx

    page = (Path(__file__).parents[1] / "docs/serving.md").read_text(encoding="utf-8")
    code = page.split("<!-- tests/test_portable.py runs this -->\n```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    export_onnx(model, tiny.vocabulary(), "cmsa.onnx")
    Image.fromarray(photo).save("photo.jpg")
    names = {}
    exec(code.replace("man in yellow shirt", "red box"), names)
    wanted = Predictor(model, tiny.vocabulary())("photo.jpg", "red box").mask
    assert np.mean(names["mask"] == wanted) > 0.99  # of logits, not of probabilities


def test_the_command(model, tmp_path, form, capsys):
    from keras_cmsa.cli import main

    model.save(tmp_path / "model.keras")
    tiny.vocabulary().save(tmp_path / "vocabulary.txt")
    path = tmp_path / f"cmsa{FORMS[form]}"
    arguments = ["export", str(path), "--model", str(tmp_path), "--format", form]
    for code in (0, 2):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert (stop.value.code or 0) == code
    assert path.exists()
    assert "is there already" in capsys.readouterr().err
