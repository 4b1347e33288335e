"""The model inside Label Studio: the routes that the tool asks of its ML backend. Extra `demo`.

    GET  /health     whether the server is up
    POST /setup      the labelling interface of a project, which must have an image and brush labels
    POST /predict    tasks; brush regions with score and phrase come back
    POST /webhook    a submitted annotation, which a table collects to train on

https://labelstud.io/guide/ml_create has the routes, https://labelstud.io/guide/webhook_reference what
a webhook sends. A bad request is answered by status 400 and `{"error": reason}`.
"""

import sys
import threading
import warnings
from xml.etree import ElementTree

from keras_cmsa.data.brush import decode_brush
from keras_cmsa.data.masks import run_lengths
from keras_cmsa.data.readers.entries import field, located
from keras_cmsa.data.writers import Interface, label_studio_prediction
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.messages import in_words

MAX_BODY = 32 * 2**20  # of a request
MAX_PIXELS = 30_000_000  # of an image; the photo of a phone has 12 million
MAX_TASKS = 100  # of a request
MAX_PHRASES = 100  # of a task
LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]
EVENTS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


class Backend:
    """What the routes do; FastAPI reads a body of JSON where they want a `dict`.

    Args:
        predictor: `Predictor`.
        name: of the model, in each prediction.
        images: `Images`.
        table: `CollectedTable` for annotations; `None`: they are not collected.
    """

    def __init__(self, predictor, name, images, table=None):
        self.predictor, self.name, self.images, self.table = predictor, name, images, table
        self.lock = threading.Lock()  # the predictor and the table are for one thread at a time

    def setup(self, request: dict):
        """The answer to `/setup`."""
        interface_of(field(request, "schema", str, "setup"))
        return {"model_version": self.name}

    def predict(self, request: dict):
        """The answer to `/predict`: a prediction for each task.

        The phrases are those of the context, which a person has just typed, else those of the task.
        """
        names = interface_of(field(request, "label_config", str, "predict"))
        tasks = field(request, "tasks", list, "predict")
        if len(tasks) > MAX_TASKS:
            raise ValueError(f"wanted at most {MAX_TASKS} tasks. Received: {len(tasks)}")
        params = request.get("params")
        context = (params.get("context") if isinstance(params, dict) else None) or {}
        typed = [
            phrase
            for result in results_in(context, "context")
            if result.get("type") == "textarea" and result.get("from_name") != names.phrase
            for phrase in phrases_in(field(result, "value", dict, "context").get("text"))
        ]
        return {"results": [self.predict_task(task, typed, names) for task in tasks]}

    def predict_task(self, task, typed, names):
        data = field(task, "data", dict, "task")
        phrases = typed or phrases_in(data.get(names.text_key))
        if len(phrases) > MAX_PHRASES:
            raise ValueError(f"wanted at most {MAX_PHRASES} phrases. Received: {len(phrases)}")
        if not phrases:  # the tool asks for every task before anyone has typed
            return label_studio_prediction([], self.name, names)
        file = self.images.read(field(data, names.image_key, str, "task"))
        pixels = read_image(file, MAX_PIXELS)
        with self.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unknown words, which the tool cannot show
            predictions = self.predictor(pixels, phrases)
        return label_studio_prediction(drained(predictions), self.name, names)

    def webhook(self, request: dict):
        """The answer to `/webhook`, after the table has the rows of a submitted annotation."""
        action = field(request, "action", str, "webhook")
        if self.table is None or action not in EVENTS:
            return {"status": "ignored"}
        annotation, task, project = (
            field(request, key, dict, "webhook") for key in ("annotation", "task", "project")
        )
        if annotation.get("was_cancelled"):  # the task was skipped
            return {"status": "ignored"}
        names = interface_of(field(project, "label_config", str, "project"))
        data, number = field(task, "data", dict, "task"), field(annotation, "id", int, "annotation")
        file = self.images.read(field(data, names.image_key, str, "task"))
        height, width, _ = read_image(file, MAX_PIXELS).shape
        phrases = phrases_in(data.get(names.text_key))
        masks = masks_in(annotation, phrases, height, width)
        with self.lock:
            self.table.take(number, file, masks)
        return {"status": "collected", "rows": len(masks)}


def drained(predictions):
    """Yields `(phrase, mask, score)` of those that found something.

    It takes them out of their list: each keeps five bytes a pixel once it is asked for its mask.
    """
    while predictions:
        prediction = predictions.pop(0)
        if prediction.mask.any():
            yield prediction.expression, prediction.mask, prediction.score


