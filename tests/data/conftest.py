"""What the tests of readers, masks and shards share."""

import pytest
import shard_files
from one_ref import OneRef


@pytest.fixture
def one_ref(tmp_path):
    return OneRef(tmp_path)


@pytest.fixture
def root(tmp_path):
    """The folder of `shard_files.write_root`."""
    return shard_files.write_root(tmp_path / "refer")
