"""The TensorFlow twin of `keras_cmsa.preprocessing.reading`: image files to the network's input.

For JPEG, PNG, BMP and GIF, the pixels equal those of `read_image`.
"""

import functools

import numpy as np
import tensorflow as tf

from keras_cmsa.export.graph import headers
from keras_cmsa.export.graph.fitting import to_square
from keras_cmsa.export.graph.headers import bytes_at, int64, number
from keras_cmsa.preprocessing.headers import MAX_PARTS, MAX_SCANS

GREY_COLOURS = bytes(np.arange(256, dtype="uint8").repeat(4) * np.uint8([1, 1, 1, 0] * 256))
WHITE = b"\xff\xff\xff"
BYTES = [bytes([value]) for value in range(256)]

# Keys of `decoders` in `read_image`.
JPEG, PNG, TRANSPARENT_PNG, BMP, GIF, NONE = range(6)


def read_images(files, size, max_pixels, resizing="pad"):
    """Decodes each file and fits it to the square; a file that cannot be read affects no other.

    Args:
        files: `(B,)` strings, the bytes of JPEG, PNG, BMP or GIF files.
        size: side S of the square in pixels.
        max_pixels: the most pixels of an image; a file that declares more is not decoded.
        resizing: how an image fills the square.

    Returns:
        images: `(B, S, S, 3)` float32 RGB in 0..255; 0 if the file cannot be read.
        sizes: `(B, 2)` int32, height and width of the upright image; S if it cannot be read.
        readable: `(B,)` bool.
    """

    def read(file):
        pixels = read_image(file, max_pixels)
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


def read_image(file, max_pixels):
    """Decodes one file to upright RGB `(H, W, 3)` uint8; `(0, 0, 3)` if it cannot be read."""
    data = headers.file_bytes(file)
    kinds = {
        b"\xff\xd8\xff": describe_jpeg,
        b"\x89PNG\r\n\x1a\n": describe_png,
        b"BM": describe_bmp,
        b"GIF87a": describe_gif,
        b"GIF89a": describe_gif,
    }
    cases = [
        (tf.strings.substr(file, 0, len(magic)) == magic, functools.partial(describe, file, data))
        for magic, describe in kinds.items()
    ]
    nothing = (NONE, int64(1), int64(1), int64(1), file)
    decoder, height, width, orientation, file = tf.case(
        cases, default=lambda: tuple(map(tf.identity, nothing))
    )
    decoder = tf.where(fits((height, width), max_pixels), decoder, NONE)
    decoders = {
        JPEG: lambda x: decode_jpeg(x, max_pixels),
        PNG: lambda x: tf.io.decode_png(x, 3),
        TRANSPARENT_PNG: lambda x: tf.io.decode_png(x, 4),
        BMP: tf.io.decode_bmp,
        GIF: lambda x: tf.io.decode_gif(x)[0],
        NONE: lambda x: tf.zeros((0, 0, 3), tf.uint8),
    }
    pixels = tf.switch_case(
        decoder,
        [functools.partial(decode_or_nothing, decoders[i], file) for i in range(len(decoders))],
    )
    return upright(three_channels(pixels, decoder == TRANSPARENT_PNG), orientation)


def fits(shape, max_pixels):
    """Whether a height and a width are an image of 1 to `max_pixels` pixels."""
    height, width = (tf.cast(side, tf.int64) for side in shape)
    # Each side is checked too, because the product of two bad ones may be good.
    is_side = [(side > 0) & (side <= max_pixels) for side in (height, width)]
    return is_side[0] & is_side[1] & (height * width <= max_pixels)


def decode_jpeg(file, max_pixels):
    """The size is what the decoder itself reads, so that no other reading can differ from it."""
    shape = tf.image.extract_jpeg_shape(file)
    return tf.cond(
        fits((shape[0], shape[1]), max_pixels),
        lambda: tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.zeros((0, 0, 3), tf.uint8),
    )


def decode_or_nothing(decode, file):
    """`decode(file)`, `(H, W, C)` uint8, or `(0, 0, 3)` if decoding fails.

    A failing operation makes its whole graph fail, but in a tf.data pipeline only its element. The
    content of such a pipeline is prepared again for each image, so it holds the decoder alone.
    """
    decoded = tf.data.Dataset.from_tensors(file).map(decode).ignore_errors()
    nothing = tf.zeros((0, 0, 3), tf.uint8)
    return decoded.reduce(nothing, lambda _, pixels: tf.ensure_shape(pixels, (None, None, None)))


def describe_jpeg(file, data):
    """Each `describe_*` returns decoder, height, width, EXIF orientation and the file to decode.

    Here the decoder checks the size, so 1 x 1 stands for it.
    """
    start, end, parts = headers.segments_of_jpeg(data)
    bounded = (parts <= MAX_PARTS) & (headers.count_scans(data) <= MAX_SCANS)
    decoder = tf.where(bounded, JPEG, NONE)
    return decoder, int64(1), int64(1), headers.orientation(data, start, end), tf.identity(file)


