"""A library that an extra brings is named with it."""

import pytest

from keras_cmsa.utils.extras import require


def test_what_is_missing_is_named_with_its_extra():
    wanted = r'A test needs nowhere_to_be_found: pip install "keras-cmsa\[crf\]"'
    with pytest.raises(ModuleNotFoundError, match=wanted) as error:
        require("nowhere_to_be_found.part", "crf", "A test")
    assert error.value.name == "nowhere_to_be_found"
