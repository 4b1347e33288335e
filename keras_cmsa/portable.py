"""The network alone for people outside TensorFlow: tensors in, tensors out, as ONNX or LiteRT."""

import importlib.util
import os
from pathlib import Path

import keras
import numpy as np

from keras_cmsa.cmsa import telling_all
from keras_cmsa.export import check_exportable
from keras_cmsa.folding import fold_batch_norms
from keras_cmsa.quiet import quiet

LIBRARIES = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
TOLERANCE = 1e-3  # of the largest value of an output


def export_onnx(model, vocabulary, path, fold_norms=False):
    """Writes an ONNX file, and the vocabulary beside it.

    Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255, fitted to the square, and `words` `(B, N)`
    int32, 0 at padding. Outputs: `logits` `(B, S, S, 1)` and, where the model has them,
    `word_attention` and `position_attention`, as `with_attention` gives them.

    Args:
        model: functional, from `image` and `words` to logits.
        vocabulary: the `Vocabulary` it was trained with; saved as `<name>.vocabulary.txt`.
        path: of the file, ending in `.onnx`.
        fold_norms: fold batch normalisations into convolutions, see `fold_batch_norms`.

    Returns:
        `Path` of the file.

    Raises:
        FileExistsError: if the file is there already.
        ModuleNotFoundError: if a library is missing; `pip install "keras-cmsa[onnx]"`.
        RuntimeError: if what was written does not compute what the model does: it is run first.
        ValueError: if the vocabulary does not fit, the ending is another, or Keras runs on another
            backend than TensorFlow.
    """
    return export(model, vocabulary, path, fold_norms, "onnx", ".onnx", run_onnx)


def export_litert(model, vocabulary, path, fold_norms=False):
    """Writes a LiteRT file, ending in `.tflite`: else as `export_onnx`.

    It has one signature, `serving_default`. Run it with `ai-edge-litert`; `keras-cmsa[litert]`.
    """
    return export(model, vocabulary, path, fold_norms, "litert", ".tflite", run_litert)


def export(model, vocabulary, path, fold_norms, form, ending, run):
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"An export to {form} goes through TensorFlow: set KERAS_BACKEND=tensorflow, which loads "
            f"models that other backends trained. Received: {keras.backend.backend()!r}"
        )
    for library in LIBRARIES[form]:
        if not importlib.util.find_spec(library):
            raise ModuleNotFoundError(f'{library} is missing: pip install "keras-cmsa[{form}]"')
    check_exportable(model, vocabulary)
    path = Path(path)
    if path.suffix != ending:
        raise ValueError(f"The file's name must end in {ending}. Received: {path}")
    if path.exists():
        raise FileExistsError(f"{path} is there already: give another name or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    telling = telling_all(fold_batch_norms(model) if fold_norms else model)
    inputs = probe(telling, len(vocabulary))
    wanted = telling.predict_on_batch(inputs)
    partial = path.with_name(f".{path.stem}.partial{ending}")
    try:
        with quiet():
            telling.export(str(partial), format=form, verbose=False)
        compare(run(partial, inputs), wanted, path)
        vocabulary.save(path.with_suffix(".vocabulary.txt"))
        os.rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def probe(model, vocabulary_size):
    """Two images of noise and expressions of different lengths."""
    rng = np.random.default_rng(0)
    shape = model.input["image"].shape[1:]
    words = rng.integers(1, vocabulary_size, (2, model.input["words"].shape[1])).astype("int32")
    words[1, 1:] = 0
    return {"image": rng.uniform(0, 255, (2, *shape)).astype("float32"), "words": words}


def compare(found, wanted, path):
    for name, value in wanted.items():
        error = np.abs(found[name] - value).max() / max(1.0, np.abs(value).max())
        if not error <= TOLERANCE:
            raise RuntimeError(
                f"{path} was converted, but gives other {name} than the model: the difference is "
                f"{error:.2g} of the largest value. Nothing was kept"
            )


def run_onnx(path, inputs):
    """Outputs by name of an ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs))))


def run_litert(path, inputs):
    """Outputs by name of a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()(**inputs)
