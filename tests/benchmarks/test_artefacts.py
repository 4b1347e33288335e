"""The benchmark of smaller forms of a model."""

import json

import pytest
import tiny
from benchmarking import names, on_tensorflow

pytestmark = pytest.mark.keras


@pytest.mark.slow
@on_tensorflow
def test_artefacts_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    import artefacts

    tiny.refer_root(tmp_path / "data", {"train": 1, "val": 3})
    output = tmp_path / "artefacts.json"
    forms = ("Keras", "SavedModel", "SavedModel, bfloat16", "ONNX", "LiteRT")
    options = artefacts.Options(forms=forms, samples=2, repeats=1)
    with pytest.warns(UserWarning, match="counts differ"):
        artefacts.main(str(preset), tmp_path / "data", options=options, output=output)
    results = json.loads(output.read_text())
    assert results["settings"]["samples"] == 2
    exact, *others = results["forms"]
    assert exact["pixels_that_differ"] == 0 and len(others) == 4
    assert names(results["timings"]) == [row["name"] for row in results["forms"]] == list(forms)
    assert all(0 <= row["pixels_that_differ"] < 0.2 for row in others)
    sizes = {row["name"]: row["bytes"] for row in results["forms"]}
    assert sizes["SavedModel, bfloat16"] < sizes["SavedModel"]


@on_tensorflow
def test_artefacts_names_an_unknown_form(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    import artefacts

    with pytest.raises(ValueError, match=r"Received: \['PNG'\]"):
        artefacts.main("none", tmp_path, options=artefacts.Options(forms=("PNG",)))
