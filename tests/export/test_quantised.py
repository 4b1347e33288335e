"""Networks in int8: what is quantised, by which images, and how near its answers are."""

import platform
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from image_files import encoded
from keras import layers, ops
from network_files import run_file, write_file

from keras_cmsa import Predictor, Preset, read_image
from keras_cmsa.export import portable, quantised
from keras_cmsa.export.quantised import calibration_batches, quantise_litert, quantise_onnx
from keras_cmsa.inference.verification import BOUNDS, asking, bounds_of, verify
from keras_cmsa.presets.files import read_config
from keras_cmsa.presets.reference import read_reference, write_reference

pytest.importorskip("tensorflow")

LIBRARIES = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert", "ai_edge_quantizer")}
QUANTISERS = {"onnx": quantise_onnx, "litert": quantise_litert}
FILES = {"onnx": "model.onnx", "litert": "model.tflite"}


@pytest.fixture(scope="module", params=LIBRARIES)
def form(request):
    for library in LIBRARIES[request.param]:
        pytest.importorskip(library)
    return request.param


@pytest.fixture(scope="module")
def whole_sums(form):
    """A CPU on which the form's sums of int8 do not saturate."""
    flags = Path("/proc/cpuinfo")
    is_x86 = platform.machine() in ("x86_64", "AMD64") and flags.exists()
    if form == "onnx" and is_x86 and "vnni" not in flags.read_text():
        pytest.skip("ONNX Runtime's sums of int8 saturate on a CPU without VNNI")


def inputs_of(batch, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.uniform(0, 255, (batch, 8, 8, 3)).astype("float32"),
        "words": rng.integers(0, 9, (batch, 2, 4)).astype("int32"),
    }


def miniature():
    """A convolution with ReLU6, words that attend to its positions, and a product with a weight."""
    keras.utils.set_random_seed(7)
    image = keras.Input((8, 8, 3), name="image")
    words = keras.Input((None, 4), dtype="int32", name="words")
    x = layers.Rescaling(1 / 64)(image)
    x = layers.Conv2D(6, 3, padding="same", activation="relu6")(x)
    maps = layers.Reshape((1, 64, 6))(x)
    queries = layers.Embedding(9, 6, "normal")(words)
    shares = ops.softmax(ops.matmul(queries, ops.swapaxes(maps, -1, -2)) * 20)
    logits = layers.Dense(5, use_bias=False)(ops.matmul(shares, maps))
    model = keras.Model({"image": image, "words": words}, {"logits": logits})
    model(inputs_of(1))  # Keras exports what was called once
    return model


@pytest.fixture(scope="module")
def files(form, tmp_path_factory):
    """The model, its file, and the file in int8, whose ranges are those of noise."""
    model, folder = miniature(), tmp_path_factory.mktemp(form)
    source, target = folder / FILES[form], folder / f"int8_{FILES[form]}"
    write_file(model, source)
    QUANTISERS[form](source, target, [inputs_of(1, seed) for seed in range(4)])
    return model, source, target


