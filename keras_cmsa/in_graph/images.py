"""Image files to the network's input, and its answer to masks, in a graph.

The pixels are those of `keras_cmsa.image.read_image` for JPEG, PNG, BMP and GIF.
"""

import functools

import numpy as np
import tensorflow as tf

from keras_cmsa.in_graph import headers
from keras_cmsa.in_graph.headers import at, int64, number

GREY_COLOURS = bytes(np.arange(256, dtype="uint8").repeat(4) * np.uint8([1, 1, 1, 0] * 256))
WHITE = b"\xff\xff\xff"
BYTES = [bytes([value]) for value in range(256)]

# Which of `decoders` takes a file.
JPEG, PNG, TRANSPARENT_PNG, BMP, GIF, NONE = range(6)


def read_images(files, size, max_pixels, fit="pad"):
    """Decodes each file and fits it to the square. A file that cannot be read harms no other.

    Args:
        files: `(B,)` strings, the bytes of JPEG, PNG, BMP or GIF files.
        size: side S of the square in pixels.
        max_pixels: files that declare more are not decoded.
        fit: a key of `keras_cmsa.image.FITS`.

    Returns:
        images: `(B, S, S, 3)` float32 RGB in 0..255; 0 where a file cannot be read.
        sizes: `(B, 2)` int32, height and width of the upright original; S where it cannot be read.
        readable: `(B,)` bool.
    """

    def read(file):
        pixels = read_image(file, max_pixels)
        readable = tf.size(pixels) > 0
        # Any pixels stand for those that are not there, so that nothing below can fail.
        pixels = tf.cond(readable, lambda: pixels, lambda: tf.zeros((size, size, 3), tf.uint8))
        height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
        new_height, new_width, top, left = geometry(height, width, size, fit)
        resized = tf.image.resize(pixels, (new_height, new_width), "bilinear", antialias=False)
        square = tf.image.pad_to_bounding_box(resized, top, left, size, size)
        return tf.ensure_shape(square, (size, size, 3)), tf.stack([height, width]), readable

    kinds = (
        tf.TensorSpec((size, size, 3), tf.float32),
        tf.TensorSpec((2,), tf.int32),
        tf.TensorSpec((), tf.bool),
    )
    return tf.map_fn(read, files, fn_output_signature=kinds)


def read_image(file, max_pixels):
    """One file to `(H, W, 3)` uint8 upright RGB; `(0, 0, 3)` where it cannot be read."""
    data = headers.octets(file)
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
    nothing = (NONE, int64(0), int64(0), int64(1), file)
    decoder, height, width, orientation, file = tf.case(
        cases, default=lambda: tuple(map(tf.identity, nothing))
    )
    pixels = height * width
    decoder = tf.where((pixels > 0) & (pixels <= max_pixels), decoder, NONE)
    decoders = {
        JPEG: lambda x: tf.io.decode_jpeg(x, 3, dct_method="INTEGER_ACCURATE"),
        PNG: lambda x: tf.io.decode_png(x, 3),
        TRANSPARENT_PNG: lambda x: tf.io.decode_png(x, 4),
        BMP: tf.io.decode_bmp,
        GIF: lambda x: tf.io.decode_gif(x)[0],
        NONE: lambda x: tf.zeros((0, 0, 3), tf.uint8),
    }
    pixels = tf.switch_case(
        decoder, [functools.partial(attempt, decoders[i], file) for i in range(len(decoders))]
    )
    return upright(three_channels(pixels, decoder == TRANSPARENT_PNG), orientation)


def attempt(decode, file):
    """`decode(file)`, `(H, W, C)` uint8, or `(0, 0, 3)` where it fails.

    An operation that fails fails its whole graph, but of a tf.data pipeline only the element. What
    is in such a pipeline is prepared anew for each image, so it holds no more than must be there.
    """
    decoded = tf.data.Dataset.from_tensors(file).map(decode).ignore_errors()
    nothing = tf.zeros((0, 0, 3), tf.uint8)
    return decoded.reduce(nothing, lambda _, pixels: tf.ensure_shape(pixels, (None, None, None)))


def describe_jpeg(file, data):
    """Each `describe`: the decoder, height, width, EXIF orientation, and the file to decode."""
    height, width, exif = headers.segments_of_jpeg(data)
    return tf.constant(JPEG), height, width, headers.orientation(data, exif), tf.identity(file)


def describe_png(file, data):
    width, height = (number(data, place, 4, False) for place in (16, 20))
    exif, has_transparent_colour = headers.chunks_of_png(data)
    depth, colours = at(data, 24), at(data, 25)
    has_transparent_colour &= (depth < 16) | (colours != 0)  # as read_image has it
    transparent = (colours == 4) | (colours == 6) | has_transparent_colour
    decoder = tf.where(transparent, TRANSPARENT_PNG, PNG)
    return decoder, height, width, headers.orientation(data, exif), tf.identity(file)


def describe_bmp(file, data):
    """Uncompressed, of 24 or 32 bits per pixel, or of 8 with grey levels."""
    header, compression = (number(data, place, 4, True) for place in (14, 30))
    width, height = (number(data, place, 4, True) for place in (18, 22))
    height = tf.where(height < 2**31, height, 2**32 - height)  # negative: from the top down
    bits = number(data, 28, 2, True)
    known = (bits == 24) | (bits == 32)
    known |= (bits == 8) & headers.is_at(data, 14 + header, GREY_COLOURS)
    known &= (header >= 40) & (compression == 0)
    return tf.where(known, BMP, NONE), height, width, int64(1), tf.identity(file)


