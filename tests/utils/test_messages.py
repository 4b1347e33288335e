"""What a person is told: numbers out of range by the argument, errors without the system's number."""

import pytest

from keras_cmsa.utils.messages import check_at_least, check_within, differences, in_words


def test_numbers_below_or_beyond_are_named():
    check_at_least(1, steps=1, limit=None)
    check_within(1, 3, port=3)
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=r"^`batch_size` must be at least 1. Received: "):
            check_at_least(1, batch_size=value)
    for value in (0, 4, -1):
        with pytest.raises(ValueError, match=rf"^`port` must be 1 to 3. Received: {value}$"):
            check_within(1, 3, port=value)


def test_an_error_of_the_system_is_told_without_its_number():
    assert in_words(FileNotFoundError(2, "No such file", "a.png")) == "a.png: No such file"
    assert in_words(OSError(28, "No space left on device")) == "No space left on device"
    inner = f"bad image: {PermissionError(13, 'No permission', 'a.png')}"
    assert in_words(ValueError(inner)) == "bad image: No permission: 'a.png'"
    assert in_words(OSError("the hub has none")) == "the hub has none"
    assert in_words(ValueError("wanted 1")) == "wanted 1"
    assert in_words(ValueError("a\x1b[2J\n\x9b\té")) == "a\\x1b[2J\n\\x9b\té"


def test_what_differs_is_told_by_name():
    before, now = {"steps": 3, "seed": 0, "old": 1}, {"steps": 4, "seed": 0, "new": "x"}
    assert differences(before, now) == [
        "new was None and is 'x'", "old was 1 and is None", "steps was 3 and is 4",
    ]  # fmt: skip
