"""A checkpoint as the authors' code writes it, with the reference's weights."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tf1_checkpoint import write_checkpoint

RELEASED = Path(__file__).parents[2].parent / "shared" / "released"
EXTRA = {  # what a training of the authors leaves beside the model
    "text_objseg/Variable": np.array(800_000, "float32"),
    "text_objseg/beta1_power": np.array(0.5, "float32"),
    "text_objseg/text_objseg/mlp_c5/biases/Adam": np.zeros(1000, "float32"),
    "text_objseg/text_objseg/mlp_c5/biases/Adam_1": np.zeros(1000, "float32"),
    "fc1_voc12_c0/biases": np.zeros(21, "float32"),
}


@pytest.fixture(scope="session")
def reference():
    """The reference values of the authors' graph; a test that asks for them is skipped without."""
    if not RELEASED.is_dir():
        pytest.skip("the authors' reference values are not at ../shared/released")
    spec = importlib.util.spec_from_file_location("fill", RELEASED / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    groups = json.loads((RELEASED / "variables.json").read_text())["groups"]
    shapes = {x["name"]: x["shape"] for group in ("backbone", "head") for x in groups[group]}
    # The reference has the image as the graph takes it, and the words with padding on the left.
    mean = np.array([104.00698793, 116.66876762, 122.67891434], "float32")
    return SimpleNamespace(
        shapes=shapes,
        fill=fill.fill,
        image=np.round((fill.image() + mean)[..., ::-1]).astype("float32"),
        words=fill.expressions(),
        golden=np.load(RELEASED / "golden.npz"),
    )


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
    from keras_cmsa.convert.released_preset import convert_to_preset

    folder = tmp_path_factory.mktemp("models") / "released"
    report = convert_to_preset(checkpoint, vocabulary, folder, "G-Ref")
    return SimpleNamespace(folder=folder, report=report)
