"""The TensorFlow twin of `keras_cmsa.preprocessing.headers`, with offsets of a GIF's parts.

No bytes make these functions fail: a read beyond the end gives 0. The decoders check
the files that they decode.
"""

import functools

import tensorflow as tf

from keras_cmsa.preprocessing.headers import (
    EXIF,
    LONG,
    MAX_PARTS,
    ORIENTATION_TAG,
    SCAN_STARTS,
    SHORT,
)

EXIF_CHUNK, PIXELS_CHUNK, COLOUR_CHUNK, END_CHUNK = (
    int.from_bytes(kind, "big") for kind in (b"eXIf", b"IDAT", b"tRNS", b"IEND")
)


def file_bytes(file):
    """The bytes of a file, a scalar string, with a 0 appended: `(n + 1,)` uint8."""
    return tf.io.decode_raw(tf.strings.join([file, b"\0"]), tf.uint8)


def bytes_at(data, offset):
    """The bytes at the given offsets, as int64."""
    offset = tf.clip_by_value(tf.cast(offset, tf.int64), 0, byte_count(data))
    return tf.cast(tf.gather(data, offset), tf.int64)


def byte_count(data):
    """The number of bytes of a file, without the 0 that `file_bytes` appends."""
    return tf.size(data, tf.int64) - 1


def number(data, offset, length, little):
    """The unsigned integer of `length` bytes at each of the given offsets, as int64.

    Args:
        data: `(n,)` uint8.
        offset: int64 of any shape.
        length: 2 or 4.
        little: bool, whether the least significant byte comes first.
    """
    offsets = tf.cast(offset, tf.int64)[..., None] + tf.range(length, dtype=tf.int64)
    digits = bytes_at(data, offsets)
    weights = tf.constant([256**i for i in range(length)], tf.int64)
    return tf.reduce_sum(digits * tf.where(little, weights, weights[::-1]), axis=-1)


def starts_with(data, offset, prefix):
    """Whether the data from an offset on start with the bytes `prefix`."""
    offsets = tf.cast(offset, tf.int64) + tf.range(len(prefix), dtype=tf.int64)
    return tf.reduce_all(bytes_at(data, offsets) == tf.constant(list(prefix), tf.int64))


@tf.function
def segments_of_jpeg(data):
    """Twin of `_segments_of_jpeg`.

    Returns:
        start, end of the EXIF block, int64; equal if there is none.
        parts: the number of steps, int64; above `MAX_PARTS` if it was given up.
    """
    size = byte_count(data)
    offset, start, end, parts = int64(2), int64(0), int64(0), int64(0)
    while offset + 4 <= size and parts <= MAX_PARTS:
        octets = bytes_at(data, offset + tf.range(10, dtype=tf.int64))
        first, marker = octets[0], octets[1]
        following = offset + 2 + tf.maximum(octets[2] * 256 + octets[3], 2)
        is_exif = (first == 0xFF) & (marker == 0xE1) & (end == 0)
        is_exif &= tf.reduce_all(octets[4:] == list(EXIF))
        start = tf.where(is_exif, offset + 10, start)
        end = tf.where(is_exif, tf.maximum(following, start), end)
        stray, stands_alone, last = (first != 0xFF) | (marker == 0xFF), marker <= 1, marker >= 0xD9
        stands_alone |= (marker >= 0xD0) & (marker <= 0xD8)
        last &= marker <= 0xDA
        following = tf.where(last, size, following)
        following = tf.where(stands_alone, offset + 2, following)
        offset = tf.where(stray, offset + 1, following)
        parts += 1
    return start, end, parts


@tf.function
def chunks_of_png(data):
    """Twin of `_chunks_of_png`: `segments_of_jpeg`, and whether a tRNS is before the pixels."""
    size = byte_count(data)
    offset, start, end, parts = int64(8), int64(0), int64(0), int64(0)
    transparent, pixels = False, False
    while offset + 8 <= size and parts <= MAX_PARTS:
        octets = bytes_at(data, offset + tf.range(8, dtype=tf.int64))
        length, kind = big_endian(octets[:4]), big_endian(octets[4:])
        is_exif = (kind == EXIF_CHUNK) & (end == 0)
        start = tf.where(is_exif, offset + 8, start)
        end = tf.where(is_exif, offset + 8 + length, end)
        pixels |= kind == PIXELS_CHUNK
        transparent |= (kind == COLOUR_CHUNK) & ~pixels
        offset = tf.where(kind == END_CHUNK, size, offset + 12 + length)
        parts += 1
    return start, end, parts, transparent