def describe_png(file, data):
    width, height = (number(data, offset, 4, False) for offset in (16, 20))
    start, end, parts, has_transparent_colour = headers.chunks_of_png(data)
    depth, colours = bytes_at(data, 24), bytes_at(data, 25)
    has_transparent_colour &= depth < 16  # as in `read_image`
    transparent = (colours == 4) | (colours == 6) | has_transparent_colour
    decoder = tf.where(transparent, TRANSPARENT_PNG, PNG)
    decoder = tf.where(parts <= MAX_PARTS, decoder, NONE)
    return decoder, height, width, headers.orientation(data, start, end), tf.identity(file)


def describe_bmp(file, data):
    """Accepts uncompressed files of 24 or 32 bits per pixel, or of 8 bits with grey levels."""
    header, compression = (number(data, offset, 4, True) for offset in (14, 30))
    width, height = (number(data, offset, 4, True) for offset in (18, 22))
    # A negative height means that the rows run from top to bottom.
    height = tf.where(height < 2**31, height, 2**32 - height)
    bits = number(data, 28, 2, True)
    known = (bits == 24) | (bits == 32)
    known |= (bits == 8) & headers.starts_with(data, 14 + header, GREY_COLOURS)
    known &= (header >= 40) & (compression == 0)
    return tf.where(known, BMP, NONE), height, width, int64(1), tf.identity(file)


def describe_gif(file, data):
    """Accepts a first frame that fills the image, and makes its transparent pixels white.

    The rest of the file is cut off, since the decoder would allocate memory for every frame.
    """
    frame = headers.first_frame_of_gif(data)
    image, control = frame["image"], frame["control"]
    width, height = (number(data, offset, 2, True) for offset in (6, 8))
    left, top, own_width, own_height = (number(data, image + i, 2, True) for i in (1, 3, 5, 7))
    valid = (left == 0) & (top == 0) & (own_width == width) & (own_height == height)
    valid &= frame["end"] >= 0
    flags = bytes_at(data, control + 3)

    def opaque():
        """The file with white as its transparent colour and without the flag of transparency."""
        plain = replace_at(file, control + 3, tf.gather(tf.constant(BYTES), flags - 1))
        colour = frame["colours"] + 3 * bytes_at(data, control + 6)
        return tf.cond(
            colour + 3 < frame["end"], lambda: replace_at(plain, colour, WHITE), lambda: plain
        )

    transparent = valid & (control >= 0) & (flags % 2 == 1)
    still = tf.cond(transparent, opaque, lambda: file)
    still = tf.strings.substr(still, int64(0), tf.maximum(frame["end"], 0))
    decoder = tf.where(valid, GIF, NONE)
    return decoder, height, width, int64(1), tf.strings.join([still, b";"])


def three_channels(pixels, transparent):
    """Repeats grey, lays transparent pixels on white and drops the fourth byte of BMP."""
    return tf.case(
        [
            (tf.shape(pixels)[-1] == 1, lambda: tf.repeat(pixels[..., :1], 3, axis=-1)),
            (transparent & (tf.size(pixels) > 0), lambda: on_white(pixels)),
        ],
        default=lambda: pixels[..., :3],
    )


def on_white(pixels):
    """Lays `(H, W, 4)` uint8 on white: `(H, W, 3)` uint8."""
    colour, opacity = (tf.cast(x, tf.uint16) for x in (pixels[..., :3], pixels[..., 3:]))
    # Pillow's rounding of a division by 255: (x + x / 256) / 256 with x = the product + 128.
    x = colour * opacity + (255 - opacity) * 255 + 128
    eight = tf.constant(8, tf.uint16)
    shifted = tf.bitwise.right_shift(x + tf.bitwise.right_shift(x, eight), eight)
    return tf.cast(shifted, tf.uint8)


def replace_at(text, offset, new):
    """The string `text` with its bytes from `offset` on replaced by `new`."""
    length = tf.cast(tf.strings.length(new), tf.int64)
    before = tf.strings.substr(text, int64(0), offset)
    after = tf.strings.substr(text, offset + length, tf.cast(tf.strings.length(text), tf.int64))
    return tf.strings.join([before, new, after])


def upright(pixels, orientation):
    """Turns pixels upright, as `keras_cmsa.preprocessing.reading.UPRIGHT` does."""

    def transposed(x):
        return tf.transpose(x, (1, 0, 2))

    turns = [
        lambda: pixels,
        lambda: pixels[:, ::-1],
        lambda: pixels[::-1, ::-1],
        lambda: pixels[::-1],
        lambda: transposed(pixels),
        lambda: transposed(pixels[::-1]),
        lambda: transposed(pixels[::-1, ::-1]),
        lambda: transposed(pixels[:, ::-1]),
    ]
    return tf.switch_case(tf.cast(orientation - 1, tf.int32), turns)
