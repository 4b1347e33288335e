"""The accelerator's benchmark, on whichever device there is."""

import pytest
from benchmarking import BACKEND, check_targets, linux, measured

pytestmark = pytest.mark.keras


@pytest.mark.slow
@linux
def test_gpu_writes_its_measurements(tmp_path):
    sizes = {"image_sizes": (16,), "sentences": (2,), "words": (3,)}
    results = measured("gpu", tmp_path, repeats=1, small=True, **sizes)
    assert results["environment"]["backend"] == BACKEND and results["environment"]["chip"]
    assert [group["mode"] for group in results["model"]] == ["forward", "training"]
    for group in results["model"]:
        backbone, two = group["rows"]
        assert backbone["sentences_per_second"] == 0 < backbone["images_per_second"]
        assert two["images_per_second"] == 2 / two["seconds"]
        assert two["sentences_per_second"] == 4 / two["seconds"]
    for group in results["attention"]:
        assert [row["name"] for row in group["rows"]] == ["factorised", "fused"]
        assert all(row["seconds"] > 0 and row["peak_bytes"] > 0 for row in group["rows"])
    check_targets(
        results,
        forward_over_backbone=results["model"][0]["rows"][1]["ratio"],
        training_over_backbone=results["model"][1]["rows"][1]["ratio"],
        fused_over_factorised=results["attention"][0]["rows"][1]["ratio"],
    )


@linux
@pytest.mark.parametrize(
    "message", ["CUDA out of memory. Tried to allocate 2 GiB", "RESOURCE_EXHAUSTED: 2 GiB"]
)
def test_gpu_tells_memory_from_other_errors(message):
    import gpu

    def fail(message):
        raise RuntimeError(message)

    assert gpu.measured(lambda: fail(message), 1) == {}
    with pytest.raises(RuntimeError, match="wrong shape"):
        gpu.measured(lambda: fail("wrong shape"), 1)
