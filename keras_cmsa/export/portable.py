"""Export of the network alone, from tensors to tensors, as ONNX or LiteRT."""

import contextlib
import gc
import os
from pathlib import Path

import numpy as np

from keras_cmsa.export.network import check_exportable, config_of_export, network_for_export
from keras_cmsa.export.quantised import calibration_batches, quantise_litert, quantise_onnx
from keras_cmsa.presets.files import LITERT, ONNX, VOCABULARY
from keras_cmsa.presets.model_card import EXPORTED_AS, STORED_AS
from keras_cmsa.presets.preset import write_config
from keras_cmsa.presets.reference import write_reference
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import new_folder
from keras_cmsa.utils.silence import silenced

# The libraries that an export needs, the file with the network, and the name of the form.
FORMS = {
    "onnx": (("onnx", "tf2onnx", "onnxruntime"), ONNX, "ONNX"),
    "litert": (("ai_edge_litert",), LITERT, "LiteRT"),
}
QUANTISERS = {"onnx": quantise_onnx, "litert": quantise_litert}


def export_onnx(preset, folder, calibration=None):
    """Writes the network as ONNX into a new folder, whole or not at all.

    The folder holds `model.onnx`, and as a preset does `vocabulary.txt`, `config.json` and a model
    card. `load_preprocessor` loads the preprocessor from it.

    Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255, fitted to the square by the preprocessor,
    and `words` `(B, K, N)` int32, 0 at padding; B and K are free. Outputs: `logits`
    `(B, K, S, S, 1)` and, if the model has them, `exists` `(B, K)` in 0..1, `word_attention` and
    `position_attention` as in `with_attention`. The threshold of `exists` stands in `config.json`.

    The file is run before it is kept, and its outputs are compared with those of the model.

    Args:
        preset: `Preset` or `Predictor`.
        folder: must not be there.
        calibration: list of `Record` of the training split, to write the network in int8 by
            `calibration_batches` and `quantise_onnx`; `None`: in float32.

    Returns:
        `Path` of the folder.

    Raises:
        FileExistsError: if the folder is there.
        ModuleNotFoundError: if a library is missing; `pip install "keras-cmsa[onnx]"`.
        OSError: if the folder cannot be written.
        OtherOutputs: if the file gives other outputs than the model.
        ValueError: if the preprocessor does not fit the model, the model comes from an export, the
            Keras backend is not TensorFlow, or the calibration has no images.
    """
    return export(preset, folder, "onnx", calibration)


def export_litert(preset, folder, calibration=None):
    """Writes the network as LiteRT like `export_onnx`; the file is `model.tflite`.

    The file has one signature, `serving_default`. The library `ai-edge-litert` runs it.

    Args, returns, raises: as in `export_onnx`; the libraries are those of the extra `litert`.
    """
    return export(preset, folder, "litert", calibration)


def export(preset, folder, form, calibration=None):
    """Writes a folder in a form of `FORMS` and keeps it if its outputs are those of the model."""
    libraries, file, name = FORMS[form]
    run = {"onnx": run_onnx, "litert": run_litert}[form]
    check_exportable(preset)
    for library in libraries:
        require(library, form, f"An export to {form}")
    folder = Path(folder)
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} is there already: choose another name or remove it")
    is_quantised = calibration is not None
    batches = calibration_batches(preset.preprocessor, calibration) if is_quantised else None
    dtype = "int8" if is_quantised else "float32"
    # LiteRT has no operations for the loop of an LSTM, and neither form for that over chunks.
    network, example = network_for_export(preset, folder, unroll=True)
    with new_folder(folder) as partial:
        convert(network, partial / file, form)
        if is_quantised:
            QUANTISERS[form](partial / file, partial / file, batches)
        example.check(run(partial / file, example.inputs), folder, dtype)
        preset.preprocessor.vocabulary.save(partial / VOCABULARY)
        write_config(partial, config_of_export(preset, {EXPORTED_AS: name, STORED_AS: dtype}))
        write_reference(partial, preset)
    return folder


def convert(model, path, form):
    """Writes a model without loops in a form of `FORMS`, unseen."""
    if form == "onnx":
        from tf2onnx.handler import tf_op

        tf_op("Erfc").register_compat_handler(erfc, 9)
    with silenced(), collecting_often():
        model.export(str(path), format=form, verbose=False)
    if form == "onnx":
        name_axes(path)


def erfc(graph, node, **_):
    """Makes `Erfc`, which TensorFlow's exact GELU has and tf2onnx does not know, 1 - `Erf`."""
    kinds = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", node.input).output[0]
    one = graph.make_const(f"{node.name}/one", np.array(1, "float32")).output[0]
    graph.make_node("Sub", [one, erf], outputs=node.output, name=node.name, **kinds)


def name_axes(path):
    """Calls the free axes of an ONNX file's inputs and outputs B and K."""
    import onnx

    model = onnx.load(path)
    for tensor in (*model.graph.input, *model.graph.output):
        for name, axis in zip("BK", tensor.type.tensor_type.shape.dim):
            if not axis.dim_value:
                axis.dim_param = name
    onnx.save(model, path)


@contextlib.contextmanager
def collecting_often():
    """Finds garbage soon.

    tf2onnx copies its graph before each of its steps, weights and all, and a copy holds itself in
    cycles. They are few objects, so that Python looks for them late: VGG-16, half a gigabyte, took
    22 GB and more; so it takes 14.
    """
    before = gc.get_threshold()
    gc.freeze()  # what is here already need not be looked at each time
    gc.collect()
    gc.set_threshold(before[0], 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def run_onnx(path, inputs):
    """Runs an ONNX file: dict of its outputs by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs))))


def run_litert(path, inputs):
    """Runs a LiteRT file: dict of its outputs by name."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()(**inputs)
