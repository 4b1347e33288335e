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
    from measure import verdicts

    rows = verdicts([("speed", 3, ">=", 2), ("size", 3.0, "<=", 2)])
    assert rows[0] == {"name": "speed", "measured": 3, "wanted": ">= 2", "met": True}
    assert not rows[1]["met"]


@pytest.mark.parametrize("script", ["attention", "model", "predictor", "pipeline", "gpu", "parts"])
def test_the_readme_wants_what_the_benchmark_wants(script):
    """Every bound stands in the benchmark's row, 40 times less as 1/40."""
    source = (BENCHMARKS / f"{script}.py").read_text()
    bounds = re.findall(r'yield .*"[<>]=", ([\d.]+)', source)
    readme = (BENCHMARKS / "README.md").read_text().split("## How it is measured")[0]
    (row,) = (line for line in readme.splitlines() if f"benchmarks/{script}.py" in line)
    wanted = row.split("|")[-2]
    assert bounds and set(bounds) == set(re.findall(r"\d+(?:\.\d+)?", wanted.replace("1/", "")))


def test_each_benchmark_is_a_command():
    """With its targets, if it has some."""
    for path in BENCHMARKS.glob("*.py"):
        if "@cli.options\n" in (source := path.read_text()):
            targets = ", targets" if "\ndef targets(" in source else ""
            assert source.endswith(f"    cli.main(Options, measure_all{targets})\n"), path


def test_another_backend_is_refused(monkeypatch):
    import keras
    import measure

    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match="Received: 'numpy'"):
        measure.compiled(None, ())
