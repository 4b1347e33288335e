"""A checkpoint as the authors' code writes it, with the reference's weights."""

import contextlib
import io

import numpy as np
import pytest
import released_graph
from command import run
from tf1_checkpoint import write_checkpoint

EXTRA = {  # what a training of the authors leaves beside the model
    "text_objseg/Variable": np.array(800_000, "float32"),
    "text_objseg/beta1_power": np.array(0.5, "float32"),
    "text_objseg/text_objseg/mlp_c5/biases/Adam": np.zeros(1000, "float32"),
    "text_objseg/text_objseg/mlp_c5/biases/Adam_1": np.zeros(1000, "float32"),
    "fc1_voc12_c0/biases": np.zeros(21, "float32"),
}


@pytest.fixture(scope="session")
def reference():
    """The values of the authors' graph."""
    return released_graph.reference()


@pytest.fixture(scope="session")
def checkpoint(reference, tmp_path_factory):
    pytest.importorskip("tensorflow")
    path = tmp_path_factory.mktemp("authors") / "Gref_deeplab_CMSA_iter_800000.tfmodel"
    values = [(name, reference.fill(name, shape)) for name, shape in reference.shapes.items()]
    return write_checkpoint(path, [*values, *EXTRA.items()])


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """A vocabulary file of the authors' length, with the word `w37` in line 37."""
    path = tmp_path_factory.mktemp("words") / "vocabulary_Gref.txt"
    lines = ["<pad>", "<go>", "<eos>", "<unk>", *(f"w{i}" for i in range(4, 12112))]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="session")
def released_preset(checkpoint, vocabulary, tmp_path_factory):
    """The folder that `keras-cmsa convert` writes, and what it prints."""
    folder = tmp_path_factory.mktemp("models") / "released"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run("convert", checkpoint, "--vocabulary", vocabulary, "-o", folder) == 0
    return folder, printed.getvalue()
