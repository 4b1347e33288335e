"""The benchmark of the authors' network."""

import pytest
from benchmarking import compiles, measured, names

pytestmark = pytest.mark.keras


@compiles
def test_released_writes_its_measurements(tmp_path, monkeypatch):
    import released

    from keras_cmsa.models.backbones import small_resnet

    monkeypatch.setattr(released, "deeplab_resnet101", small_resnet)
    results = measured("released", tmp_path, image_size=16, repeats=1, memory=False)
    assert names(results["forward"]) == ["backbone", "20 words", "8 words"]
    assert results["peak_bytes"] == {} and results["targets"] == {}
