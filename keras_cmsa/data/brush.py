"""Label Studio's code of brush masks, which is not COCO's.

Bits, the highest of each byte first: 32 for the number of values, 5 for the size of a value in bits,
4 each for four sizes; a size is stored less 1. Then blocks until there are all values: 1 bit that
tells a run from single values, 2 for one of the four sizes, that many bits for the length less 1,
and the value of the run, or all values. The values are red, green, blue and opacity of each pixel,
row by row; a pixel is inside if it is not wholly transparent. The same code as in
https://github.com/HumanSignal/label-studio-sdk (label_studio_sdk/converter/brush.py)
"""

from io import StringIO

import numpy as np

from keras_cmsa.data.masks import check_size

CHANNELS, VALUE_BITS = 4, 8
LENGTH_BITS = (3, 4, 8, 16)  # what Label Studio itself writes; others are read too


def decode_brush(code, height, width, name):
    """Decodes a mask.

    Args:
        code: list of integers in 0..255, the bytes.
        height, width: of the image in pixels.
        name: first words of an error.

    Returns:
        `(height, width)` uint8 of 0 and 1.

    Raises:
        ValueError: if the code is another, ends early or is of an image of another size.
    """
    try:
        data = bytes([*code])  # of an integer, `bytes` makes so many
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: wanted Label Studio's code as a list of integers in 0..255. Received: "
            f"{code!r:.100}"
        ) from None
    check_size(height, width, name)
    bits = StringIO(f"{int.from_bytes(data):0{8 * len(data)}b}")
    try:
        number, value_bits = _next(bits, 32), _next(bits, 5) + 1
        if (number, value_bits) != (CHANNELS * height * width, VALUE_BITS):
            raise ValueError(
                f"{name}: wanted {CHANNELS} values of {VALUE_BITS} bits for each pixel of an image "
                f"of {height} x {width} (height x width). Received: {number} of {value_bits} bits"
            )
        values = _values(bits, number)
    except EOFError:
        raise ValueError(
            f"{name}: wanted Label Studio's code to the end. Received: {len(code)} bytes of it"
        ) from None
    return (values[CHANNELS - 1 :: CHANNELS] > 0).astype("uint8").reshape(height, width)


def _next(bits, number):
    """The next bits as an integer; `EOFError` if there are fewer."""
    text = bits.read(number)
    if len(text) < number:
        raise EOFError
    return int(text, 2)


def _values(bits, number):
    """Decodes the blocks after the head: `(number,)` uint8."""
    sizes = [_next(bits, 4) + 1 for _ in range(4)]
    values, place = np.empty(number, "uint8"), 0
    while place < number:
        is_run, size = _next(bits, 1), sizes[_next(bits, 2)]
        end = min(place + _next(bits, size) + 1, number)
        single = 1 if is_run else end - place
        block = _next(bits, VALUE_BITS * single).to_bytes(single, "big")
        values[place:end] = np.frombuffer(block, "uint8")
        place = end
    return values


def encode_brush(mask):
    """Encodes a mask `(height, width)` of 0 and 1 as Label Studio reads it: list of integers."""
    pixels = np.asarray(mask).ravel() > 0
    starts = np.flatnonzero(np.diff(pixels, prepend=~pixels[:1]))
    lengths = CHANNELS * np.diff(starts, append=pixels.size)
    blocks = [f"{CHANNELS * pixels.size:032b}{VALUE_BITS - 1:05b}"]
    blocks += [f"{size - 1:04b}" for size in LENGTH_BITS]
    for inside, length in zip(pixels[starts].tolist(), lengths.tolist()):
        while length > 0:
            part = min(length, 1 << LENGTH_BITS[-1])
            which = next(i for i, size in enumerate(LENGTH_BITS) if part <= 1 << size)
            value = 255 * inside
            blocks.append(f"1{which:02b}{part - 1:0{LENGTH_BITS[which]}b}{value:0{VALUE_BITS}b}")
            length -= part
    bits = "".join(blocks)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
