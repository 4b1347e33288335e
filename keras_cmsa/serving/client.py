"""A client of TensorFlow Serving, over HTTP or gRPC, for exported models."""

import base64
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from keras_cmsa.preprocessing.reading import read_image, to_pixels
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import as_png

# The outputs of an answer. The probabilities are left out: they would be most of its bytes.
OUTPUTS = ("mask_png_bytes", "score", "box", "words", "exists", "valid")


class ServerError(RuntimeError):
    """A server refused a request, in which case the message is the server's, or gave no answer."""


class Unavailable(ServerError):
    """There is no server, it is not ready, or its answer broke off; another try may succeed."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The server's answer for one expression in one image of H x W pixels.

    Attributes:
        valid: False if the image could not be read or the expression has no word or too many. The
            mask is then empty, and has the network's size if the size of the image is unknown.
        exists: whether anything in the image fits; if not, the mask is empty.
        mask: `(H, W)` bool.
        score: mean probability over the mask, in 0.5..1; 0 if the mask is empty.
        box: `(4,)` float32, left, top, right and bottom of the mask as shares of width and height.
        words: list of the words that the model read.
        word_attention: `(L, len(words))` float32, or `None` if the model has none.
    """

    valid: bool
    exists: bool
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
        url: address of the server, with `http`, `https` or `grpc`, a host and a port. That of HTTP
            may have a user and a password, which no message shows.
        model: name of the model on the server.
        version: version of the model, an integer; `None`: the server chooses.
        timeout: time limit of an attempt in seconds, from the connection to the answer's last byte.
        attempts: number of attempts at most, if the server is not there or not ready, or its answer
            breaks off.

    Raises:
        ModuleNotFoundError: if a library is missing.
        ValueError: if the URL has another scheme or no host.
    """

    def __init__(self, url, model="cmsa", version=None, timeout=30.0, attempts=4):
        parts = split_address(url)
        tenacity = require("tenacity", "client", "The client")
        self.protocol = PROTOCOLS[parts.scheme](parts, model, version, timeout)
        self.retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )

    def segment(self, image, expression):
        """Segments one image by one or many expressions, or many images by one expression each.

        A list is sent as one request; many expressions about one image share its work.

        Args:
            image: the path or the bytes of a JPEG or PNG file, which is sent unchanged;
                or an array or Pillow image, which is sent as PNG; or a list of these.
            expression: `str` or a list of `str`; for a list of images a list of the same length.

        Returns:
            `Answer`, or a list of `Answer`, as `expression` is.

        Raises:
            ServerError: if the server refuses the request, with the server's message; or if what
                comes is late, cut short, or no answer of a model that this package exported.
            ValueError: if the lists differ in length.
        """
        if isinstance(expression, str):
            (answer,) = self.segment(image, [expression])
            return answer
        if isinstance(image, (list, tuple)) and len(image) != len(expression):
            raise ValueError(
                "wanted an expression for each image of a list. Received: "
                f"{len(image)} images, {len(expression)} expressions"
            )
        if not len(expression):
            return []
        files = image if isinstance(image, (list, tuple)) else [image]
        return self._ask(files, expression)

    def outputs(self, image, expressions):
        """The answers about one image with the probabilities, which `Answer` leaves out.

        Args:
            image: as in `segment`, but no list.
            expressions: list of K `str`.

        Returns:
            Probabilities `(K, S, S)` float32; `existence` `(K,)` float32, `None` of a model without;
            masks `(K, H, W)` bool.

        Raises:
            ServerError: as `segment`.
        """
        return self._ask([image], expressions, whole=True)

    def _ask(self, images, expressions, whole=False):
        """What `segment` returns for lists, or `outputs` if `whole`."""
        signature, count = "serving_default", len(expressions)
        inputs = {"image_bytes": [image_file(image) for image in images]}
        if len(images) < count:
            inputs["expressions"], signature = [list(expressions)], "segment_many"
        else:
            inputs["expression"] = list(expressions)
        reply = self.retrying(self.protocol.predict, signature, inputs, whole)
        try:
            columns = self.protocol.columns(reply)
            if signature == "segment_many":
                columns = {name: x[0] for name, x in columns.items()}
            if lengths := {name: len(x) for name, x in columns.items() if len(x) != count}:
                raise ValueError(f"wanted {count} rows. Received: {lengths}")
            rows = [{name: x[row] for name, x in columns.items()} for row in range(count)]
            answers = [to_answer(row) for row in rows]
            if not whole:
                return answers
            existence = columns.get("existence")
            return (
                np.asarray(columns["probabilities"], "float32"),
                None if existence is None else np.asarray(existence, "float32"),
                np.stack([answer.mask for answer in answers]),
            )
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ServerError(
                f"{self.protocol.url}: wanted the outputs {', '.join(OUTPUTS)} of a model that "
                f"keras-cmsa exported, for each expression. Received: {str(reply)[:200]!r}"
            ) from error

    def close(self):
        """Closes the connections."""
        self.protocol.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Http:
    """TensorFlow Serving's REST API, in its column format. Each request has its own connection."""

    def __init__(self, parts, model, version, timeout):
        self.httpx = httpx = require("httpx", "client", "The client")
        chosen = "" if version is None else f"/versions/{version}"
        host, base = parts.netloc.rpartition("@")[2], parts.path.rstrip("/")
        self.url = f"{parts.scheme}://{host}{base}/v1/models/{quote(model)}{chosen}:predict"
        self.timeout = timeout
        user, password = (unquote(part or "") for part in (parts.username, parts.password))
        self.options = {
            "auth": (user, password) if user or password else None,
            "verify": httpx.create_ssl_context(),
            "timeout": None,  # httpx has one for each read; `post` has one for all of them
        }

    def predict(self, signature, inputs, whole=False):
        """The text of the reply, which is always whole."""
        images = [{"b64": base64.b64encode(x).decode("ascii")} for x in inputs["image_bytes"]]
        inputs = {**inputs, "image_bytes": images}
        reply = self.post({"signature_name": signature, "inputs": inputs})
        if reply.has_redirect_location:
            raise ServerError(
                f"{self.url} sends on to {without_user(reply.headers['location'])}, where no photo "
                "is sent unasked: give that server as url if you trust it"
            )
        if reply.status_code != 200:
            try:
                message = reply.json()["error"]
            except (ValueError, LookupError, TypeError, RecursionError):
                message = reply.text
            kind = Unavailable if reply.status_code in (502, 503) else ServerError
            raise kind(f"{self.url}: {reply.status_code}: {str(message)[:500]}")
        return reply.text

    def post(self, body):
        """The whole reply; a redirection is not followed."""
        import anyio  # httpx needs it too
        from anyio.from_thread import start_blocking_portal

        async def send():
            with anyio.fail_after(self.timeout):
                async with self.httpx.AsyncClient(**self.options) as client:
                    return await client.post(self.url, json=body)

        try:
            # A loop of its own, in a thread of its own: a caller may have one running.
            with start_blocking_portal() as portal:
                return portal.call(send)
        except TimeoutError as error:
            raise ServerError(f"{self.url}: no whole answer within {self.timeout} s") from error
        except self.httpx.TransportError as error:
            raise Unavailable(f"{self.url}: {error or type(error).__name__}") from error
        except self.httpx.RequestError as error:  # such as what is not as compressed as it says
            raise ServerError(f"{self.url}: wanted an answer. Received: {error}") from error

    def columns(self, reply):
        """The outputs of a reply."""
        return json.loads(reply, object_hook=decoded)["outputs"]

    def close(self):
        pass


