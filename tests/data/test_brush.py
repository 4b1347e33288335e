"""Label Studio's run lengths: there and back, and as its own library writes them."""

import json

import numpy as np
import pytest

from keras_cmsa.data.brush import decode, encode


def test_there_and_back(rng):
    for _ in range(1000):
        height, width = rng.integers(1, 30, 2)
        mask = rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 0.98, 1])
        np.testing.assert_array_equal(decode(encode(mask), height, width), mask)


def test_runs_around_the_longest_length():
    """65,536 values are 16,384 pixels."""
    for pixels in (1, 2, 4, 5, 64, 65, 16_383, 16_384, 16_385, 32_768, 40_000):
        mask = np.zeros((1, 50_000), bool)
        mask[0, 100 : 100 + pixels] = True
        np.testing.assert_array_equal(decode(encode(mask), 1, 50_000), mask)


def test_a_code_written_by_hand():
    """Two pixels, outside and inside: 8 values, in runs of 4 with lengths of 3 bits."""
    head = "00000000000000000000000000001000" + "00111" + "0010" + "0011" + "0111" + "1111"
    runs = "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    bits = head + runs + "0" * (-len(head + runs) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert encode(np.array([[False, True]])) == code
    assert decode(code, 1, 2).tolist() == [[False, True]]


def test_values_that_are_no_run():
    """The colour of a pixel is 9, 8, 7; its opacity 1 puts it inside, 0 outside."""
    head = "00000000000000000000000000001000" + "00111" + "0010" + "0011" + "0111" + "1111"
    values = "".join(format(value, "08b") for value in (9, 8, 7, 1, 9, 8, 7, 0))
    bits = head + "0" + "00" + "111" + values
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode(code, 1, 2).tolist() == [[True, False]]


def test_what_is_no_code_is_refused(rng):
    code = encode(rng.random((9, 7)) < 0.5)
    for rle, error in (
        (code[:-3], "break off"),
        (code[:3], "break off"),
        ([], "break off"),
        ([256, *code[1:]], "integers in 0..255"),
        ([True, *code[1:]], "integers in 0..255"),
        ("12", "integers in 0..255"),
        (None, "integers in 0..255"),
    ):
        with pytest.raises(ValueError, match=error):
            decode(rle, 9, 7)
    with pytest.raises(ValueError, match="of an image of 7 x 10"):
        decode(code, 7, 10)
    for _ in range(300):  # damaged anywhere: a mask or a reason
        damaged = list(code)
        damaged[rng.integers(len(code))] = int(rng.integers(256))
        try:
            assert decode(damaged, 9, 7).shape == (9, 7)
        except ValueError:
            pass


def test_as_label_studios_own_library():
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    rng = np.random.default_rng(0)
    for size in ((3, 5), (40, 61), (150, 200)):
        mask = rng.random(size) < 0.5
        mask[: size[0] // 2] = False
        theirs = brush.mask2rle(mask.astype("uint8") * 255)
        np.testing.assert_array_equal(decode(theirs, *size), mask)
        assert brush.decode_rle(encode(mask)).tolist() == np.repeat(mask.ravel() * 255, 4).tolist()


def test_what_label_studio_wrote(samples):
    """As its library reads it: the file says 768 x 576, and a brush stroke inside of that."""
    path = samples / "formats/label_studio/HumanSignal__mlbackend_brush_prediction.json"
    results = json.loads(path.read_bytes())[0]["result"]
    assert results
    for result in results:
        height, width = result["original_height"], result["original_width"]
        mask = decode(result["value"]["rle"], height, width)
        assert 0 < mask.mean() < 1
        np.testing.assert_array_equal(decode(encode(mask), height, width), mask)
