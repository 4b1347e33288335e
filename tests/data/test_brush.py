"""Label Studio's code of masks: both ways, and against that of its own library."""

import numpy as np
import pytest
import tiny

from keras_cmsa.data.brush import decode_brush, encode_brush

MASK = tiny.box(3, 4, 1, 1, 3, 3)
# `label_studio_sdk.converter.brush.mask2rle` 2.1.2 of the mask above, in 0 and 255.
OF_LIBRARY = [0, 0, 0, 48, 57, 27, 254, 19, 0, 159, 254, 112, 9, 255, 227, 0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_random_masks_come_back(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    mask = (rng.random((height, width)) < rng.random()).astype("uint8")
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), height, width, "it"), mask)


@pytest.mark.parametrize("inside", [0, 1])
def test_a_run_longer_than_a_length_can_be(inside):
    mask = np.full((300, 300), inside, "uint8")
    code = encode_brush(mask)
    assert len(code) < 40
    np.testing.assert_array_equal(decode_brush(code, 300, 300, "it"), mask)


def test_single_values_and_other_sizes():
    """What the editor writes of colours: a block of values, and sizes of its own."""
    values = [9, 9, 9, 0, 200, 100, 50, 128]  # a transparent pixel and one that is half opaque
    bits = f"{8:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (1, 2, 5, 16))
    bits += "1" + "01" + f"{2:02b}" + f"{9:08b}"  # a run of three
    bits += "0" + "10" + f"{4:05b}" + "".join(f"{value:08b}" for value in values[3:])
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    np.testing.assert_array_equal(decode_brush(code, 1, 2, "it"), [[0, 1]])


def test_a_code_of_the_library():
    np.testing.assert_array_equal(decode_brush(OF_LIBRARY, 3, 4, "it"), MASK)


CODE = encode_brush(MASK)


@pytest.mark.parametrize(
    ("code", "size", "message"),
    [
        (CODE[:-2], (3, 4), r"wanted Label Studio's code to the end. Received: \d+ bytes"),
        ([], (3, 4), "to the end. Received: 0 bytes"),
        (CODE, (4, 4), "wanted 4 values of 8 bits .* 4 x 4 .* Received: 48 of 8 bits"),
        ([*CODE[:4], 0, *CODE[5:]], (3, 4), "Received: 48 of 1 bits"),
        ([256], (3, 4), r"integers in 0..255. Received: \[256\]"),
        (["a"], (3, 4), "integers in 0..255"),
        # A length, to `bytes`.
        (10**15, (3, 4), "integers in 0..255. Received: 10{15}$"),
        (10**30, (3, 4), "integers in 0..255"),
        (CODE, (10**6, 10**6), "bad image size: it: wanted an image of 1 to"),
    ],
)
def test_other_codes_are_an_error(code, size, message):
    with pytest.raises(ValueError, match=f"it: .*{message}|{message}"):
        decode_brush(code, *size, "it")
