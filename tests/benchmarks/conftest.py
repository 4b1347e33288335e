"""The scripts of the benchmarks, for their tests."""

import pytest
from benchmarking import BENCHMARKS


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """The folder of scripts, importable as it is to a script in it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
