"""Export for engines outside of TensorFlow: ONNX and LiteRT, from pixels and word ids to masks."""

from pathlib import Path

from keras_cmsa.export import to_litert, to_onnx
from keras_cmsa.export.network import (
    check_exportable,
    check_masks,
    config_of_export,
    network_for_export,
)
from keras_cmsa.export.quantised import calibration_batches, quantise_litert, quantise_onnx
from keras_cmsa.presets.exported import litert_runner, onnx_runner
from keras_cmsa.presets.files import LITERT, ONNX, VOCABULARY, threshold_in
from keras_cmsa.presets.model_card import EXPORTED_AS, STORED_AS
from keras_cmsa.presets.preset import write_config
from keras_cmsa.presets.reference import write_reference
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import check_new, new_folder

# The libraries that an export needs, those that one in int8 needs too, and the name of the form.
FORMS = {
    "onnx": (("onnx", "tf2onnx", "onnxruntime"), (), "ONNX"),
    "litert": (("ai_edge_litert",), ("ai_edge_quantizer",), "LiteRT"),
}


def export_onnx(preset, folder, calibration=None):
    """Writes a model as ONNX into a new folder, whole or not at all.

    `model.onnx` takes the pixels of a photo of any size and word ids, and gives masks; what it takes
    and gives is in `keras_cmsa.export.graph.photo.PhotoGraph`. An engine of ONNX is all that it
    needs. Its masks are those of the profile `strict`.

    `network.onnx` is the network inside: `image` `(B, S, S, 3)` float32 RGB in 0..255, fitted to the
    square by the preprocessor, and `words` `(B, K, N)` int32, 0 at padding, to `logits`
    `(B, K, S, S, 1)` and, if the model has them, `exists` `(B, K)` in 0..1, `word_attention` and
    `position_attention` as in `with_attention`; B and K are free. It is what a predictor runs.

    Both have their weights in `weights.bin`. As a preset, the folder holds `vocabulary.txt`,
    `config.json` with the threshold of `exists`, a reference and a model card; `load_preprocessor`
    loads the preprocessor from it.

    Both files are run before they are kept, and their outputs are compared with those of the model.

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
        OtherOutputs: if a file gives other outputs than the model.
        ValueError: if the preprocessor does not fit the model, the model comes from an export, the
            Keras backend is not TensorFlow, or the calibration has no images.
    """
    return export(preset, folder, "onnx", calibration)


def export_litert(preset, folder, calibration=None):
    """Writes a model as LiteRT like `export_onnx`, in one file, `model.tflite`.

    Its signature `photo` is what `model.onnx` is there, and `serving_default` what `network.onnx` is.
    The library `ai-edge-litert` runs it.

    Args, returns, raises: as in `export_onnx`; the libraries are those of the extra `litert`.
    """
    return export(preset, folder, "litert", calibration)


def export(preset, folder, form, calibration=None):
    """Writes a folder in a form of `FORMS` and keeps it if its outputs are those of the model."""
    is_quantised = calibration is not None
    check_exportable(preset)
    check_libraries(form, is_quantised)
    folder = Path(folder)
    check_new(folder)
    from keras_cmsa.export.graph.photo import PhotoGraph  # which imports TensorFlow

    batches = calibration_batches(preset.preprocessor, calibration) if is_quantised else None
    dtype = "int8" if is_quantised else "float32"
    # LiteRT has no operations for the loop of an LSTM, and neither form for that over chunks.
    network, example = network_for_export(preset, unroll=True)
    config = config_of_export(preset, {EXPORTED_AS: FORMS[form][-1], STORED_AS: dtype})
    preprocessor = preset.preprocessor
    graph = PhotoGraph(
        preprocessor.image_size,
        preprocessor.resizing,
        len(preprocessor.vocabulary),
        threshold_in(config),
    )
    with new_folder(folder) as partial:
        if form == "onnx":
            to_onnx.write_network(network, partial / ONNX)
            if is_quantised:
                quantise_onnx(partial / ONNX, partial / ONNX, batches)
            to_onnx.write_photo(graph, partial)
            run, _ = onnx_runner(partial / ONNX)
        else:
            to_litert.write(network, partial / LITERT, graph)
            if is_quantised:
                quantise_litert(partial / LITERT, partial / LITERT, batches)
            run, _ = litert_runner(partial / LITERT, to_litert.NETWORK)
        example.check(run(**example.inputs), dtype)
        preprocessor.vocabulary.save(partial / VOCABULARY)
        write_config(partial, config)
        write_reference(partial, preset)
        check_masks(partial, preset)
    return folder


def check_libraries(form, is_quantised=False):
    """Raises a `ModuleNotFoundError` if an export to a form of `FORMS` lacks a library."""
    libraries, quantisers, _ = FORMS[form]
    for library in libraries + (quantisers if is_quantised else ()):
        require(library, form, f"An export to {form}")
