"""The accelerator's benchmark, on whichever device there is."""

import json

import pytest
from benchmarking import (
    BACKEND,
    check_targets,
    linux,
)

pytestmark = pytest.mark.keras


@pytest.mark.slow
@linux
def test_gpu_writes_its_measurements(tmp_path, capsys):
    """On whichever device there is; what does not fit says so."""
    import gpu

    output = tmp_path / "gpu.json"
    options = gpu.Options(
        image_sizes=(16,), sentences=(1, 2), words=(3,), repeats=1, small=True, memory=False
    )
    gpu.main(options=options, output=output)
    results = json.loads(output.read_text())
    assert results["environment"]["backend"] == BACKEND and results["environment"]["chip"]
    assert [group["mode"] for group in results["model"]] == ["forward", "training"]
    for group in results["model"]:
        backbone, one, two = group["rows"]
        assert backbone["sentences_per_second"] == 0 < backbone["images_per_second"]
        assert one["images_per_second"] == one["sentences_per_second"] == 2 / one["seconds"]
        assert two["sentences_per_second"] == 4 / two["seconds"]
    for group in results["attention"]:
        assert {row["name"] for row in group["rows"]} == set(gpu.FORMS)
        assert all(row["seconds"] > 0 for row in group["rows"])
    check_targets(
        results,
        forward_over_backbone=results["model"][0]["rows"][1]["ratio"],
        training_over_backbone=results["model"][1]["rows"][1]["ratio"],
        fused_over_factorised=results["attention"][0]["rows"][1]["ratio"],
    )


def test_gpu_says_what_does_not_fit():
    """By arithmetic, before it is tried: scores and softmax of (N P) x (N P) numbers."""
    import gpu

    options = gpu.Options(small=True, repeats=1)
    literal = gpu.case(2, 3, options, form="literal", backward=True)
    assert gpu.bytes_needed(literal) == 3 * 12**2 * 4
    assert gpu.bytes_needed(gpu.case(2, 3, options)) == 0
    assert gpu.attention_peak(literal, limit=3 * 12**2 * 4 - 1) is None
    rows = gpu.compare_attention(2, 3, False, options, limit=0)
    left_out = {row["name"]: row["needs_bytes"] for row in rows if "seconds" not in row}
    assert left_out.pop("literal") == 2 * 12**2 * 4
    assert left_out == ({} if BACKEND == "torch" else {"fused": 2 * 12**2 * 4})


def test_gpu_tells_memory_from_other_errors():
    import gpu

    def fail(error):
        raise error

    assert gpu.runs_out(lambda: fail(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")))
    assert gpu.runs_out(lambda: fail(RuntimeError("RESOURCE_EXHAUSTED: 2 GiB")))
    assert not gpu.runs_out(lambda: None)
    with pytest.raises(RuntimeError, match="wrong shape"):
        gpu.runs_out(lambda: fail(RuntimeError("wrong shape")))
