"""Label Studio's run lengths of a brush mask: the four channels of its pixels, packed in bits.

The code holds 32 bits of the number of values, 5 bits of their width and 4 times 4 bits of widths of
lengths, each less one. Then come blocks: a bit that is set for a run, two bits that choose one of the
four widths, the length less one in that many bits, and the value of the run or as many values.
https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack
"""

import numpy as np

CHANNELS = 4  # red, green, blue, opacity; what is not wholly transparent is inside
WIDTHS = (3, 4, 8, 16)  # of lengths; `encode` takes the first that fits
LONGEST = 1 << WIDTHS[-1]
HEAD = 32 + 5 + 4 * 4  # bits


def encode(mask):
    """Encodes a mask `(H, W)` bool as a list of integers in 0..255; its pixels are 0 or 255."""
    values = np.asarray(mask, bool).ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])
    lengths = CHANNELS * np.diff(starts, append=values.size)
    pieces = -(-lengths // LONGEST)  # of each run, all but the last of the longest length
    colours = np.repeat(255 * values[starts], pieces)
    rest = lengths - (pieces - 1) * LONGEST
    lengths = np.full(colours.size, LONGEST)
    lengths[np.cumsum(pieces) - 1] = rest
    choices = np.searchsorted(1 << np.array(WIDTHS), lengths)
    widths = np.array(WIDTHS)[choices]
    codes = (4 + choices << widths | lengths - 1) << 8 | colours
    # Each block has its last bits of 32 alone: a run, the choice, the length and 8 of the value.
    blocks = np.unpackbits(codes.astype(">u4").view("uint8")).reshape(-1, 32)
    blocks = blocks[np.arange(32) >= 32 - (1 + 2 + widths[:, None] + 8)]
    head = format(CHANNELS * values.size, "032b") + format(8 - 1, "05b")
    head += "".join(format(width - 1, "04b") for width in WIDTHS)
    return np.packbits(np.concatenate([[int(bit) for bit in head], blocks])).tolist()


def decode(rle, height, width):
    """Decodes Label Studio's run lengths.

    Args:
        rle: list of integers in 0..255.
        height, width: of the image in pixels.

    Returns:
        `(height, width)` bool, the pixels whose opacity is not 0.

    Raises:
        ValueError: if it is no such code, or that of an image of another size.
    """
    if not isinstance(rle, list) or not all(type(x) is int and 0 <= x < 256 for x in rle):
        raise ValueError("wanted brush run lengths, integers in 0..255. Received: other values")
    code, at = bytes(rle), 0
    size = CHANNELS * height * width

    def read(bits):
        nonlocal at
        first, at = at, at + bits
        if at > 8 * len(code):
            raise ValueError("wanted whole brush run lengths. Received: some that break off")
        number = int.from_bytes(code[first // 8 : -(-at // 8)])
        return number >> -at % 8 & (1 << bits) - 1

    count, depth = read(32), read(5) + 1
    if (count, depth) != (size, 8):
        raise ValueError(
            f"wanted brush run lengths of an image of {height} x {width} (height x width): {size} "
            f"values of 8 bits. Received: {count} of {depth}"
        )
    widths = [read(4) + 1 for _ in range(4)]
    values, start = np.zeros(size, "uint8"), 0
    while start < size:
        is_run, length = read(1), read(widths[read(2)]) + 1
        if start + length > size:
            raise ValueError(f"wanted {size} values. Received: brush run lengths of more")
        part = [read(8)] if is_run else list(read(8 * length).to_bytes(length))
        values[start : start + length] = part
        start += length
    return values.reshape(height, width, CHANNELS)[..., 3] > 0
