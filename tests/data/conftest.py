"""What the tests of readers and masks share."""

import pytest
from one_ref import OneRef


@pytest.fixture
def one_ref(tmp_path):
    return OneRef(tmp_path)
