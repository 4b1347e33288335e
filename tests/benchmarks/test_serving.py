"""The server's benchmark."""

import pytest
from benchmarking import measured, names, on_tensorflow

pytestmark = pytest.mark.keras


@pytest.mark.slow
@on_tensorflow
def test_serving_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("tensorflow_serving")
    options = {"model": str(preset), "batches": (1, 2), "clients": 3, "seconds": 1}
    results = measured("serving", tmp_path, repeats=1, **options)
    assert results["system"] == "cmsa"
    assert names(results["latency"]) == [
        "predict_on_batch, backbone",
        "predict_on_batch, model",
        "SavedModel, tensors",
        "SavedModel, file to mask",
    ]
    assert [row["name"] for row in results["batches"]] == ["batch 1", "batch 2"]
    assert all(row["images_per_second"] > 0 for row in results["batches"])
    load = results["load"]
    assert load["errors"] == 0 and load["answers"] >= load["clients"] == 3
    assert 0 < load["p50_seconds"] <= load["p99_seconds"]
