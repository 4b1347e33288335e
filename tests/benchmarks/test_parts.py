"""The benchmark of the model's parts."""

import pytest
from benchmarking import check_targets, compiles, measured

pytestmark = pytest.mark.keras


@pytest.mark.slow
@compiles
def test_parts_writes_its_measurements(tmp_path):
    pytest.importorskip("jax")
    sizes = {"image_size": 16, "sentences": 2, "matmul_side": 32}
    results = measured("parts", tmp_path, repeats=1, small=True, **sizes)
    for mode in ("forward", "forward_backward"):
        product, *each, whole = results[mode]
        assert product["multiply_adds"] == 32**3
        assert [row["name"] for row in each] == [
            "backbone", "words", "attention res3", "attention res4", "attention res5", "fusion"
        ]  # fmt: skip
        if mode == "forward":  # the backward pass of a part also reaches what is not trained
            assert sum(row["multiply_adds"] for row in each) == whole["multiply_adds"]
    speed = {
        mode: results[mode][-1]["gflops"] / results[mode][0]["gflops"]
        for mode in ("forward", "forward_backward")
    }
    check_targets(
        results,
        forward_of_matmul=pytest.approx(speed["forward"]),
        forward_backward_of_matmul=pytest.approx(speed["forward_backward"]),
    )
