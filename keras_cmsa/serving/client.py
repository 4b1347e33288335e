"""A client of TensorFlow Serving, over HTTP or gRPC, for exported models."""

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from keras_cmsa.preprocessing.reading import to_pixels
from keras_cmsa.utils.extras import require

# The outputs of an answer. The probabilities are left out: they would be most of its bytes.
OUTPUTS = ("mask_png_bytes", "score", "box", "words", "valid")


class ServerError(RuntimeError):
    """A server refused a request; the message is the server's."""


class Unavailable(ServerError):
    """There is no server or it is not ready; another try may succeed."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The server's answer for one expression in one image of H x W pixels.

    Attributes:
        valid: False if the image could not be read or the expression has no word or too many. The
            mask is then empty, and has the network's size if the size of the image is unknown.
        mask: `(H, W)` bool.
        score: mean probability over the mask, in 0.5..1; 0 if the mask is empty.
        box: `(4,)` float32, left, top, right and bottom of the mask as shares of width and height.
        words: list of the words that the model read.
        word_attention: `(L, len(words))` float32, or `None` if the model has none.
    """

    valid: bool
    mask: np.ndarray
    score: float
    box: np.ndarray
    words: list
    word_attention: np.ndarray | None


class Client:
    """Finds what expressions refer to in images, with a model on a server.

        client = Client("http://localhost:8501")  # or "grpc://localhost:8500"
        client.segment("photo.jpg", "man in yellow shirt").mask

    Needs `pip install "keras-cmsa[client]"`.

    Args:
        url: address of the server, with `http`, `https` or `grpc`, a host and a port.
        model: name of the model on the server.
        version: version of the model, an integer; `None`: the server chooses.
        timeout: time limit of an attempt in seconds.
        attempts: number of attempts at most, if the server is not there or not ready.

    Raises:
        ModuleNotFoundError: if a library is missing.
        ValueError: if the URL has another scheme or no host.
    """

    def __init__(self, url, model="cmsa", version=None, timeout=30.0, attempts=4):
        kinds = {"http": Http, "https": Http, "grpc": Grpc}
        parts = urlsplit(url)
        if parts.scheme not in kinds or not parts.hostname:
            raise ValueError(
                "url must be http://host:port, https://host:port or grpc://host:port. "
                f"Received: {url!r}"
            )
        tenacity = require("tenacity", "client", "The client")
        self.protocol = kinds[parts.scheme](parts, model, version, timeout)
        self.retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )

    def segment(self, image, expression):
        """Segments one image by one expression, or a list of images by a list of expressions.

        A list is sent as one batch.

        Args:
            image: the path or the bytes of a JPEG, PNG, BMP or GIF file, which is sent unchanged;
                or an array or Pillow image, which is sent as PNG; or a list of these.
            expression: `str`, or a list of `str` of the same length.

        Returns:
            `Answer`, or a list of `Answer`.

        Raises:
            ServerError: if the server refuses the request; with the server's message.
            ValueError: if the lists differ in length.
        """
        if isinstance(expression, str):
            (answer,) = self.segment([image], [expression])
            return answer
        if isinstance(image, (str, bytes)) or len(image) != len(expression):
            raise ValueError(
                "wanted an image for each expression. Received: "
                f"image={type(image).__name__}, {len(expression)} expressions"
            )
        if not len(image):
            return []
        files = [image_file(x) for x in image]
        columns = self.retrying(self.protocol.predict, files, list(expression))
        rows = ({name: column[i] for name, column in columns.items()} for i in range(len(files)))
        return [to_answer(row) for row in rows]

    def close(self):
        """Closes the connections."""
        self.protocol.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Http:
    """TensorFlow Serving's REST API, in its column format."""

    def __init__(self, parts, model, version, timeout):
        self.requests = requests = require("requests", "client", "The client")
        self.session = requests.Session()
        chosen = "" if version is None else f"/versions/{version}"
        base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.url = f"{base}/v1/models/{model}{chosen}:predict"
        self.timeout = timeout

    def predict(self, files, expressions):
        images = [{"b64": base64.b64encode(file).decode("ascii")} for file in files]
        body = {"inputs": {"image_bytes": images, "expression": expressions}}
        try:
            reply = self.session.post(self.url, json=body, timeout=self.timeout)
        except self.requests.ConnectionError as error:
            raise Unavailable(f"{self.url}: {error}") from error
        except self.requests.Timeout as error:
            raise ServerError(f"{self.url}: no answer within {self.timeout} s") from error
        if reply.status_code != 200:
            try:
                message = reply.json()["error"]
            except (ValueError, KeyError, TypeError):
                message = reply.text[:500]
            kind = Unavailable if reply.status_code in (502, 503) else ServerError
            raise kind(f"{reply.status_code}: {message}")
        outputs = reply.json()["outputs"]
        outputs["mask_png_bytes"] = [base64.b64decode(x["b64"]) for x in outputs["mask_png_bytes"]]
        return outputs

    def close(self):
        self.session.close()


class Grpc:
    """TensorFlow Serving's `PredictionService`."""

    def __init__(self, parts, model, version, timeout):
        self.grpc = grpc = require("grpc", "client", "The client")
        apis = "tensorflow_serving.apis"
        predict_pb2 = require(f"{apis}.predict_pb2", "client", "The client")
        services = require(f"{apis}.prediction_service_pb2_grpc", "client", "The client")
        # The masks of a batch easily exceed gRPC's default limit of 4 MB.
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(parts.netloc, options=unlimited)
        self.stub = services.PredictionServiceStub(self.channel)
        self.request = predict_pb2.PredictRequest
        self.model, self.version, self.timeout = model, version, timeout
        self.has_attention = True

    def predict(self, files, expressions):
        import tensorflow as tf

        request = self.request()
        request.model_spec.name = self.model
        request.model_spec.signature_name = "serving_default"
        if self.version is not None:
            request.model_spec.version.value = self.version
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files))
        texts = [text.encode() for text in expressions]
        request.inputs["expression"].CopyFrom(tf.make_tensor_proto(texts))
        request.output_filter.extend(OUTPUTS)
        if self.has_attention:
            request.output_filter.append("word_attention")
        code = self.grpc.StatusCode
        try:
            reply = self.stub.Predict(request, timeout=self.timeout)
        except self.grpc.RpcError as error:
            if error.code() == code.INVALID_ARGUMENT and self.has_attention:
                if "word_attention" in error.details():  # the model does not have this output
                    self.has_attention = False
                    return self.predict(files, expressions)
            kind = Unavailable if error.code() == code.UNAVAILABLE else ServerError
            raise kind(f"{error.code().name}: {error.details()}") from error
        outputs = {name: tf.make_ndarray(x) for name, x in reply.outputs.items()}
        outputs["words"] = [[word.decode() for word in row] for row in outputs["words"]]
        return outputs

    def close(self):
        self.channel.close()


def image_file(image):
    """The bytes of the image file to send."""
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    file = io.BytesIO()
    Image.fromarray(to_pixels(image)).save(file, "PNG")
    return file.getvalue()


def to_answer(row):
    """The `Answer` for a dict of one row's outputs."""
    words = [word for word in row["words"] if word]
    attention = row.get("word_attention")
    with Image.open(io.BytesIO(row["mask_png_bytes"])) as mask:
        mask = np.asarray(mask) > 0
    return Answer(
        valid=bool(row["valid"]),
        mask=mask,
        score=float(row["score"]),
        box=np.asarray(row["box"], "float32"),
        words=words,
        word_attention=(
            None if attention is None else np.asarray(attention, "float32")[:, : len(words)]
        ),
    )
