"""A server with the interfaces of TensorFlow Serving, for tests: a SavedModel behind its two APIs.

The gRPC side is generated from TensorFlow Serving's own definitions; the REST side follows
https://www.tensorflow.org/tfx/serving/api_rest. It has no batching, no versions but one, no polling.

    python serving_server.py FOLDER NAME     # prints the two ports, serves until it is killed
"""

import base64
import json
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Servable:
    """A version of a model; inputs and outputs are dicts of NumPy arrays."""

    def __init__(self, folder, name):
        self.name = name
        self.version = int(folder.name)
        self.loaded = tf.saved_model.load(str(folder))

    def check(self, name, version):
        if name != self.name or version not in (None, self.version):
            wanted = name if version is None else f"{name}({version})"
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")

    def run(self, signature, inputs):
        function = self.loaded.signatures[signature]
        wanted = function.structured_input_signature[1]
        try:
            inputs = {name: tf.constant(x, wanted[name].dtype) for name, x in inputs.items()}
            return {name: x.numpy() for name, x in function(**inputs).items()}
        except tf.errors.OpError as error:
            raise Refused(CODES[error.error_code], error.message) from error


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, servable):
        self.servable = servable

    def Predict(self, request, context):
        spec = request.model_spec
        try:
            self.servable.check(spec.name, spec.version.value if spec.HasField("version") else None)
            inputs = {name: tf.make_ndarray(x) for name, x in request.inputs.items()}
            outputs = self.servable.run(spec.signature_name or "serving_default", inputs)
            wanted = list(request.output_filter) or list(outputs)
            for name in wanted:
                if name not in outputs:
                    raise Refused(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"output tensor alias not found in signature: {name}",
                    )
        except Refused as error:
            context.abort(error.code, str(error))
        reply = predict_pb2.PredictResponse()
        reply.model_spec.name = self.servable.name
        reply.model_spec.version.value = self.servable.version
        for name in wanted:
            reply.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return reply


PREDICT = re.compile("/v1/models/([^/:]+)(?:/versions/([0-9]+))?:predict")


class Rest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    servable = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            name, version = PREDICT.fullmatch(self.path).groups()
            self.servable.check(name, version and int(version))
            asked = json.loads(body)
            outputs = self.servable.run(asked["signature_name"], from_json(asked["inputs"]))
            return self.reply(200, {"outputs": to_json(outputs)})
        except Refused as error:
            code = 404 if error.code == grpc.StatusCode.NOT_FOUND else 400
            return self.reply(code, {"error": str(error)})

    def reply(self, code, content):
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def from_json(columns):
    """Arrays of what a request has; `{"b64": ...}` is bytes."""

    def value(x):
        if isinstance(x, dict):
            return base64.b64decode(x["b64"], validate=True)
        if isinstance(x, list):
            return [value(one) for one in x]
        return x.encode() if isinstance(x, str) else x

    return {name: value(column) for name, column in columns.items()}


def to_json(outputs):
    """Lists of arrays; strings whose name ends in `_bytes` become `{"b64": ...}`."""

    def text(name, x):
        if isinstance(x, list):
            return [text(name, one) for one in x]
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(x).decode("ascii")}
        return x.decode() if isinstance(x, bytes) else x

    return {name: text(name, x.tolist()) for name, x in outputs.items()}


class Server:
    """Both APIs on free ports of this machine."""

    def __init__(self, folder, name="cmsa", workers=16):
        servable = Servable(folder, name)
        self.grpc = grpc.server(ThreadPoolExecutor(workers), options=UNLIMITED)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(servable), self.grpc
        )
        self.grpc_port = self.grpc.add_insecure_port("127.0.0.1:0")
        handler = type("Handler", (Rest,), {"servable": servable})
        self.rest = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.rest_port = self.rest.server_address[1]
        self.urls = {
            "http": f"http://127.0.0.1:{self.rest_port}",
            "grpc": f"grpc://127.0.0.1:{self.grpc_port}",
        }

    def __enter__(self):
        self.grpc.start()
        self.thread = threading.Thread(target=self.rest.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.grpc.stop(None).wait()
        self.rest.shutdown()
        self.rest.server_close()
        self.thread.join()


def main(folder, name):
    from pathlib import Path

    with Server(Path(folder), name) as server:
        print(server.rest_port, server.grpc_port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