def big_endian(octets):
    return tf.reduce_sum(octets * [256**i for i in reversed(range(octets.shape[0]))])


def orientation(data, start, end):
    """Twin of `keras_cmsa.preprocessing.headers.read_orientation`: 1 to 8.

    Args:
        data: `(n,)` uint8.
        start, end: int64, where the EXIF block lies.
    """
    block = tf.concat([data[start : tf.minimum(end, byte_count(data))], [0]], axis=0)
    size = byte_count(block)
    little = starts_with(block, 0, b"II*\0")
    known = (little | starts_with(block, 0, b"MM\0*")) & (size >= 8)
    directory = number(block, 4, 4, little)
    known &= directory + 2 <= size
    most = tf.maximum((size - directory - 2) // 12, 0)
    count = tf.minimum(number(block, directory, 2, little), most)
    entries = directory + 2 + 12 * tf.range(count)
    kind = number(block, entries + 2, 2, little)
    value = tf.where(
        kind == SHORT,
        number(block, entries + 8, 2, little),
        number(block, entries + 8, 4, little),
    )
    valid = (number(block, entries, 2, little) == ORIENTATION_TAG) & (value >= 1) & (value <= 8)
    valid &= ((kind == SHORT) | (kind == LONG)) & (number(block, entries + 4, 4, little) == 1)
    found = tf.concat([tf.boolean_mask(value, valid), [1]], axis=0)[0]
    return tf.where(known, found, 1)


def count_scans(data):
    """Twin of `check_scans`: the number of scans in a JPEG."""
    # The file shifted by 0 to 4 bytes. Gathering bytes at each marker would take more memory.
    padded = tf.concat([data, tf.zeros(4, tf.uint8)], axis=0)
    octets = [padded[i : i + tf.size(data)] for i in range(5)]
    equal = [
        functools.reduce(tf.logical_and, map(tf.equal, octets, start)) for start in SCAN_STARTS
    ]
    return tf.math.count_nonzero(functools.reduce(tf.logical_or, equal))


@tf.function
def first_frame_of_gif(data):
    """Twin of `_blocks_of_gif`: the offsets of the parts of a GIF's first frame.

    Returns:
        Dict of int64: `end`, just after the frame (-1 if the file ends before, or has too many
        parts); `image`, its descriptor; `control`, the graphic control extension before it (-1:
        none); `colours`, its colour table.
    """
    size = byte_count(data)
    flags = bytes_at(data, 10)
    offset = tf.where(flags >= 128, 13 + colour_table_size(flags), 13)
    image, control, end, parts = int64(-1), int64(-1), int64(-1), int64(0)
    while end < 0 and offset < size and parts <= MAX_PARTS:
        octet = bytes_at(data, offset)
        if octet == 0x21:  # an extension
            if bytes_at(data, offset + 1) == 0xF9:
                control = offset
            offset += 2
        elif octet == 0x2C:  # the image
            flags = bytes_at(data, offset + 9)
            image = offset
            offset += tf.where(flags >= 128, 11 + colour_table_size(flags), 11)
        else:
            offset = size
        parts += 1
        length = bytes_at(data, offset)  # a block starts with its length; the last has length 0
        while length > 0 and offset < size and parts <= MAX_PARTS:
            offset += 1 + length
            length = bytes_at(data, offset)
            parts += 1
        offset += 1
        if image >= 0:
            end = offset
    own_colours = bytes_at(data, image + 9) >= 128
    return {
        "end": tf.where(end <= size and parts <= MAX_PARTS, end, -1),
        "image": image,
        "control": control,
        "colours": tf.where(own_colours, image + 10, 13),
    }


def colour_table_size(flags):
    """The bytes of a GIF's colour table, from the flags of its descriptor."""
    return tf.bitwise.left_shift(int64(6), flags % 8)


def int64(value):
    return tf.constant(value, tf.int64)