def describe_gif(file, data):
    """The first frame, which must fill the image; its transparent pixels are white.

    The rest of the file is cut away: the decoder would make room for every frame.
    """
    frame = headers.first_frame_of_gif(data)
    image, control = frame["image"], frame["control"]
    width, height = (number(data, place, 2, True) for place in (6, 8))
    left, top, own_width, own_height = (number(data, image + i, 2, True) for i in (1, 3, 5, 7))
    whole = (left == 0) & (top == 0) & (own_width == width) & (own_height == height)
    whole &= frame["end"] >= 0
    flags = at(data, control + 3)

    def opaque():
        """White for the transparent colour, and no word of transparency."""
        plain = put(file, control + 3, tf.gather(tf.constant(BYTES), flags - 1))
        colour = frame["colours"] + 3 * at(data, control + 6)
        return tf.cond(colour + 3 < frame["end"], lambda: put(plain, colour, WHITE), lambda: plain)

    transparent = whole & (control >= 0) & (flags % 2 == 1)
    still = tf.cond(transparent, opaque, lambda: file)
    still = tf.strings.substr(still, int64(0), tf.maximum(frame["end"], 0))
    decoder = tf.where(whole, GIF, NONE)
    return decoder, height, width, int64(1), tf.strings.join([still, b";"])


def three_channels(pixels, transparent):
    """Grey three times, opacity laid on white; without the fourth byte of BMP."""
    return tf.case(
        [
            (tf.shape(pixels)[-1] == 1, lambda: tf.repeat(pixels[..., :1], 3, axis=-1)),
            (transparent & (tf.size(pixels) > 0), lambda: on_white(pixels)),
        ],
        default=lambda: pixels[..., :3],
    )


def on_white(pixels):
    """`(H, W, 4)` uint8 laid on white, with Pillow's rounding: (x + x / 256) / 256 of x + 128."""
    colour, opacity = (tf.cast(x, tf.uint16) for x in (pixels[..., :3], pixels[..., 3:]))
    x = colour * opacity + (255 - opacity) * 255 + 128
    eight = tf.constant(8, tf.uint16)
    shifted = tf.bitwise.right_shift(x + tf.bitwise.right_shift(x, eight), eight)
    return tf.cast(shifted, tf.uint8)


def put(text, place, new):
    """`text` with `new` at a place inside, over what is there."""
    length = tf.cast(tf.strings.length(new), tf.int64)
    before = tf.strings.substr(text, int64(0), place)
    after = tf.strings.substr(text, place + length, tf.cast(tf.strings.length(text), tf.int64))
    return tf.strings.join([before, new, after])


def upright(pixels, orientation):
    """Turned as `keras_cmsa.image.UPRIGHT` says."""

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


def geometry(height, width, size, fit):
    """`padded_geometry` of tensors; the whole square for `"stretch"`."""
    if fit == "stretch":
        return size, size, 0, 0
    height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
    scale = tf.minimum(size / height, size / width)
    # As Python does, tf.round takes halves to even.
    new_height, new_width = (
        tf.maximum(1, tf.cast(tf.round(side * scale), tf.int32)) for side in (height, width)
    )
    return new_height, new_width, (size - new_height) // 2, (size - new_width) // 2


def find_masks(probabilities, sizes, fit="pad"):
    """Masks at the size of the originals, by the profile `strict`: probability 0.5 and more.

    Args:
        probabilities: `(B, S, S)` float32 in 0..1.
        sizes: `(B, 2)` int32, height and width.
        fit: a key of `keras_cmsa.image.FITS`.

    Returns:
        pngs: `(B,)` strings, PNG of one channel, 255 inside and 0 outside.
        scores: `(B,)` float32, mean probability over the mask; 0 where it is empty.
        boxes: `(B, 4)` float32, left, top, right and bottom of the mask, as shares of the width and
            height; 0 where it is empty.
    """
    square = probabilities.shape[1]

    def find(row):
        probability, size = row
        height, width = size[0], size[1]
        new_height, new_width, top, left = geometry(height, width, square, fit)
        inside = probability[top : top + new_height, left : left + new_width, None]
        at_size = tf.image.resize(inside, size, "bilinear", antialias=False)[..., 0]
        mask = at_size >= 0.5
        png = tf.io.encode_png(tf.cast(mask, tf.uint8)[..., None] * 255)
        # In float64, where the sum of a large mask keeps its last digits.
        area = tf.math.count_nonzero(mask, dtype=tf.float64)
        total = tf.reduce_sum(tf.cast(tf.where(mask, at_size, 0.0), tf.float64))
        score = tf.cast(total / tf.maximum(area, 1), tf.float32)
        left, right = extent(tf.reduce_any(mask, axis=0))
        top, bottom = extent(tf.reduce_any(mask, axis=1))
        return png, score, tf.stack([left, top, right, bottom])

    kinds = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((), tf.float32),
        tf.TensorSpec((4,), tf.float32),
    )
    return tf.map_fn(find, (probabilities, sizes), fn_output_signature=kinds)


def extent(line):
    """First and just after the last True of `(n,)` bool as shares of n; 0 and 0 without one."""
    length = tf.size(line)
    place = tf.range(length)
    last = tf.reduce_max(tf.where(line, place + 1, 0))
    first = tf.reduce_min(tf.where(line, place, last))
    return tf.cast(first / length, tf.float32), tf.cast(last / length, tf.float32)
