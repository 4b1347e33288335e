"""Reads the headers of JPEG and PNG files in a TensorFlow graph.

No bytes make these functions fail: a read beyond the end gives 0. The decoders check
the files that they decode.
"""

import functools

import tensorflow as tf

from keras_cmsa.preprocessing.reading import SCAN_STARTS

ORIENTATION_TAG = 0x0112
SHORT, LONG = 3, 4  # types of TIFF entries
EXIF = b"Exif\0\0"  # the first bytes of the EXIF segment of a JPEG
BYTE_ORDERS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0")  # Pillow takes the last two as well


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


def number(data, offset, length, little=False):
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


@tf.function
def exif_segment(data, most):
    """Finds the EXIF block of a JPEG, segment by segment, as libjpeg and Pillow go through a file.

    Args:
        data: `(n,)` uint8, of `file_bytes`.
        most: int64, the number of segments, fill bytes and stray bytes to look at. Each is a step
            of a loop, which takes tens of microseconds.

    Returns:
        start, end of the block, int64; equal if there is none.
        is_bounded: bool, whether the block, or the pixels, came within `most` steps.
    """
    size, nothing = byte_count(data), tf.constant(0, tf.int64)
    offset, start, end, steps = nothing + 2, nothing, nothing, nothing
    while offset + 4 <= size and steps < most:
        octets = bytes_at(data, offset + tf.range(10, dtype=tf.int64))
        first, marker = octets[0], octets[1]
        following = offset + 2 + tf.maximum(octets[2] * 256 + octets[3], 2)
        is_exif = (first == 0xFF) & (marker == 0xE1) & tf.reduce_all(octets[4:] == list(EXIF))
        start = tf.where(is_exif, offset + 10, start)
        end = tf.where(is_exif, tf.maximum(following, start), end)
        is_stray, stands_alone = (first != 0xFF) | (marker == 0xFF), marker <= 1
        stands_alone |= (marker >= 0xD0) & (marker <= 0xD8)
        is_last = is_exif | (marker == 0xD9) | (marker == 0xDA)  # the end, or the pixels
        offset = tf.where(
            is_stray,
            offset + 1,
            tf.where(stands_alone, offset + 2, tf.where(is_last, size, following)),
        )
        steps += 1
    return start, end, offset + 4 > size


def orientation(data, start, end):
    """Finds the orientation in an EXIF block, as Pillow does: 1 to 8; 1 if it has none.

    It is the last entry of that tag in the first directory, of type SHORT or LONG.

    Args:
        data: `(n,)` uint8.
        start, end: int64, where the block lies.
    """
    block = tf.concat([data[start : tf.minimum(end, byte_count(data))], [0]], axis=0)
    size, order = byte_count(block), bytes_at(block, tf.range(4))
    is_tiff = tf.reduce_any([tf.reduce_all(order == list(kind)) for kind in BYTE_ORDERS])
    little = order[0] == BYTE_ORDERS[0][0]
    directory = number(block, 4, 4, little)
    most = tf.maximum((size - directory - 2) // 12, 0)
    count = tf.minimum(number(block, directory, 2, little), most)
    entries = directory + 2 + 12 * tf.range(count)
    kind = number(block, entries + 2, 2, little)
    values = number(block, entries + 4, 4, little)
    is_turn = number(block, entries, 2, little) == ORIENTATION_TAG
    # Of two SHORT values, which fit into an entry too, the first counts.
    is_short = (kind == SHORT) & ((values == 1) | (values == 2))
    is_turn &= is_short | ((kind == LONG) & (values == 1))
    length_2, length_4 = (number(block, entries + 8, length, little) for length in (2, 4))
    turns = tf.boolean_mask(tf.where(is_short, length_2, length_4), is_turn)
    turn = tf.concat([tf.ones(1, tf.int64), turns], axis=0)[-1]
    return tf.where(is_tiff & (size >= 8) & (turn >= 1) & (turn <= 8), turn, 1)


def count_scans(data):
    """The number of scans in a JPEG, those of its thumbnails included."""
    # The file shifted by 0 to 4 bytes. Gathering bytes at each marker would take more memory.
    padded = tf.concat([data, tf.zeros(4, tf.uint8)], axis=0)
    octets = [padded[i : i + tf.size(data)] for i in range(5)]
    equal = [
        functools.reduce(tf.logical_and, map(tf.equal, octets, start)) for start in SCAN_STARTS
    ]
    return tf.math.count_nonzero(functools.reduce(tf.logical_or, equal))
