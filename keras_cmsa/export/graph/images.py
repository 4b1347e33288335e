"""The TensorFlow twin of `keras_cmsa.preprocessing.reading`: image files to the network's input.

It reads JPEG and PNG, whose pixels equal those of `read_image`.
"""

import tensorflow as tf

from keras_cmsa.export.graph.fitting import to_square
from keras_cmsa.export.graph.headers import (
    bytes_at,
    count_scans,
    exif_segment,
    file_bytes,
    number,
    orientation,
)
from keras_cmsa.preprocessing.reading import MAX_SCANS

# Segments, fill bytes and stray bytes of a JPEG before its EXIF block, or before its pixels if it
# has none. A photo has about ten. The files of a request share the first number; the second is
# each file's in any case.
MAX_PARTS, LEAST_PARTS = 1_000, 100


def read_images(files, size, max_pixels, resizing="pad"):
    """Decodes each file and fits it to the square; a file that cannot be read affects no other.

    Args:
        files: `(B,)` strings, the bytes of JPEG or PNG files.
        size: side S of the square in pixels.
        max_pixels: the most pixels of an image; a file that declares more is not decoded.
        resizing: how an image fills the square.

    Returns:
        images: `(B, S, S, 3)` float32 RGB in 0..255; 0 if the file cannot be read.
        sizes: `(B, 2)` int32, height and width of the upright image; S if it cannot be read.
        readable: `(B,)` bool.
    """
    share = MAX_PARTS // tf.maximum(tf.size(files, tf.int64), 1)
    max_parts = tf.maximum(share, LEAST_PARTS)

    def read(file):
        pixels = read_image(file, max_pixels, max_parts)
        readable = tf.size(pixels) > 0
        # An unreadable file gets black pixels, so that the operations below cannot fail.
        pixels = tf.cond(readable, lambda: pixels, lambda: tf.zeros((size, size, 3), tf.uint8))
        pixels = tf.ensure_shape(pixels, (None, None, 3))
        return to_square(pixels, size, resizing), tf.shape(pixels)[:2], readable

    signature = (
        tf.TensorSpec((size, size, 3), tf.float32),
        tf.TensorSpec((2,), tf.int32),
        tf.TensorSpec((), tf.bool),
    )
    return tf.map_fn(read, files, fn_output_signature=signature)


def read_image(file, max_pixels, max_parts=MAX_PARTS):
    """Decodes one file to upright RGB `(H, W, 3)` uint8; `(0, 0, 3)` if it cannot be read."""
    data = file_bytes(file)

    def starts_with(magic):
        return tf.strings.substr(file, 0, len(magic)) == magic

    return tf.case(
        [
            (starts_with(b"\xff\xd8\xff"), lambda: read_jpeg(file, data, max_pixels, max_parts)),
            (starts_with(b"\x89PNG\r\n\x1a\n"), lambda: read_png(file, data, max_pixels)),
        ],
        default=nothing,
    )


def read_jpeg(file, data, max_pixels, max_parts):
    """`read_image` of a JPEG. `data` is `file_bytes` of the file."""

    def decode(file):
        # The size that the decoder itself reads: no other reading can differ from it.
        shape = tf.image.extract_jpeg_shape(file)
        return tf.cond(
            fits(shape[0], shape[1], max_pixels),
            lambda: tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE"),
            nothing,
        )

    start, end, is_bounded = exif_segment(data, tf.cast(max_parts, tf.int64))
    is_bounded &= count_scans(data) <= MAX_SCANS
    pixels = tf.cond(is_bounded, lambda: decode_or_nothing(decode, file), nothing)
    return upright(pixels, orientation(data, start, end))


def read_png(file, data, max_pixels):
    """`read_image` of a PNG. `data` is `file_bytes` of the file."""
    width, height = number(data, 16, 4), number(data, 20, 4)
    depth, colours = bytes_at(data, 24), bytes_at(data, 25)
    # Of 16 bits, one transparent colour does not count.
    is_solid = (depth == 16) & (colours != 4) & (colours != 6)
    # If a level has few bits and none is transparent, the decoder's opacity is the largest level.
    opaque = tf.bitwise.left_shift(tf.ones_like(depth), tf.minimum(depth, 8)) - 1

    def decode(file):
        return tf.cond(
            is_solid, lambda: tf.io.decode_png(file, 3), lambda: tf.io.decode_png(file, 4)
        )

    pixels = tf.cond(
        fits(height, width, max_pixels), lambda: decode_or_nothing(decode, file), nothing
    )
    return tf.cond(
        tf.shape(pixels)[-1] == 4,
        lambda: on_white(pixels, tf.cast(opaque, tf.uint8)),
        lambda: pixels[..., :3],
    )


def nothing():
    """The pixels of a file that cannot be read."""
    return tf.zeros((0, 0, 3), tf.uint8)


def fits(height, width, max_pixels):
    """Whether a height and a width are an image of 1 to `max_pixels` pixels."""
    height, width, most = (tf.cast(x, tf.int64) for x in (height, width, max_pixels))
    # Each side is checked too, because the product of two bad ones may be good.
    are_sides = (height > 0) & (width > 0) & (height <= most) & (width <= most)
    return are_sides & (height * width <= most)


def decode_or_nothing(decode, file):
    """`decode(file)`, `(H, W, C)` uint8, or `nothing()` if decoding fails.

    A failing operation makes its whole graph fail, but in a tf.data pipeline only its element. The
    content of such a pipeline is prepared again for each image, so it holds the decoder alone.
    """
    decoded = tf.data.Dataset.from_tensors(file).map(decode).ignore_errors()
    return decoded.reduce(nothing(), lambda _, pixels: tf.ensure_shape(pixels, (None, None, None)))


def on_white(pixels, opaque):
    """Lays `(H, W, 4)` uint8 on white, unless all of it is `opaque`: `(H, W, 3)` uint8."""
    colour, opacity = pixels[..., :3], pixels[..., 3:]

    def blended():
        wide, part = (tf.cast(x, tf.uint16) for x in (colour, opacity))
        # Pillow's rounding of a division by 255: (x + x / 256) / 256 with x = the product + 128.
        x = wide * part + (255 - part) * 255 + 128
        eight = tf.constant(8, tf.uint16)
        shifted = tf.bitwise.right_shift(x + tf.bitwise.right_shift(x, eight), eight)
        return tf.cast(shifted, tf.uint8)

    return tf.cond(tf.reduce_all(opacity == opaque), lambda: colour, blended)


def upright(pixels, orientation):
    """Turns pixels upright by an EXIF orientation, 1 to 8."""
    # 5 to 8 are 1 to 4 with rows and columns exchanged first.
    pixels = tf.cond(orientation > 4, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
    turn = (orientation - 1) % 4  # as it is, mirrored, by half a turn, upside down
    rows = tf.where(turn >= 2, -1, 1)
    columns = tf.where((turn == 1) | (turn == 2), -1, 1)
    return pixels[::rows, ::columns]
