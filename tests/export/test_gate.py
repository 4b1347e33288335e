"""The gate of an export: what TensorFlow Serving lacks is refused by name, all else passes.

The last tests ask the server's own TensorFlow, in an environment that `make test-serving` makes.
"""

import os
import shutil
import sys
from pathlib import Path

import c_library
import numpy as np
import pytest
from image_files import mask_of
from run_signatures import answers_of
from scipy.special import expit
from versions import write_version

from keras_cmsa.export import saved_model
from keras_cmsa.export.gate import (
    GRAPH_VERSION,
    SERVER,
    check_operations,
    known_attributes,
    unknown_in,
)
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.presets.reference import in_square, read_reference

pytest.importorskip("tensorflow")


def changed(graph, kind):
    """Asks for what is newer, in a function of a graph."""
    nodes = [node for f in graph.library.function for node in f.node_def]
    if kind == "operation":
        next(node for node in nodes if node.op == "DecodePng").op = "DecodeJxl"
    elif kind == "attribute":
        next(node for node in nodes if node.op == "TensorListGetItem").attr["Tshape"].type = 9
    else:
        graph.versions.min_consumer = GRAPH_VERSION + 1


UNKNOWN = {
    "operation": "the operation DecodeJxl",
    "attribute": "the attribute Tshape of the operation TensorListGetItem",
    "version": f"a graph for version {GRAPH_VERSION + 1} and later, not {GRAPH_VERSION}",
}


@pytest.fixture
def changed_version(exported, tmp_path):
    """Writes the graph of `exported`, changed, into a folder of its own."""
    from tensorflow.core.protobuf import saved_model_pb2

    def write(kind):
        saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
        changed(saved.meta_graphs[0].graph_def, kind)
        (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
        return tmp_path

    return write


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_the_server_lacks_is_named(changed_version, kind):
    with pytest.raises(ValueError, match=f"Received: {UNKNOWN[kind]}. Build .*tensorflow==2.20"):
        check_operations(changed_version(kind), "saved_models/cmsa/1")


def test_functions_and_notes_of_the_graph_are_known():
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    node = graph.node.add(op="Mine")
    node.attr["_note"].b = node.attr["of_the_function"].b = True
    assert list(unknown_in(graph)) == ["the operation Mine"]
    graph.library.function.add().signature.name = "Mine"
    assert not list(unknown_in(graph))


def test_nothing_is_kept(predictor, changed_version, tmp_path, monkeypatch):
    def write(network, preprocessor, folder, *_):
        shutil.copy(changed_version("operation") / "saved_model.pb", folder)

    monkeypatch.setattr(saved_model, "write_graph", write)
    with pytest.raises(ValueError, match=f"Received: {UNKNOWN['operation']}"):
        write_version(predictor, tmp_path / "cmsa")
    assert not list((tmp_path / "cmsa").iterdir())


# --- The TensorFlow of TensorFlow Serving


@pytest.fixture(scope="module")
def server_python():
    """The `Path` of the Python that has it."""
    if "SERVING_PYTHON" not in os.environ:
        pytest.skip("needs an environment with the server's TensorFlow: make test-serving")
    return Path(os.environ["SERVING_PYTHON"])


@pytest.fixture(scope="module")
def library(server_python):
    (path,) = server_python.parents[1].glob(f"lib/*/site-packages/tensorflow/{c_library.NAME}")
    return path


def requests_of(version, *signatures):
    """Arrays for `answers_of` that ask some signatures about a version's reference."""
    reference = read_reference(version)
    files = np.array([reference.png, reference.jpeg], "S")
    sentences = np.array([x.encode() for x in reference.sentences], "S")
    pixels = in_square(read_image(reference.png), reference.square.shape[-1])
    one = {"image_bytes": files, "expression": sentences[:2]}
    inputs = {
        "serving_default": one,
        "heatmap": one,
        "segment_many": {"image_bytes": files, "expressions": np.stack([sentences, sentences])},
        "tensors": {"image": pixels[None].astype("float32"), "words": reference.ids[None]},
    }
    return {f"{name}/{key}": x for name in signatures for key, x in inputs[name].items()}


@pytest.fixture(scope="module")
def answers(server_python, exported, tmp_path_factory):
    """What each signature of `exported` answers there and here: two dicts of arrays."""
    signatures = set(c_library.graph_of(exported).signature_def) - {"__saved_model_init_op"}
    requests = requests_of(exported, *signatures)
    folder = tmp_path_factory.mktemp("answers")
    return [answers_of(x, exported, requests, folder) for x in (server_python, sys.executable)]


def assert_as_the_reference(found, version):
    """The PNG and the JPEG of the reference have one answer."""
    reference = read_reference(version)
    assert 0 < reference.masks.mean() < 1
    for row in range(2):
        probabilities = found["segment_many/probabilities"][row]
        np.testing.assert_allclose(probabilities, reference.probabilities, atol=1e-3)
        masks = [mask_of(png) for png in found["segment_many/mask_png_bytes"][row]]
        assert np.mean(masks != reference.masks) <= 1e-4


def test_the_operations_are_those_that_the_server_runs(library, tmp_path):
    known = {name: set(x) for name, x in c_library.operations_of(library, tmp_path).items()}
    ours = dict(known_attributes())
    del ours["WordpieceTokenizeWithOffsets"]
    assert ours == known


def test_its_versions_are_those_of_the_gate(answers):
    version, graph_version = answers[0]["versions"]
    assert version.startswith(f"{SERVER}.") and graph_version == str(GRAPH_VERSION)


def test_every_signature_answers_there_as_here(answers):
    there, here = answers
    assert {"serving_default/mask_png_bytes", "heatmap/position_attention"} < set(there)
    assert set(there) == set(here)
    for name in set(here) - {"versions", "peaks"}:
        if here[name].dtype.kind == "S":
            np.testing.assert_array_equal(there[name], here[name], name)
        else:
            np.testing.assert_allclose(there[name], here[name], atol=1e-5, err_msg=name)


def test_it_answers_as_the_reference(answers, exported):
    there, _ = answers
    assert_as_the_reference(there, exported)
    first = expit(there["tensors/logits"][0, 0, ..., 0])
    np.testing.assert_allclose(first, read_reference(exported).square[0], atol=1e-3)


def test_word_pieces_answer_as_the_reference(word_pieces, server_python, tmp_path):
    _, version = word_pieces
    requests = requests_of(version, "segment_many")
    assert_as_the_reference(answers_of(server_python, version, requests, tmp_path), version)
