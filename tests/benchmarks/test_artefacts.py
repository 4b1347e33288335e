"""The benchmark of smaller forms of a model."""

import pytest
import tiny
from benchmarking import measured, names, on_tensorflow

pytestmark = pytest.mark.keras


@pytest.mark.slow
@on_tensorflow
@pytest.mark.filterwarnings("ignore:counts differ")
def test_artefacts_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    root = tiny.refer_root(tmp_path / "data", {"train": 1, "val": 3})
    forms = ["Keras", "SavedModel", "SavedModel, bfloat16", "ONNX", "LiteRT"]
    options = {"model": str(preset), "data_dir": root, "forms": forms, "samples": 2, "repeats": 1}
    results = measured("artefacts", tmp_path, **options)
    assert results["samples"] == 2
    exact, *others = results["forms"]
    assert exact["pixels_that_differ"] == 0 and len(others) == 4
    assert names(results["timings"]) == [row["name"] for row in results["forms"]] == forms
    assert all(0 <= row["pixels_that_differ"] < 0.2 for row in others)
    sizes = {row["name"]: row["bytes"] for row in results["forms"]}
    assert sizes["SavedModel, bfloat16"] < sizes["SavedModel"]


@on_tensorflow
def test_artefacts_names_an_unknown_form(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ValueError, match=r"Received: \['PNG'\]"):
        measured("artefacts", tmp_path, forms=("PNG",))
