"""Reading of image file headers in a graph: sizes, EXIF orientation and offsets of parts.

No bytes make these functions fail: a read beyond the end gives the last byte. The decoders check
the files that they decode.
"""

import tensorflow as tf

from keras_cmsa.preprocessing.reading import ORIENTATION_TAG

# Markers of JPEG's frame headers, which hold the size: C0 to CF but tables (C4, CC) and JPG (C8).
FRAME_HEADERS = [marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)]


def file_bytes(file):
    """The bytes of a file, a scalar string, with a 0 appended: `(n + 1,)` uint8."""
    return tf.io.decode_raw(tf.strings.join([file, b"\0"]), tf.uint8)


def bytes_at(data, offset):
    """The bytes at the given offsets, as int64."""
    offset = tf.clip_by_value(tf.cast(offset, tf.int64), 0, byte_count(data) - 1)
    return tf.cast(tf.gather(data, offset), tf.int64)


def byte_count(data):
    return tf.size(data, tf.int64)


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
    """Height, width and the offset of the TIFF block in the EXIF segment; -1 for none."""
    offset, height, width, exif = int64(2), int64(-1), int64(-1), int64(-1)
    while offset + 4 < byte_count(data) and bytes_at(data, offset) == 0xFF:
        marker = bytes_at(data, offset + 1)
        if marker == 0xFF:  # a fill byte
            offset += 1
        elif marker == 0xDA:  # the pixels start here
            offset = byte_count(data)
        else:
            if tf.reduce_any(marker == FRAME_HEADERS) and height < 0:
                height = number(data, offset + 5, 2, False)
                width = number(data, offset + 7, 2, False)
            if marker == 0xE1 and exif < 0 and starts_with(data, offset + 4, b"Exif\0\0"):
                exif = offset + 10
            offset += 2 + number(data, offset + 2, 2, False)
    return height, width, exif


@tf.function
def chunks_of_png(data):
    """The offset of the TIFF block in a PNG's EXIF chunk (-1: none), and whether it has tRNS."""
    offset, exif, transparent = int64(8), int64(-1), False
    while offset + 8 < byte_count(data):
        if starts_with(data, offset + 4, b"eXIf"):
            exif = offset + 8
        if starts_with(data, offset + 4, b"tRNS"):
            transparent = True
        offset += 12 + number(data, offset, 4, False)
    return exif, transparent


def orientation(data, tiff):
    """The EXIF orientation, 1 to 8; 1 (upright) if none can be read.

    Args:
        data: `(n,)` uint8.
        tiff: int64, the offset of the TIFF block; negative for none.
    """
    little = starts_with(data, tiff, b"II")
    known = (tiff >= 0) & (little | starts_with(data, tiff, b"MM"))
    directory = tiff + number(data, tiff + 4, 4, little)
    most = tf.maximum((byte_count(data) - directory - 2) // 12, 0)
    count = tf.minimum(number(data, directory, 2, little), most)
    entries = directory + 2 + 12 * tf.range(count)
    kind = number(data, entries + 2, 2, little)
    value = tf.where(  # SHORT, or LONG
        kind == 3, number(data, entries + 8, 2, little), number(data, entries + 8, 4, little)
    )
    is_orientation = number(data, entries, 2, little) == ORIENTATION_TAG
    valid = is_orientation & ((kind == 3) | (kind == 4)) & (value >= 1) & (value <= 8)
    found = tf.reduce_max(tf.concat([[1], tf.where(valid, value, 1)], axis=0))
    return tf.where(known, found, 1)


@tf.function
def first_frame_of_gif(data):
    """The offsets of the parts of a GIF's first frame.

    Returns:
        Dict of int64: `end`, just after the frame (-1 if the file ends before); `image`, its
        descriptor; `control`, the graphic control extension before it (-1: none); `colours`, its
        colour table.
    """
    flags = bytes_at(data, 10)
    offset = tf.where(flags >= 128, 13 + colour_table_size(flags), 13)
    image, control, end = int64(-1), int64(-1), int64(-1)
    in_blocks = False  # blocks start with their length; a block of length 0 is the last
    while end < 0 and offset < byte_count(data):
        octet = bytes_at(data, offset)
        if in_blocks:
            offset += 1 + octet
            if octet == 0:
                in_blocks = False
                if image >= 0:
                    end = offset
        elif octet == 0x21:  # an extension
            if bytes_at(data, offset + 1) == 0xF9:
                control = offset
            offset += 2
            in_blocks = True
        elif octet == 0x2C:  # the image
            flags = bytes_at(data, offset + 9)
            image = offset
            offset += tf.where(flags >= 128, 11 + colour_table_size(flags), 11)
            in_blocks = True
        else:
            offset = byte_count(data)
    own_colours = bytes_at(data, image + 9) >= 128
    return {
        "end": tf.where(end <= byte_count(data), end, -1),
        "image": image,
        "control": control,
        "colours": tf.where(own_colours, image + 10, 13),
    }


def colour_table_size(flags):
    """The bytes of a GIF's colour table, from the flags of its descriptor."""
    return tf.bitwise.left_shift(int64(6), flags % 8)


def int64(value):
    return tf.constant(value, tf.int64)
