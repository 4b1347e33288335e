"""Export of the network alone, from tensors to tensors, as ONNX or LiteRT."""

import contextlib
import gc
import os
from pathlib import Path

import keras
from keras import layers

from keras_cmsa.export.network import check_exportable, network_for_export
from keras_cmsa.layers import CrossModalSelfAttention
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.silence import silenced

FORMS = {
    "onnx": (("onnx", "tf2onnx", "onnxruntime"), ".onnx"),
    "litert": (("ai_edge_litert",), ".tflite"),
}


def export_onnx(model, preprocessor, path):
    """Writes an ONNX file, with the vocabulary beside it.

    Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255, fitted to the square by the preprocessor,
    and `words` `(B, K, N)` int32, 0 at padding. Outputs: `logits` `(B, K, S, S, 1)` and, if the model
    has them, `word_attention` and `position_attention` as in `with_attention`.

    The file is run before it is kept, and its outputs are compared with those of the model.

    Args:
        model: functional `keras.Model` from `image` and `words` to logits.
        preprocessor: its `Preprocessor`, whose words are saved as `<name>.vocabulary.txt`.
        path: path of the file, which ends in `.onnx`.

    Returns:
        `Path` of the file.

    Raises:
        FileExistsError: if the file exists.
        ModuleNotFoundError: if a library is missing; `pip install "keras-cmsa[onnx]"`.
        RuntimeError: if the file gives other outputs than the model.
        ValueError: if the preprocessor does not fit the model, the path has another ending, or the
            Keras backend is not TensorFlow.
    """
    return export(model, preprocessor, path, "onnx")


def export_litert(model, preprocessor, path):
    """Writes a LiteRT file like `export_onnx`; its path ends in `.tflite`.

    The file has one signature, `serving_default`. The library `ai-edge-litert` runs it:
    `pip install "keras-cmsa[litert]"`.
    """
    return export(model, preprocessor, path, "litert")


def export(model, preprocessor, path, form):
    """Writes a file in a form of `FORMS` and keeps it if its outputs are those of the model."""
    libraries, ending = FORMS[form]
    run = {"onnx": run_onnx, "litert": run_litert}[form]
    check_exportable(model, preprocessor)
    for library in libraries:
        require(library, form, f"An export to {form}")
    vocabulary = preprocessor.vocabulary
    path = Path(path)
    if path.suffix != ending:
        raise ValueError(f"The file name must end in {ending}. Received: {path}")
    if path.exists():
        raise FileExistsError(f"{path} is there already: choose another name or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    network, example = network_for_export(model, vocabulary, path)
    partial = path.with_name(f".{path.stem}.partial{ending}")
    try:
        convert(network, partial, form)
        example.check(run(partial, example.inputs), path)
        vocabulary.save(path.with_suffix(".vocabulary.txt"))
        os.rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def convert(model, path, form):
    """Writes a model in a form of `FORMS`, unseen."""
    # LiteRT has no operations for the loop of an LSTM, and neither form for that over chunks.
    kinds = {"onnx": CrossModalSelfAttention, "litert": (CrossModalSelfAttention, layers.LSTM)}
    loops = [(layer, layer.unroll) for layer in layers_of(model, kinds[form])]
    try:
        for layer, _ in loops:
            layer.unroll = True
        with silenced(), collecting_often():
            model.export(str(path), format=form, verbose=False)
    finally:
        for layer, unroll in loops:
            layer.unroll = unroll


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


def layers_of(model, kinds):
    """Yields the layers of some kinds in a model and in the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer, kinds)
        elif isinstance(layer, kinds):
            yield layer


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