def masks_in(annotation, task_phrases, height, width):
    """The masks of an annotation: `{phrase: list of COCO's run lengths}`, empty where nothing fits.

    A phrase is of the text of a region, or of the task if that has one alone. Regions of one phrase
    are parts of one mask. A phrase of the task without a region fits nothing.
    """
    regions, texts, masks = {}, {}, {phrase: [] for phrase in task_phrases}
    for result in results_in(annotation, "annotation"):
        kind = result.get("type")
        if kind not in ("brushlabels", "textarea"):
            if str(kind).endswith("labels"):
                raise ValueError(f"wanted regions of a brush. Received: {kind!r:.40}")
            continue
        value, region = (field(result, *part, "region") for part in (("value", dict), ("id", str)))
        if result.get("image_rotation"):
            raise ValueError("wanted 'image_rotation' 0. Turn the image itself")
        if kind == "textarea":
            texts.setdefault(region, []).extend(phrases_in(value.get("text")))
        elif value.get("rle"):  # an erased region has none
            size = result.get("original_height"), result.get("original_width")
            if size != (height, width):
                raise ValueError(
                    f"wanted a region of the image, {height} x {width} (height x width). "
                    f"Received: {size[0]} x {size[1]}"
                )
            mask = decode_brush(value["rle"], height, width, "region")
            if mask.any():
                regions[region] = run_lengths(mask)  # a request may have very many
    for region, runs in regions.items():
        phrases = texts.get(region) or (task_phrases if len(task_phrases) == 1 else [])
        if not phrases:
            raise ValueError(f"wanted a phrase for each region. Received: none for {region!r:.40}")
        for phrase in phrases:
            masks.setdefault(phrase, []).append(runs)
    return masks


def results_in(holder, where):
    """The `result` of an annotation or a context, if it has one: list of dicts."""
    holder = {"result": [], **holder} if isinstance(holder, dict) else holder
    return [result for _, result in located(holder, "result", dict, where)]


def phrases_in(value):
    """The phrases in a text of Label Studio, or a list of texts, one on each line: list of `str`."""
    texts = value if isinstance(value, list) else [value]
    lines = [line.strip() for x in texts if isinstance(x, str) for line in x.splitlines()]
    return list(dict.fromkeys(filter(None, lines)))


def interface_of(config):
    """The `Interface` of a project's labelling configuration, XML.

    Raises:
        ValueError: if it has no `Image`, or no `BrushLabels` with a `Label`.
    """
    try:
        if "<!DOCTYPE" in config:  # which may name entities
            raise ValueError("a DOCTYPE")
        root = ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"wanted a labelling interface in XML. Received: {error}") from None
    image, brush, label = map(root.find, (".//Image", ".//BrushLabels", ".//BrushLabels//Label"))
    if None in (image, brush, label):
        raise ValueError(
            "wanted a labelling interface with Image, BrushLabels and a Label, as in "
            f"docs/label_tools.md. Received: {config!r:.200}"
        )
    areas = [tag for tag in root.iter("TextArea") if tag.get("perRegion", "").lower() == "true"]
    text = root.find(".//Text")
    return Interface(
        image.get("name"),
        brush.get("name"),
        areas[0].get("name") if areas else None,
        label.get("value"),
        image.get("value", "").removeprefix("$"),
        "text" if text is None else text.get("value", "").removeprefix("$"),
    )


def build_app(backend, hosts):
    """The routes as a `fastapi.FastAPI`; `hosts` are the names that it answers to.

    Raises:
        ModuleNotFoundError: if the extra `demo` is not installed.
    """
    fastapi = require("fastapi", "demo", "The server for Label Studio")
    from fastapi.exceptions import RequestValidationError
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # A name of another's that leads here would let his page write into the table.
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
    app = fastapi.FastAPI(openapi_url=None, max_body_size=MAX_BODY, middleware=middleware)

    @app.get("/")
    @app.get("/health")
    def health():
        return {"status": "UP", "model_class": backend.name}

    app.post("/setup")(backend.setup)
    app.post("/predict")(backend.predict)
    app.post("/webhook", status_code=201)(backend.webhook)

    def refuse(request, error):
        reason = in_words(error)
        if isinstance(error, RequestValidationError):
            reason = "wanted an object in JSON, as application/json. Received: another body"
        print(f"keras-cmsa: {reason}", file=sys.stderr)  # the tool shows the status alone
        return fastapi.responses.JSONResponse({"error": reason}, status_code=400)

    for kind in (ValueError, OSError, RequestValidationError):
        app.exception_handler(kind)(refuse)
    return app


def serve(backend, host="127.0.0.1", port=9090):
    """Serves until it is interrupted.

    Args:
        backend: `Backend`.
        host: address to listen on; `"0.0.0.0"` also admits other machines.
        port: port to listen on.
    """
    uvicorn = require("uvicorn", "demo", "The server for Label Studio")
    app = build_app(backend, LOOPBACK if host in (*LOOPBACK, "::1") else ["*"])
    print(f"keras-cmsa serve-label-studio: http://{host}:{port}", flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning")
