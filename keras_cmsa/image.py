"""Pixels in, pixels out: one rule for training, prediction and serving.

`read_image` turns a file into upright RGB. `FITS` holds the two ways of fitting an image to the
square input of a network, each with its exact undo. NumPy and Pillow only.
"""

import io
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")

# 600 MB as float32; a photo has a fifth of it.
MAX_PIXELS = 50_000_000

ORIENTATION_TAG = 0x0112

# EXIF orientation: how to turn the stored pixels (H, W, 3) upright.
UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}


def read_image(source, max_pixels=MAX_PIXELS):
    """Read an image as upright RGB.

    The EXIF orientation is applied. Grey becomes three equal channels, CMYK is converted,
    transparent pixels are laid on white as a viewer shows them, 16-bit levels keep their high byte
    (as `tf.io.decode_png` does), float levels run from 0 to 1, and of an animation the first frame
    is taken. JPEG is decoded with libjpeg's accurate integer transform, which equals
    `tf.io.decode_jpeg(..., dct_method="INTEGER_ACCURATE")`.

    Args:
        source: a path, the bytes of a file, an open binary file, or anything else with a method
            `read_bytes`; in one of `FORMATS`.
        max_pixels: the largest `height * width` that will be decoded. The size stands in the
            header and is checked before any pixel is. Pillow itself warns above
            `PIL.Image.MAX_IMAGE_PIXELS` and refuses twice as many; raise that too for more.

    Returns:
        `(height, width, 3)` uint8, red first, values in [0, 255].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no image, too large, cut short or damaged.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), "the image given as bytes", max_pixels)
    if hasattr(source, "read"):
        return _decode(source, str(getattr(source, "name", "the image file")), max_pixels)
    if not isinstance(source, (str, os.PathLike)):
        return _decode(io.BytesIO(source.read_bytes()), str(source), max_pixels)
    if Path(source).is_dir():
        raise ValueError(f"{source} is a folder; wanted an image file")
    with open(source, "rb") as file:
        return _decode(file, str(source), max_pixels)


def read_size(path, max_pixels=MAX_PIXELS):
    """The size of an upright image, of which only the header is read.

    Args:
        path: the file.
        max_pixels: as in `read_image`.

    Returns:
        `(height, width)` in pixels, as `read_image` would give them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no image or too large.
    """
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder; wanted an image file")
    with open(path, "rb") as file:
        image = _open(file, str(path), max_pixels)
        width, height = image.size
        # Of TIFF, which Pillow turns by itself, this is the upright size already.
        turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)


def to_pixels(image, max_pixels=MAX_PIXELS):
    """Any image that a person has at hand as upright RGB.

    Args:
        image: what `read_image` takes; a `PIL.Image.Image`; or an array of uint8 levels, `(H, W)`
            grey, `(H, W, 3)` RGB or `(H, W, 4)` RGB with opacity.
        max_pixels: see `read_image`.

    Returns:
        `(height, width, 3)` uint8, red first, values in [0, 255]; treated as `read_image` says.

    Raises:
        FileNotFoundError, ValueError: see `read_image`.
    """
    if isinstance(image, np.ndarray):
        is_image = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
        if not is_image or not image.size or image.dtype != np.uint8:
            raise ValueError(
                "wanted an image as uint8 array (H, W), (H, W, 3) or (H, W, 4) with values in "
                f"0..255, got {image.dtype} of shape {image.shape}"
            )
        image = Image.fromarray(np.ascontiguousarray(image))
    if isinstance(image, Image.Image):
        _check_size(image, "the image", max_pixels)
        return _upright(image, "the image")
    return read_image(image, max_pixels)


def _decode(file, name, max_pixels):
    return _upright(_open(file, name, max_pixels), name)


def _upright(image, name):
    try:
        image.load()
        pixels = _rgb(image)
    # A damaged file makes Pillow raise nearly any kind: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise _undecodable(name, error) from error
    # Asked for after loading, since Pillow turns TIFF by itself and then drops the tag.
    turn = UPRIGHT.get(_orientation(image), lambda pixels: pixels)
    return np.ascontiguousarray(turn(pixels))


def _open(file, name, max_pixels):
    """Read the header only."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(
            f"{name} is no image, or cut short in its header; wanted one of {', '.join(FORMATS)}"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{name} is too large: at most {max_pixels:,} pixels are read. {error}"
        ) from None
    except Exception as error:  # as in _upright
        raise _undecodable(name, error) from error
    _check_size(image, name, max_pixels)
    return image


def _check_size(image, name, max_pixels):
    width, height = image.size
    if not 0 < width * height <= max_pixels:
        raise ValueError(
            f"{name} is {width} x {height} pixels; wanted at least 1 and at most {max_pixels:,}. "
            "Scale it down first"
        )


def _undecodable(name, error):
    return ValueError(
        f"{name} cannot be decoded: {error}. It may be damaged or cut short; fetch it again"
    )


def _rgb(image):
    """The pixels as stored, (H, W, 3) uint8."""
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_eight_bits(image)[..., np.newaxis], 3, axis=-1)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer)
    return np.asarray(image.convert("RGB"))


