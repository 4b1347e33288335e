"""Post-training quantisation of exported networks: int8 weights and, from photos, int8 activations.

What is quantised are convolutions and products with weights, each with the ReLU behind it. Softmaxes,
the products of the attention before and after them, and all else stay in float32, and so do inputs
and outputs.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np

from keras_cmsa.data.record import by_image
from keras_cmsa.export.to_litert import PHOTO
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.silence import silenced

IMAGES = 100  # that ranges are taken from
SENTENCES = 8  # of an image at most
# ReLU6 is Clip. Left out, a convolution would spread its 8 bits over what its ReLU then drops.
ONNX_OPERATIONS = ("Conv", "MatMul", "Gemm", "Relu", "Clip")
LITERT_OPERATIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def calibration_batches(preprocessor, records):
    """Makes a network's inputs of images at even distances, with all their sentences.

    Args:
        preprocessor: `Preprocessor` of the network.
        records: list of `Record`, those of the training split. `IMAGES` of their images are taken, and
            of each the first `SENTENCES` sentences.

    Returns:
        List of dicts, one per image, of `image` `(1, S, S, 3)` float32 in 0..255 and `words`
        `(1, K, N)` int32, 0 at padding.

    Raises:
        ValueError: if there are no records, or an image cannot be read.
    """
    if not records:
        raise ValueError(
            "calibration has no images: wanted records of the training split. Received: none"
        )
    images = by_image(records)
    places = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().astype(int)
    chosen = [[records[i] for i in images[place][:SENTENCES]] for place in places]
    expressions = [record.expression for image in chosen for record in image]
    ends = np.cumsum([len(image) for image in chosen])[:-1]
    words = np.split(preprocessor.vocabulary.encode(expressions), ends)
    return [
        {"image": preprocessor.image(image[0].image())[None], "words": ids[None].astype("int32")}
        for image, ids in zip(chosen, words)
    ]


def quantise_onnx(source, target, batches):
    """Quantises an ONNX file of a network by ONNX Runtime's quantiser.

    Weights have a scale per channel. The file keeps the names of inputs and outputs and free axes.

    Args:
        source: the file, from `image` and `words` to outputs.
        target: the file to write; may be `source`.
        batches: list of dicts of inputs, at least one, as `calibration_batches` gives it.

    Raises:
        ModuleNotFoundError: if a library is missing; `pip install "keras-cmsa[onnx]"`.
    """
    quantization = require("onnxruntime.quantization", "onnx", "A quantised ONNX file")
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = iter(batches)

        def get_next(self):
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder, silenced():
        folded = Path(folder, "folded.onnx")
        quant_pre_process(source, folded, skip_symbolic_shape=True)  # which fails on its branches
        quantization.quantize_static(
            folded,
            target,
            Reader(),
            op_types_to_quantize=ONNX_OPERATIONS,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            nodes_to_exclude=products_of_activations(folded),
        )


def products_of_activations(path):
    """Names of an ONNX file's matrix products without a weight, those of attention."""
    import onnx

    graph = onnx.load(path).graph
    weights = {weight.name for weight in graph.initializer}
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    return [node.name for node in products if weights.isdisjoint(node.input)]


def quantise_litert(source, target, batches):
    """Quantises a LiteRT file of a network by LiteRT's quantiser, like `quantise_onnx`.

    Args, raises: as there; the libraries are those of the extra `litert`. Each signature is calibrated.
    """
    library = require("ai_edge_quantizer.quantizer", "litert", "A quantised LiteRT file")
    from ai_edge_quantizer.calibrator import CalibrationInterpreter, CalibrationMode
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    with silenced(), contextlib.redirect_stderr(io.StringIO()):  # a progress bar for each batch
        # The quantiser's own ranges are moving averages, which cut off what few images have.
        calibration = CalibrationInterpreter(
            str(source), CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS, min_max_update
        )
        for signature in calibration.get_signature_list():
            run = calibration.get_signature_runner(signature)
            for batch in batches:
                run(**(as_photo(batch) if signature == PHOTO else batch))
        quantizer = library.Quantizer(str(source))
        for operation in LITERT_OPERATIONS:
            quantizer.add_static_config(".*", operation, activation_num_bits=8, weight_num_bits=8)
        ranges = calibration.get_calibration_results()
        quantised = quantizer.quantize(ranges, enable_progress_report=False).quantized_model
    Path(target).write_bytes(quantised)


def as_photo(batch):
    """The inputs of the signature for photos: the square is a photo that nothing resizes."""
    return {"image": np.round(batch["image"][0]).astype("uint8"), "words": batch["words"][0]}
