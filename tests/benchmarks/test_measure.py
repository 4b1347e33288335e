"""What all benchmarks share: memory, ratios, targets, and a page that states them."""

import re

import pytest
from benchmarking import BENCHMARKS, linux

pytestmark = pytest.mark.keras


def weigh_64_megabytes():
    import keras
    import measure

    return measure.peak_memory(lambda: keras.ops.ones((16, 1024, 1024)))


@pytest.mark.slow
@linux
def test_peak_memory_is_that_of_the_call():
    from measure import in_fresh_process

    above, total = in_fresh_process(weigh_64_megabytes)
    assert 60e6 < above < 300e6
    assert total > above


def test_ratios_are_those_within_a_round():
    from measure import summary

    # The machine is three times slower in the second round, for both.
    times = {"base": [(1, 1), (3, 3), (1, 2)], "other": [(2, 1), (6, 3), (2, 2)]}
    base, other = summary(times, "base")
    assert (base["ratio"], other["ratio"], other["cpu_ratio"]) == (1, 2, 1)
    assert (other["seconds"], other["cpu_seconds"]) == (2, 2)


def test_targets_are_compared():
    from measure import check_targets as compare

    targets = {"speed": (">=", 2), "size": ("<=", 2), "unmeasured": ("<=", 2)}
    checked = compare({"speed": 3, "size": 3.0}, targets)
    assert checked["speed"] == {"value": 3, "target": ">= 2", "met": True}
    assert not checked["size"]["met"] and set(checked) == {"speed", "size"}


@pytest.mark.parametrize("script", ["attention", "model", "predictor", "pipeline", "gpu", "parts"])
def test_the_readme_wants_what_the_benchmark_wants(script):
    """Every bound stands in the benchmark's row, 40 times less as 1/40."""
    source = (BENCHMARKS / f"{script}.py").read_text()
    table = re.search(r"^TARGETS = \{(.*?)\}", source, re.DOTALL | re.MULTILINE)[1]
    bounds = re.findall(r'\("[<>]=", ([\d.]+)\)', table)
    readme = (BENCHMARKS / "README.md").read_text().split("## How it is measured")[0]
    (row,) = (line for line in readme.splitlines() if f"benchmarks/{script}.py" in line)
    wanted = row.split("|")[-2]
    assert bounds and set(bounds) == set(re.findall(r"\d+(?:\.\d+)?", wanted.replace("1/", "")))


@pytest.mark.parametrize("backend", ["numpy"])
def test_other_backends_are_refused(monkeypatch, backend):
    import keras
    import measure

    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    with pytest.raises(ValueError, match=f"Received: '{backend}'"):
        measure.compiled(None, ())
