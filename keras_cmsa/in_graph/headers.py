"""What stands in the headers of image files, read in a graph: sizes, EXIF orientation, places.

Nothing here can fail, whatever the bytes: reading beyond the end gives the last one. The decoders
check what they decode.
"""

import tensorflow as tf

from keras_cmsa.image import ORIENTATION_TAG

# JPEG's frame headers, which hold the size: C0 to CF without those of tables and of JPG itself.
FRAME_HEADERS = [marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)]


def octets(file):
    """The bytes of a file, a scalar string, and a 0 at the end: `(n + 1,)` uint8."""
    return tf.io.decode_raw(tf.strings.join([file, b"\0"]), tf.uint8)


def at(data, place):
    """Bytes at the given places, as int64."""
    place = tf.clip_by_value(tf.cast(place, tf.int64), 0, size(data) - 1)
    return tf.cast(tf.gather(data, place), tf.int64)


def size(data):
    return tf.size(data, tf.int64)


def number(data, place, length, little):
    """An unsigned integer of `length` bytes at each of the given places, as int64.

    Args:
        data: `(n,)` uint8.
        place: int64 of any shape.
        length: 2 or 4.
        little: bool, whether the least byte comes first.
    """
    octets = at(data, tf.cast(place, tf.int64)[..., None] + tf.range(length, dtype=tf.int64))
    weights = tf.constant([256**i for i in range(length)], tf.int64)
    return tf.reduce_sum(octets * tf.where(little, weights, weights[::-1]), axis=-1)


def is_at(data, place, text):
    """Whether the bytes `text` stand at a place."""
    places = tf.cast(place, tf.int64) + tf.range(len(text), dtype=tf.int64)
    return tf.reduce_all(at(data, places) == tf.constant(list(text), tf.int64))


@tf.function
def segments_of_jpeg(data):
    """Height and width, and where the TIFF block of the EXIF segment starts; -1: there is none."""
    place, height, width, exif = int64(2), int64(-1), int64(-1), int64(-1)
    while place + 4 < size(data) and at(data, place) == 0xFF:
        marker = at(data, place + 1)
        if marker == 0xFF:  # a filling byte
            place += 1
        elif marker == 0xDA:  # pixels from here on
            place = size(data)
        else:
            if tf.reduce_any(marker == FRAME_HEADERS) and height < 0:
                height = number(data, place + 5, 2, False)
                width = number(data, place + 7, 2, False)
            if marker == 0xE1 and exif < 0 and is_at(data, place + 4, b"Exif\0\0"):
                exif = place + 10
            place += 2 + number(data, place + 2, 2, False)
    return height, width, exif


@tf.function
def chunks_of_png(data):
    """Where the TIFF block of a PNG's EXIF chunk starts (-1: none), and whether it has tRNS."""
    place, exif, transparent = int64(8), int64(-1), False
    while place + 8 < size(data):
        if is_at(data, place + 4, b"eXIf"):
            exif = place + 8
        if is_at(data, place + 4, b"tRNS"):
            transparent = True
        place += 12 + number(data, place, 4, False)
    return exif, transparent


def orientation(data, tiff):
    """EXIF orientation 1 to 8; 1, upright, where none can be read.

    Args:
        data: `(n,)` uint8.
        tiff: int64, where the TIFF block starts; negative for none.
    """
    little = is_at(data, tiff, b"II")
    known = (tiff >= 0) & (little | is_at(data, tiff, b"MM"))
    directory = tiff + number(data, tiff + 4, 4, little)
    room = tf.maximum((size(data) - directory - 2) // 12, 0)
    count = tf.minimum(number(data, directory, 2, little), room)
    entries = directory + 2 + 12 * tf.range(count)
    kind = number(data, entries + 2, 2, little)
    value = tf.where(  # SHORT, or LONG
        kind == 3, number(data, entries + 8, 2, little), number(data, entries + 8, 4, little)
    )
    is_it = number(data, entries, 2, little) == ORIENTATION_TAG
    good = is_it & ((kind == 3) | (kind == 4)) & (value >= 1) & (value <= 8)
    found = tf.reduce_max(tf.concat([[1], tf.where(good, value, 1)], axis=0))
    return tf.where(known, found, 1)


@tf.function
def first_frame_of_gif(data):
    """Where the parts of a GIF's first frame lie.

    Returns:
        Dict of int64: `end`, just after the frame (-1 where the file ends before); `image`, its
        descriptor; `control`, the graphic control extension before it (-1: none); `colours`, its
        colour table.
    """
    flags = at(data, 10)
    place = tf.where(flags >= 128, 13 + colour_table_size(flags), 13)
    image, control, end = int64(-1), int64(-1), int64(-1)
    in_blocks = False  # each with its length in front, until one of length 0
    while end < 0 and place < size(data):
        octet = at(data, place)
        if in_blocks:
            place += 1 + octet
            if octet == 0:
                in_blocks = False
                if image >= 0:
                    end = place
        elif octet == 0x21:  # an extension
            if at(data, place + 1) == 0xF9:
                control = place
            place += 2
            in_blocks = True
        elif octet == 0x2C:  # the image
            flags = at(data, place + 9)
            image = place
            place += tf.where(flags >= 128, 11 + colour_table_size(flags), 11)
            in_blocks = True
        else:
            place = size(data)
    own_colours = at(data, image + 9) >= 128
    return {
        "end": tf.where(end <= size(data), end, -1),
        "image": image,
        "control": control,
        "colours": tf.where(own_colours, image + 10, 13),
    }


def colour_table_size(flags):
    return tf.bitwise.left_shift(int64(6), flags % 8)


def int64(value):
    return tf.constant(value, tf.int64)
