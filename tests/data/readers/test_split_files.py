"""Which images without a split are val."""

import pytest

from keras_cmsa.data.readers.split_files import hold_out

NAMES = [f"{number}.jpg" for number in range(1000)]


def test_a_tenth_is_val_and_both_splits_have_an_image():
    assert 90 <= len(hold_out(NAMES)) <= 110
    assert [hold_out(NAMES[:number]) for number in (0, 1)] == [set(), set()]
    for number in range(2, 50):
        assert 0 < len(hold_out(NAMES[:number])) < number
    # The hashes of these two are both in the lowest tenth.
    low = sorted(hold_out(NAMES))[:2]
    assert len(hold_out(low)) == 1


@pytest.mark.parametrize("first", [0, 100, 200])
def test_no_image_of_train_comes_to_val(first):
    names, before = NAMES[first:], set()
    for number in range(2, 200):
        of_val = hold_out(names[:number])
        assert not of_val & before
        before = {*names[:number]} - of_val