def _eight_bits(image):
    """16-bit and float grey levels as (H, W) uint8. Pillow's own conversion would clip them."""
    levels = np.asarray(image)
    white = 1.0 if image.mode == "F" else 65535
    if not (levels.min() >= 0 and levels.max() <= white):
        raise ValueError(
            f"wanted grey levels in 0..{white}, got {levels.min()}..{levels.max()} ({image.mode})"
        )
    return np.rint(levels * 255).astype("uint8") if image.mode == "F" else np.uint8(levels >> 8)


def _orientation(image):
    """The EXIF orientation as an integer; 1, upright, where none can be read."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    # Broken EXIF blocks are common in photo collections and spoil no pixel.
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return 1


def resize_bilinear(array, size):
    """Resize with bilinear interpolation: half-pixel centres, clamped edges, no antialiasing.

    The rule of `tf.image.resize(..., "bilinear", antialias=False)`.

    Args:
        array: `(H, W)` or `(H, W, C)`, any number type.
        size: `(height, width)` of the result, in pixels.

    Returns:
        float32 of that size, within the range of the input.

    Raises:
        ValueError: if the array has no pixels or another rank, or the size is not positive.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3) or not array.size or min(size) < 1:
        raise ValueError(
            f"wanted (H, W) or (H, W, C) pixels and a positive size, got {array.shape} to {size}"
        )
    return _resize_axis(_resize_axis(array, size[0], axis=0), size[1], axis=1)


def _resize_axis(array, length, axis):
    if array.shape[axis] == length:
        return array.astype("float32")
    below, above, weight = _taps(array.shape[axis], length)
    weight = weight.reshape((-1,) + (1,) * (array.ndim - 1 - axis))
    start = array.take(below, axis).astype("float32")
    step = array.take(above, axis).astype("float32")
    step -= start
    step *= weight
    step += start
    return step


def _taps(length, new_length):
    """For each new pixel: the old one below it, the one above, and the weight of the latter."""
    # In float32 and in this order because TensorFlow does so: at 640 pixels the rounding shows.
    scale = np.float32(length) / np.float32(new_length)
    centre = (np.arange(new_length, dtype="float32") + np.float32(0.5)) * scale - np.float32(0.5)
    centre = np.clip(centre, np.float32(0), np.float32(length - 1))
    below = centre.astype("int32")
    return below, np.minimum(below + 1, length - 1), centre - below.astype("float32")


def padded_geometry(height, width, size):
    """Where an image lands in a square: scaled to touch two sides, centred.

    Plain integers in and out, so that any pipeline can use the same numbers.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        size: side of the square, in pixels.

    Returns:
        `(new_height, new_width, top, left)` in pixels of the square. Sides are rounded, halves to
        even as NumPy does, and are at least 1; an odd rest leaves the extra pixel below or right.
    """
    scale = min(size / height, size / width)
    new_height = max(1, round(height * scale))
    new_width = max(1, round(width * scale))
    return new_height, new_width, (size - new_height) // 2, (size - new_width) // 2


def resize_and_pad(array, size):
    """Fit an image into a square, keeping its shape; the rest is 0.

    Args:
        array: `(H, W)` or `(H, W, C)`, values in [0, 255] for an image.
        size: side of the square, in pixels.

    Returns:
        `(size, size)` or `(size, size, C)` float32 in the range of the input and 0.
    """
    array = np.asarray(array)
    new_height, new_width, top, left = padded_geometry(*array.shape[:2], size)
    square = np.zeros((size, size, *array.shape[2:]), "float32")
    square[top : top + new_height, left : left + new_width] = resize_bilinear(
        array, (new_height, new_width)
    )
    return square


def undo_resize_and_pad(array, original_size):
    """Undo `resize_and_pad`: cut the padding away and resize back.

    Args:
        array: `(size, size)` or `(size, size, C)`, such as the logits of a padded image.
        original_size: `(height, width)` of the image before, in pixels.

    Returns:
        `(height, width)` or `(height, width, C)` float32.
    """
    array = np.asarray(array)
    new_height, new_width, top, left = padded_geometry(*original_size, array.shape[0])
    inside = array[top : top + new_height, left : left + new_width]
    return resize_bilinear(inside, original_size)


def resize(array, size):
    """Stretch an image to a square, as the paper's text has it: `(size, size[, C])` float32."""
    return resize_bilinear(array, (size, size))


def undo_resize(array, original_size):
    """Undo `resize`: `(height, width[, C])` float32 for an `original_size` of `(height, width)`."""
    return resize_bilinear(array, original_size)


# A fit and its undo. The authors' code pads; their paper says "resized".
FITS = {
    "pad": (resize_and_pad, undo_resize_and_pad),
    "stretch": (resize, undo_resize),
}


def fit_mask(mask, size, fit="pad"):
    """Fit a mask to the square of its image.

    A pixel is in when at least half of its interpolated value is. (The authors took any value
    above 0, which widens every object by up to a pixel.)

    Args:
        mask: `(H, W)` of 0 and 1, or boolean.
        size: side of the square, in pixels.
        fit: a key of `FITS`.

    Returns:
        `(size, size, 1)` float32 of 0 and 1.
    """
    fitted = FITS[fit][0](mask, size)
    return (fitted >= 0.5).astype("float32")[..., np.newaxis]