class Grpc:
    """TensorFlow Serving's `PredictionService`."""

    def __init__(self, parts, model, version, timeout):
        self.grpc = grpc = require("grpc", "client", "The client")
        apis = "tensorflow_serving.apis"
        predict_pb2 = require(f"{apis}.predict_pb2", "client", "The client")
        services = require(f"{apis}.prediction_service_pb2_grpc", "client", "The client")
        # The masks of a batch easily exceed gRPC's default limit of 4 MB.
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.url = f"grpc://{parts.netloc}"
        self.channel = grpc.insecure_channel(parts.netloc, options=unlimited)
        self.stub = services.PredictionServiceStub(self.channel)
        self.request = predict_pb2.PredictRequest
        self.model, self.version, self.timeout = model, version, timeout
        self.has_attention = True

    def predict(self, signature, inputs, whole=False):
        """The reply, a message; with the probabilities if `whole`."""
        import tensorflow as tf

        message = self.request()
        message.model_spec.name = self.model
        message.model_spec.signature_name = signature
        if self.version is not None:
            message.model_spec.version.value = self.version
        for name, values in inputs.items():
            message.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        if not whole:
            message.output_filter.extend([*OUTPUTS, *["word_attention"] * self.has_attention])
        code = self.grpc.StatusCode
        try:
            return self.stub.Predict(message, timeout=self.timeout)
        except self.grpc.RpcError as error:
            if error.code() == code.INVALID_ARGUMENT and self.has_attention:
                if "word_attention" in error.details():  # the model does not have this output
                    self.has_attention = False
                    return self.predict(signature, inputs)
            kind = Unavailable if error.code() == code.UNAVAILABLE else ServerError
            raise kind(f"{self.url}: {error.code().name}: {error.details()}") from error

    def columns(self, reply):
        """The outputs of a reply."""
        import tensorflow as tf

        outputs = {name: tf.make_ndarray(x) for name, x in reply.outputs.items()}
        return {**outputs, "words": np.char.decode(outputs["words"].astype("S"), "utf-8").tolist()}

    def close(self):
        self.channel.close()


