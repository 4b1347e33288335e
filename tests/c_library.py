"""Runs a SavedModel through TensorFlow's C library, in a process without TensorFlow's Python.

    python c_library.py LIBRARY FOLDER REQUEST.json ANSWER.json
    python c_library.py LIBRARY OPERATIONS KERNELS

TensorFlow Serving loads a model through the same code (`LoadSavedModel` with the tag `serve`, and
its initialisation of tables from assets). Given are the tensors to feed, as lists of base64 strings,
and the tensors to fetch; written are their types, shapes and base64 bytes, and the bytes of memory
that were resident at most up to the end of each request. The second form writes the protos of what
the library knows.

Tests call `ask` and `operations_of`, which start that process.
"""

import base64
import ctypes
import json
import resource
import subprocess
import sys
from pathlib import Path

NAME = "libtensorflow_cc.so.2"  # in the folder of TensorFlow's package
FLOAT, STRING, BOOL = 1, 7, 10
STRING_SIZE = 24  # of a TF_TString


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Library:
    """The functions that are needed, which raise what TensorFlow says."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.status = self("NewStatus")()

    def __call__(self, name, result=ctypes.c_void_p):
        function = getattr(self.library, f"TF_{name}")
        function.restype = result
        return function

    def check(self):
        if self("GetCode", ctypes.c_int)(ctypes.c_void_p(self.status)):
            message = self("Message", ctypes.c_char_p)(ctypes.c_void_p(self.status))
            raise SystemExit(message.decode(errors="replace"))


def load(tf, folder):
    graph = ctypes.c_void_p(tf("NewGraph")())
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = tf("LoadSessionFromSavedModel")(
        ctypes.c_void_p(tf("NewSessionOptions")()), None, folder.encode(), tags, 1, graph, None,
        ctypes.c_void_p(tf.status),
    )  # fmt: skip
    tf.check()
    return graph, ctypes.c_void_p(session)


def output(tf, graph, name):
    name, index = name.split(":")
    operation = tf("GraphOperationByName")(graph, name.encode())
    assert operation, f"no operation {name}"
    return Output(operation, int(index))


def string_tensor(tf, texts):
    shape = (ctypes.c_int64 * 1)(len(texts))
    size = ctypes.c_size_t(STRING_SIZE * len(texts))
    tensor = tf("AllocateTensor")(STRING, shape, 1, size)
    start = tf("TensorData")(ctypes.c_void_p(tensor)) or 0
    for number, text in enumerate(texts):
        place = ctypes.c_void_p(start + STRING_SIZE * number)
        tf("StringInit", None)(place)
        tf("StringCopy", None)(place, text, ctypes.c_size_t(len(text)))
    return tensor


def read(tf, tensor):
    tensor = ctypes.c_void_p(tensor)
    kind = tf("TensorType", ctypes.c_int)(tensor)
    dims = tf("NumDims", ctypes.c_int)(tensor)
    shape = [tf("Dim", ctypes.c_int64)(tensor, i) for i in range(dims)]
    size = tf("TensorByteSize", ctypes.c_size_t)(tensor)
    start = tf("TensorData")(tensor) or 0
    assert kind in (FLOAT, STRING, BOOL), kind
    if kind != STRING:
        return {"type": kind, "shape": shape, "data": encode(ctypes.string_at(start, size))}
    texts = []
    for place in range(start, start + size, STRING_SIZE):
        place = ctypes.c_void_p(place)
        length = tf("StringGetSize", ctypes.c_size_t)(place)
        texts.append(encode(ctypes.string_at(tf("StringGetDataPointer")(place), length)))
    return {"type": kind, "shape": shape, "data": texts}


def encode(data):
    return base64.b64encode(data).decode()


def run(tf, graph, session, feeds, fetches):
    inputs = (Output * len(feeds))(*(output(tf, graph, name) for name in feeds))
    values = (ctypes.c_void_p * len(feeds))(
        *(string_tensor(tf, [base64.b64decode(t) for t in texts]) for texts in feeds.values())
    )
    outputs = (Output * len(fetches))(*(output(tf, graph, name) for name in fetches.values()))
    found = (ctypes.c_void_p * len(fetches))()
    tf("SessionRun", None)(
        session, None, inputs, values, len(feeds), outputs, found, len(fetches), None, 0, None,
        ctypes.c_void_p(tf.status),
    )  # fmt: skip
    tf.check()
    return {name: read(tf, tensor) for name, tensor in zip(fetches, found)}


def ask(version, requests, folder, library=None):
    """What the C library answers for a version's `serving_default`.

    Args:
        version: folder of the version.
        requests: list of dicts from an input's name to a list of bytes.
        folder: where files between the processes may lie.
        library: `Path` of the library; `None`: that of the installed TensorFlow.

    Returns:
        The answers, a list of dicts from an output's name to an array, and the peaks of memory in
        bytes up to the end of each request. Or `None` and the error, if the library refuses.
    """
    import tensorflow as tf

    signature = signature_of(version)
    feeds = [
        {
            signature.inputs[name].name: [encode(row) for row in rows]
            for name, rows in request.items()
        }
        for request in requests
    ]
    fetch = {name: info.name for name, info in signature.outputs.items()}
    request, answer = folder / "request.json", folder / "answer.json"
    request.write_text(json.dumps({"feeds": feeds, "fetch": fetch}))
    library = library or Path(tf.__file__).with_name(NAME)
    command = [sys.executable, __file__, library, version, request, answer]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        return None, done.stderr
    found = json.loads(answer.read_text())
    answers = [{name: as_array(x) for name, x in one.items()} for one in found["answers"]]
    return answers, found["peaks"]


def operations_of(library, folder):
    """What a library can run: dict from an operation's name to the names of its attributes.

    It has a kernel for each, but for `AccumulateNV2`, which it replaces by others. An operation whose
    name begins with an underscore is for the runtime alone.
    """
    from tensorflow.core.framework import kernel_def_pb2, op_def_pb2

    operations, kernels = folder / "operations", folder / "kernels"
    subprocess.run([sys.executable, __file__, library, operations, kernels], check=True)
    found = kernel_def_pb2.KernelList.FromString(kernels.read_bytes()).kernel
    runs = {kernel.op for kernel in found if not kernel.op.startswith("_")} | {"AccumulateNV2"}
    found = op_def_pb2.OpList.FromString(operations.read_bytes()).op
    return {op.name: [x.name for x in op.attr] for op in found if op.name in runs}


def graph_of(version):
    """The only graph of a SavedModel, with its signatures."""
    from tensorflow.core.protobuf import saved_model_pb2

    data = (version / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(data).meta_graphs[0]


def signature_of(version, name="serving_default"):
    """A signature: its inputs and outputs by name."""
    return graph_of(version).signature_def[name]


def as_array(answer):
    import numpy as np

    if isinstance(answer["data"], list):
        texts = [base64.b64decode(text) for text in answer["data"]]
        return np.array(texts, object).reshape(answer["shape"])
    kind = {FLOAT: "float32", BOOL: "bool"}[answer["type"]]
    return np.frombuffer(base64.b64decode(answer["data"]), kind).reshape(answer["shape"])


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("free", ctypes.c_void_p)]


def write_known(library, operations, kernels):
    tf = Library(library)
    status = ctypes.c_void_p(tf.status)
    kinds = {"GetAllOpList": ((), operations), "GetAllRegisteredKernels": ((status,), kernels)}
    for function, (arguments, path) in kinds.items():
        buffer = tf(function, ctypes.POINTER(Buffer))(*arguments).contents
        Path(path).write_bytes(ctypes.string_at(buffer.data, buffer.size))


def main(library, folder, request, answer):
    with open(request, encoding="utf-8") as file:
        asked = json.load(file)
    tf = Library(library)
    graph, session = load(tf, folder)
    answers, peaks = [], []
    for feeds in asked["feeds"]:
        answers.append(run(tf, graph, session, feeds, asked["fetch"]))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    assert not {"tensorflow", "keras", "numpy"} & set(sys.modules)
    with open(answer, "w", encoding="utf-8") as file:
        json.dump({"answers": answers, "peaks": peaks}, file)


if __name__ == "__main__":
    {4: main, 3: write_known}[len(sys.argv) - 1](*sys.argv[1:])
