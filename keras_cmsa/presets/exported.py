"""Exports as Keras models, for the predictor."""

import threading
from pathlib import Path

import keras

from keras_cmsa.presets.files import GRAPH, LITERT, ONNX, ONNX_PHOTO
from keras_cmsa.presets.safe_loading import loading
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.silence import silenced

SERVED = "segment_many"  # the signature that `server_of` asks
NETWORK = {"image": 4, "words": 3}  # the inputs of a network and their axes


def load_export(path, config):
    """The network of an export as a Keras model, for inference alone.

    A SavedModel is a program: TensorFlow runs its graph. Load only those you trust. ONNX Runtime
    and LiteRT compute the others.

    Args:
        path: of its file, as `network_file` gives it.
        config: the `config.json` beside it, a dict.

    Returns:
        `keras.Model` from `image` and `words` to a dict with `logits` and the attention maps.

    Raises:
        ModuleNotFoundError: if onnxruntime or ai-edge-litert is missing, or tensorflow-text for a
            SavedModel of word pieces.
        ValueError: if it is damaged, or Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{path} is an export, which needs KERAS_BACKEND=tensorflow. "
            f"Received: {keras.backend.backend()!r}"
        )
    if path.name == GRAPH:
        network = saved_network(path.parent, config)
    elif path.name == ONNX:
        # The other providers compile the network for minutes, or ask a service.
        gpu_first = "CUDAExecutionProvider", "CPUExecutionProvider"
        network = on_arrays(*onnx_runner(path, providers=gpu_first))
    else:
        network = on_arrays(*litert_runner(path, "serving_default"))
    settings = config["preprocessor"]
    size, max_words = settings["image_size"], settings["max_words"]
    inputs = {
        "image": keras.Input((size, size, 3), name="image"),
        "words": keras.Input((None, max_words), dtype="int32", name="words"),
    }
    with loading(path):  # it may lack an output
        return keras.Model(inputs, network(inputs), name=config["system"])


def saved_network(path, config):
    """The `Network` in the folder of a version that `export_saved_model` wrote."""
    if config["preprocessor"].get("tokenizer") == "wordpiece":
        require("tensorflow_text", "wordpiece", "A SavedModel of word pieces")  # its operations
    import tensorflow as tf

    with loading(path):
        with silenced():  # TensorFlow's notes on standard error
            loaded = tf.saved_model.load(str(path))
        signature, _ = (loaded.signatures[name] for name in ("tensors", SERVED))
        shapes = {name: spec.shape for name, spec in signature.structured_outputs.items()}
        return Network(signature, shapes, owner=loaded)


def load_photo_graph(folder):
    """The graph from pixels to masks in a folder of `export_onnx` or `export_litert`.

    Args:
        folder: `Path`.

    Returns:
        Function of `image` `(H, W, 3)` uint8 and `words` `(K, N)` int32 to a dict of arrays, as
        `PhotoGraph` gives them; `None` if the folder has no such graph.

    Raises:
        ModuleNotFoundError: if onnxruntime, or ai-edge-litert, is missing.
        ValueError: if the file is damaged, or another network.
    """
    if (path := Path(folder) / ONNX_PHOTO).is_file():
        return onnx_runner(path, {"image": 3, "words": 2})[0]
    if (path := Path(folder) / LITERT).is_file():
        return litert_runner(path, "photo")[0]
    return None


def onnx_runner(path, ranks=NETWORK, providers=("CPUExecutionProvider",)):
    """The function of arrays that an ONNX file computes, and the dict of the shapes of its outputs.

    The file has the inputs of the dict `ranks`, with so many axes. Of the `providers` of ONNX
    Runtime, the best first, those that are not there are left out.
    """
    onnxruntime = require("onnxruntime", "onnx", f"{path}")
    with loading(path):
        available = [x for x in providers if x in onnxruntime.get_available_providers()]
        session = onnxruntime.InferenceSession(path, providers=available)
        inputs = {x.name: len(x.shape) for x in session.get_inputs()}
        if inputs != ranks:
            raise ValueError(f"wanted inputs with so many axes: {ranks}. Received: {inputs}")
    shapes = {output.name: output.shape for output in session.get_outputs()}

    def run(image, words):
        return dict(zip(shapes, session.run([*shapes], {"image": image, "words": words})))

    return run, shapes


def litert_runner(path, signature):
    """As `onnx_runner`, of a signature of a LiteRT file."""
    interpreters = require("ai_edge_litert.interpreter", "litert", f"{path}")
    with loading(path):
        run = interpreters.Interpreter(str(path)).get_signature_runner(signature)
        shapes = {name: x["shape"] for name, x in run.get_output_details().items()}
    lock = threading.Lock()

    def ask(image, words):
        with lock:  # an interpreter mixes the calls of several threads
            return run(image=image, words=words)

    return ask, shapes


def server_of(model):
    """What a server makes of a picture by the SavedModel of a model of `load_export`.

    Returns:
        Function of the bytes of an image file and a list of K sentences to a dict of arrays, those
        of the signature `segment_many` about one image.
    """
    import tensorflow as tf

    loaded = next(layer.owner for layer in model.layers if isinstance(layer, Network))

    def ask(file, sentences):  # `loaded` stays alive with this function, and the weights with it
        outputs = loaded.signatures[SERVED](
            image_bytes=tf.constant([file]), expressions=tf.constant([sentences])
        )
        return {name: x[0].numpy() for name, x in outputs.items()}

    return ask


def on_arrays(function, shapes):
    """The `Network` of a function of NumPy arrays `image` and `words` to a dict of them."""
    import tensorflow as tf

    def compute(image, words):
        outputs = function(image, words)
        return [outputs[name] for name in shapes]

    def run(image, words):
        outputs = tf.numpy_function(compute, [image, words], [tf.float32] * len(shapes))
        return dict(zip(shapes, outputs))

    return Network(run, shapes)


def is_export(model):
    """Whether a model is one of these, whose weights another library keeps."""
    return any(isinstance(layer, Network) for layer in model.layers)


class Network(keras.layers.Layer):
    """A layer whose output, a dict, another library computes.

    Args:
        function: from `image` and `words` to a dict of tensors.
        shapes: dict of their shapes; the first two sizes, B and K, are free.
        owner: what keeps the weights of the function alive.
    """

    def __init__(self, function, shapes, owner=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False
        self.owner = owner
        self.function = function
        self.shapes = {name: (None, None, *shape[2:]) for name, shape in shapes.items()}

    def call(self, inputs):
        outputs = self.function(**inputs)
        for name, shape in self.shapes.items():
            outputs[name].set_shape(shape)
        return outputs

    def compute_output_spec(self, inputs):
        return {name: keras.KerasTensor(shape, "float32") for name, shape in self.shapes.items()}
