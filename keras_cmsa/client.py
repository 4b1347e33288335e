"""Asking a server: TensorFlow Serving over HTTP or gRPC, with an exported model."""

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from keras_cmsa.image import to_pixels

# What a caller gets; the probabilities would be most of an answer.
WANTED = ("mask_png_bytes", "score", "box", "words", "valid")


class ServerError(RuntimeError):
    """What a server said of a request that it did not answer."""


class Unavailable(ServerError):
    """No server there, or none that is ready: worth another try."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What one expression means in one image of H x W pixels.

    Attributes:
        valid: False if the image could not be read or the expression has no word, or too many. The
            mask is then empty, and of the network's size where that of the image is unknown.
        mask: `(H, W)` bool.
        score: mean probability over the mask, in 0.5..1; 0 where it is empty.
        box: `(4,)` float, left, top, right and bottom of the mask as shares of width and height.
        words: the words as the model saw them.
        word_attention: `(L, len(words))` float32, or `None` if the model has none.
    """

    valid: bool
    mask: np.ndarray
    score: float
    box: np.ndarray
    words: list
    word_attention: np.ndarray | None


class Client:
    """Finds what expressions speak of in images, on a server.

        client = Client("http://localhost:8501")  # or "grpc://localhost:8500"
        client.segment("photo.jpg", "man in yellow shirt").mask

    Needs `pip install "keras-cmsa[client]"`.

    Args:
        url: of the server: `http`, `https` or `grpc`, host and port.
        model: name of the model there.
        version: number of its version; `None`: the server's choice.
        timeout: seconds that an attempt may take.
        attempts: how often to ask a server that is not there or not ready.

    Raises:
        ValueError: if the URL has another scheme or no host.
        ModuleNotFoundError: if a library is missing.
    """

    def __init__(self, url, model="cmsa", version=None, timeout=30.0, attempts=4):
        kinds = {"http": Http, "https": Http, "grpc": Grpc}
        parts = urlsplit(url)
        if parts.scheme not in kinds or not parts.hostname:
            raise ValueError(
                "url must be http://host:port, https://host:port or grpc://host:port. "
                f"Received: {url!r}"
            )
        try:
            import tenacity

            self.protocol = kinds[parts.scheme](parts, model, version, timeout)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'{error.name} is missing: pip install "keras-cmsa[client]"'
            ) from error
        self.retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )

    def segment(self, image, expression):
        """One image and one expression, or lists of as many of both, which go as one batch.

        Args:
            image: a path or the bytes of a JPEG, PNG, BMP or GIF file, which are sent as they are;
                or an array or Pillow image, sent as PNG.
            expression: `str`.

        Returns:
            `Answer`, or a list of them.

        Raises:
            ServerError: with the server's own message.
            ValueError: if there are not as many images as expressions.
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
        rows = self.retrying(self.protocol.predict, list(map(file_of, image)), list(expression))
        return [
            answer_of({name: column[i] for name, column in rows.items()}) for i in range(len(image))
        ]

    def close(self):
        """Closes the connections."""
        self.protocol.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Http:
    """TensorFlow Serving's REST API, in columns."""

    def __init__(self, parts, model, version, timeout):
        import requests

        self.requests = requests
        self.session = requests.Session()
        chosen = "" if version is None else f"/versions/{version}"
        place = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.url = f"{place}/v1/models/{model}{chosen}:predict"
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
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self.grpc = grpc
        # Masks of a batch soon exceed the 4 MB that gRPC takes by default.
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(parts.netloc, options=unlimited)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
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
        request.output_filter.extend(WANTED)
        if self.has_attention:
            request.output_filter.append("word_attention")
        code = self.grpc.StatusCode
        try:
            reply = self.stub.Predict(request, timeout=self.timeout)
        except self.grpc.RpcError as error:
            if error.code() == code.INVALID_ARGUMENT and self.has_attention:
                if "word_attention" in error.details():  # not among the model's outputs
                    self.has_attention = False
                    return self.predict(files, expressions)
            kind = Unavailable if error.code() == code.UNAVAILABLE else ServerError
            raise kind(f"{error.code().name}: {error.details()}") from error
        outputs = {name: tf.make_ndarray(x) for name, x in reply.outputs.items()}
        outputs["words"] = [[word.decode() for word in row] for row in outputs["words"]]
        return outputs

    def close(self):
        self.channel.close()


def file_of(image):
    """The bytes to send of an image."""
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    file = io.BytesIO()
    Image.fromarray(to_pixels(image)).save(file, "PNG")
    return file.getvalue()


def answer_of(row):
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
