"""What the tests of the benchmarks share."""

import importlib
import json
import os
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TIMING = {"name", "seconds", "cpu_seconds", "ratio", "cpu_ratio"}
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")

linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux' /proc"
)
compiles = pytest.mark.skipif(
    BACKEND == "torch", reason="this benchmark compiles, with tf.function or jax.jit only"
)
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="exports need TensorFlow")


def measured(script, folder, **options):
    """The results of a benchmark, as they stand in its JSON file."""
    import cli

    benchmark = importlib.import_module(script)
    output = folder / "new" / f"{script}.json"
    targets = getattr(benchmark, "targets", None)
    cli.run(benchmark.Options(**options), benchmark.measure_all, targets, output)
    return json.loads(output.read_text())


def names(rows):
    assert all(set(row) == TIMING and row["seconds"] > 0 for row in rows)
    return [row["name"] for row in rows]


def targets_of(results):
    """The names of the targets that were measured."""
    return [row["name"] for row in results["targets"]]