PROTOCOLS = {"http": Http, "https": Http, "grpc": Grpc}


def split_address(url):
    """The parts of a server's address, as `urlsplit` names them.

    Raises:
        ValueError: if it is none; the message has no user and no password.
    """
    try:
        parts = urlsplit(url)
        behind_host = f"{parts.path}{parts.query}{parts.fragment}"
        known = parts.scheme in PROTOCOLS and parts.hostname and parts.port != 0
        # A password with a / would end the host's name early, and gRPC has no use for one.
        known = known and "@" not in (url if parts.scheme == "grpc" else behind_host)
        known = known and url.isprintable()
    except ValueError:  # a port that is no number, half an address of IPv6
        known = False
    if not known:
        raise ValueError(
            "url must be http://host:port, https://host:port or grpc://host:port; that of HTTP may "
            "have user:password@ before the host, with %2F for a / and so on. "
            f"Received: {without_user(url)!r}"
        )
    return parts


def without_user(url):
    """An address to show: what stands before its last @ may be a password."""
    return re.sub("^([a-z]+://)?.*@", r"\1...@", url, flags=re.DOTALL)


def decoded(value):
    """An object of a reply in JSON; a file as its bytes."""
    return base64.b64decode(value["b64"]) if "b64" in value else value


def image_file(image):
    """The bytes of the image file to send."""
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    return as_png(to_pixels(image))


def to_answer(row):
    """The `Answer` for a dict of one row's outputs."""
    words = [word for word in row["words"] if word]
    attention = row.get("word_attention")
    return Answer(
        valid=bool(row["valid"]),
        exists=bool(row["exists"]),
        mask=read_image(io.BytesIO(row["mask_png_bytes"]))[..., 0] > 0,  # a text is no path
        score=float(row["score"]),
        box=np.reshape(row["box"], 4).astype("float32"),
        words=words,
        word_attention=(
            None if attention is None else np.asarray(attention, "float32")[:, : len(words)]
        ),
    )
