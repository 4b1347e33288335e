"""The gate of an export: the server must have every operation of its graph.

TensorFlow Serving may be older than the TensorFlow that exports. It says only when it is asked that
it lacks an operation, and it ignores an attribute that it does not know. `operations.txt` has what it
knows, an operation and its attributes a line: what the C library of its TensorFlow has a kernel for,
and the operation of tensorflow-text that it links. `make test-serving` compares them.
"""

from functools import cache
from importlib.resources import files

from keras_cmsa.presets.files import GRAPH

SERVER = "2.20"
GRAPH_VERSION = 2288  # the newest graphs that it reads: `min_consumer` is at most this


def check_operations(folder, path):
    """Compares a SavedModel with what TensorFlow Serving knows.

    Args:
        folder: `Path` of the folder with the graph.
        path: where it is exported to.

    Raises:
        ValueError: if the server lacks an operation or an attribute, or is too old for the graph.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / GRAPH).read_bytes())
    unknown = sorted({name for x in saved.meta_graphs for name in unknown_in(x.graph_def)})
    if unknown:
        raise ValueError(
            f"TensorFlow Serving {SERVER} cannot run the export to {path}: wanted a graph of the "
            f"operations that it has. Received: {', '.join(unknown)}. Build the model of other "
            f'layers, or export with its version: pip install "tensorflow=={SERVER}.*". Nothing was '
            "kept"
        )


@cache
def known_attributes():
    """Dict of an operation to the set of its attributes."""
    lines = files("keras_cmsa.export").joinpath("operations.txt").read_text("utf-8").splitlines()
    return {name: set(attributes) for name, *attributes in map(str.split, lines)}


def unknown_in(graph):
    """Yields what the server lacks for a `GraphDef` and its functions."""
    wanted = graph.versions.min_consumer
    if wanted > GRAPH_VERSION:
        yield f"a graph for version {wanted} and later, not {GRAPH_VERSION}"
    known, functions = known_attributes(), graph.library.function
    own = {function.signature.name for function in functions}  # called as operations are
    for node in [*graph.node, *(node for function in functions for node in function.node_def)]:
        if node.op not in known and node.op not in own:
            yield f"the operation {node.op}"
        elif node.op in known:
            for name in set(node.attr) - known[node.op]:
                if not name.startswith("_"):  # a note of TensorFlow, which readers may ignore
                    yield f"the attribute {name} of the operation {node.op}"