def integer_operations(path, form):
    """The kinds of operations that get int8 or uint8, and those that get float32: two sets."""
    if form == "onnx":
        import onnx

        graph = onnx.load(path).graph
        made_by = {name: node for node in graph.node for name in node.output}
        kinds = {True: set(), False: set()}
        for node in graph.node:
            first = made_by.get(node.input[0]) if node.input else None
            kinds[first is not None and first.op_type == "DequantizeLinear"].add(node.op_type)
        return kinds[True], kinds[False]
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

    model = read_model(str(path))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    kinds = {True: set(), False: set()}
    for operation in model.subgraphs[0].operators:
        first = model.subgraphs[0].tensors[operation.inputs[0]]
        code = model.operatorCodes[operation.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        kinds[first.type == schema.TensorType.INT8].add(name)
    return kinds[True], kinds[False]


def test_what_is_quantised(files, form):
    _, source, target = files
    integer, floating = integer_operations(target, form)
    wanted = {"onnx": {"Conv", "MatMul"}, "litert": {"CONV_2D", "FULLY_CONNECTED", "DEQUANTIZE"}}
    kept = {"onnx": {"MatMul", "Softmax"}, "litert": {"BATCH_MATMUL", "SOFTMAX"}}
    assert wanted[form] <= integer and kept[form] <= floating
    assert not kept[form] - {"MatMul"} & integer
    assert not integer_operations(source, form)[0]


def test_its_answers_are_near(files, whole_sums):
    """For any B; also what they are for images of which one has the most extreme values."""
    model, _, target = files
    for batch in (1, 3):
        inputs = inputs_of(batch, seed=9)
        wanted = model.predict_on_batch(inputs)["logits"]
        found = run_file(target, inputs)
        assert set(found) == {"logits"}
        error = np.abs(found["logits"] - wanted).max() / np.abs(wanted).max()
        assert 1e-3 < error < 0.02


def test_a_calibration_without_images():
    with pytest.raises(ValueError, match="calibration has no images: .* Received: none"):
        calibration_batches(tiny.preprocessor(), [])


def test_the_images_that_are_taken(tmp_path, monkeypatch):
    """Three of five at even distances, with at most two sentences each."""
    monkeypatch.setattr(quantised, "IMAGES", 3)
    monkeypatch.setattr(quantised, "SENTENCES", 2)
    preprocessor = tiny.preprocessor()
    records = tiny.records(tmp_path, 5)
    several = tiny.several_of_each(records, [3, 1, 1, 1, 2])
    batches = calibration_batches(preprocessor, several)
    assert len(batches) == 3
    images = list(dict.fromkeys(r.image_id for r in several))
    for batch, name in zip(batches, images[::2]):
        image = [r for r in several if r.image_id == name][:2]
        wanted = preprocessor([image[0].image()], [[r.expression for r in image]])
        assert batch.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_array_equal(batch[name], value)
            assert batch[name].dtype == value.dtype


@pytest.fixture(scope="module")
def trained():
    """A model with few probabilities near 0.5, as training leaves them: int8 changes few pixels."""
    keras.utils.set_random_seed(7)
    preprocessor = tiny.preprocessor()
    model = tiny.finder(preprocessor)
    model.get_layer("score").bias.assign_add([2.0])
    return Preset(model, preprocessor)


@pytest.fixture(scope="module")
def written(form, whole_sums, trained, tmp_path_factory):
    """The folder of that model in int8."""
    folder = tmp_path_factory.mktemp("int8")
    records = [*tiny.records(folder, 50), *tiny.noise_records(folder, 50)]
    return portable.export(trained, folder / form, form, records)


@pytest.mark.slow
def test_an_export_in_int8(trained, written, tmp_path):
    """It answers within the bound of int8, which what was changed does not."""
    assert read_config(written)["export"]["Weights stored as"] == "int8"
    predictor = Predictor.from_preset(written, verify=True)
    reference, ask = read_reference(written), asking(predictor)
    bounds = bounds_of(predictor.config)
    assert bounds == BOUNDS["int8"]

    assert verify(reference, ask, BOUNDS["float32"]).cause.startswith("quantised")

    def exchanged(file, sentences):
        return ask(encoded(read_image(file)[..., ::-1]), sentences)

    assert verify(reference, exchanged, bounds).cause.startswith("the channel order")
    stretched = Predictor(predictor.model, tiny.preprocessor("stretch"), config=predictor.config)
    assert verify(reference, asking(stretched), bounds).cause.startswith("another resize")
    kernel = trained.model.get_layer("score").kernel
    before = kernel.numpy()
    kernel.assign(before * 1.5)
    write_reference(tmp_path, trained)
    kernel.assign(before)
    assert verify(read_reference(tmp_path), ask, bounds).cause.startswith("other weights")
