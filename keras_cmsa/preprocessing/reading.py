"""Reads image files into pixels, by the same rules for training, prediction and serving.

This module needs only NumPy and Pillow. `keras_cmsa.export.graph.images` follows the same rules in
a TensorFlow graph.
"""

import io
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")

# This takes 600 MB as float32. A photo has a fifth of these pixels.
MAX_PIXELS = 50_000_000

ORIENTATION_TAG = 0x0112

# {EXIF orientation: function that turns the stored pixels (H, W, 3) upright}
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
    """Reads an image as upright RGB.

    - The EXIF orientation is applied.
    - Grey becomes three equal channels, and CMYK is converted.
    - Transparent pixels are laid on white, as a viewer shows them.
    - 16-bit levels keep their high byte, as in `tf.io.decode_png`; float levels run from 0 to 1.
    - An animation gives its first frame.
    - JPEG is decoded with libjpeg's accurate integer transform, which equals
      `tf.io.decode_jpeg(..., dct_method="INTEGER_ACCURATE")`.

    Args:
        source: a path, the bytes of a file, an open binary file, or any object with a method
            `read_bytes`. The format is one of `FORMATS`.
        max_pixels: the largest `height * width` to decode. It is checked against the file's header
            before any pixel is decoded. Pillow itself warns above `PIL.Image.MAX_IMAGE_PIXELS` and
            refuses twice as many; raise that limit too to read larger images.

    Returns:
        `(height, width, 3)` uint8, red first, values in [0, 255].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an image, or is too large, cut short or damaged.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), "the image given as bytes", max_pixels)
    if hasattr(source, "read"):
        return _decode(source, str(getattr(source, "name", "the image file")), max_pixels)
    if not isinstance(source, (str, os.PathLike)):
        return _decode(io.BytesIO(source.read_bytes()), str(source), max_pixels)
    if Path(source).is_dir():
        raise ValueError(f"wanted an image file. Received: the folder {source}")
    with open(source, "rb") as file:
        return _decode(file, str(source), max_pixels)


def read_size(path, max_pixels=MAX_PIXELS):
    """Reads the size of an upright image from the header of its file.

    Args:
        path: the image file.
        max_pixels: as in `read_image`.

    Returns:
        `(height, width)` in pixels of the image that `read_image` returns.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an image, or is too large.
    """
    if Path(path).is_dir():
        raise ValueError(f"wanted an image file. Received: the folder {path}")
    with open(path, "rb") as file:
        image = _open(file, str(path), max_pixels)
        width, height = image.size
        # Pillow turns TIFF itself, so the size of a TIFF is the upright size already.
        turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)


def to_pixels(image, max_pixels=MAX_PIXELS):
    """Converts an image of any kind to upright RGB, by the rules of `read_image`.

    Args:
        image: a source that `read_image` takes; a `PIL.Image.Image`; or a uint8 array: `(H, W)`
            grey, `(H, W, 3)` RGB or `(H, W, 4)` RGB with opacity.
        max_pixels: as in `read_image`.

    Returns:
        `(height, width, 3)` uint8, red first, values in [0, 255].

    Raises:
        FileNotFoundError, ValueError: see `read_image`.
    """
    if isinstance(image, np.ndarray):
        is_image = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
        if not is_image or not image.size or image.dtype != np.uint8:
            raise ValueError(
                "wanted an image as a uint8 array (H, W), (H, W, 3) or (H, W, 4) with values in "
                f"0..255. Received: {image.dtype} of shape {image.shape}"
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
    # Pillow raises nearly any error on a damaged file: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise _decoding_error(name, error) from error
    # The orientation is read after loading, because Pillow turns TIFF itself and drops the tag.
    turn = UPRIGHT.get(_orientation(image), lambda pixels: pixels)
    return np.ascontiguousarray(turn(pixels))


def _open(file, name, max_pixels):
    """Opens an image and reads only its header."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(
            f"{name} is not an image, or its header is cut short. "
            f"Wanted one of {', '.join(FORMATS)}"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{name}: wanted an image of 1 to {max_pixels:,} pixels. "
            f"Received: a larger one. {error}"
        ) from None
    except Exception as error:  # as in _upright
        raise _decoding_error(name, error) from error
    _check_size(image, name, max_pixels)
    return image


def _check_size(image, name, max_pixels):
    width, height = image.size
    if not 0 < width * height <= max_pixels:
        raise ValueError(
            f"{name}: wanted an image of 1 to {max_pixels:,} pixels. "
            f"Received: {width} x {height} pixels. Scale it down first"
        )


def _decoding_error(name, error):
    return ValueError(
        f"{name} cannot be decoded: {error}. It may be damaged or cut short; fetch it again"
    )


def _rgb(image):
    """The pixels as stored, not turned: `(H, W, 3)` uint8."""
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_eight_bits(image)[..., np.newaxis], 3, axis=-1)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer)
    return np.asarray(image.convert("RGB"))


def _eight_bits(image):
    """16-bit or float grey levels as `(H, W)` uint8. Pillow's own conversion would clip them."""
    levels = np.asarray(image)
    white = 1.0 if image.mode == "F" else 65535
    if not (levels.min() >= 0 and levels.max() <= white):
        raise ValueError(
            f"wanted grey levels in 0..{white}. "
            f"Received: {levels.min()}..{levels.max()} ({image.mode})"
        )
    return np.rint(levels * 255).astype("uint8") if image.mode == "F" else np.uint8(levels >> 8)


def _orientation(image):
    """The EXIF orientation as an integer; 1 (upright) if it cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    # Damaged EXIF blocks are common in photo collections; the pixels are good nevertheless.
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return 1
