"""Reads image files into pixels, by the same rules for training, prediction and serving.

This module needs only NumPy and Pillow. `keras_cmsa.export.graph.images` follows the same rules in
a TensorFlow graph.
"""

import mmap
import os
import warnings

import numpy as np
from PIL import Image

from keras_cmsa.preprocessing.headers import EXIF
from keras_cmsa.preprocessing.opening import (
    MAX_PIXELS,
    check_size,
    decode,
    decoding,
    load,
    open_image,
    orientation_of,
    refuse_folder,
)

# {EXIF orientation: function that turns the stored pixels, (H, W, 3) or (H, W), upright}
UPRIGHT = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
ON_THEIR_SIDE = (5, 6, 7, 8)  # the orientations that swap height and width


def read_image(source, max_pixels=MAX_PIXELS, stored_size=None):
    """Reads an image as upright RGB.

    - The EXIF orientation is applied: that of a JPEG's EXIF segment, a PNG's eXIf chunk, a TIFF or
      a WebP.
    - Grey becomes three equal channels, and CMYK is converted.
    - Transparent pixels are laid on white, as a viewer shows them. (The one transparent colour of a
      PNG of 16 bits is not looked at.)
    - 16-bit levels keep their high byte, as in `tf.io.decode_png`; float levels run from 0 to 1.
      Levels of 32 bits have no known white, and are refused.
    - An animation gives its first frame.
    - JPEG is decoded with libjpeg's accurate integer transform, which equals
      `tf.io.decode_jpeg(..., dct_method="INTEGER_ACCURATE")`.

    Args:
        source: a path, the bytes of a file, an open binary file, or any object with a method
            `read_bytes`. The format is one of `FORMATS`.
        max_pixels: the largest `height * width` to decode. It is checked against the file's header
            before any pixel is decoded. Pillow itself warns above `PIL.Image.MAX_IMAGE_PIXELS` and
            refuses twice as many; raise that limit too to read larger images.
        stored_size: `(height, width)`; an image that is stored in this size is not turned. None
            turns every image.

    Returns:
        `(height, width, 3)` uint8, red first, values in [0, 255].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an image, is too large, cut short or damaged, or has more
            parts or scans than `keras_cmsa.preprocessing.headers` allows.
    """
    loaded = load(source, max_pixels)
    is_as_wanted = stored_size is not None and loaded.image.size[::-1] == tuple(stored_size)
    return _upright(_rgb(loaded.image, loaded.name), 1 if is_as_wanted else loaded.orientation)


def read_mask(source, max_pixels=MAX_PIXELS):
    """Reads the file of a mask, upright.

    A pixel is inside if it is neither black nor wholly transparent. So all that is not 0 is inside
    in a file of labels, be they of 8, 16 or 32 bits or floats (NaN is outside).

    JPEG, and WebP or TIFF with losses, blur the edges. There a pixel is inside if one of its
    channels is at least half as bright as can be, and it is at least half opaque. Warns of it.

    Args:
        source: as in `read_image`.
        max_pixels: as in `read_image`.

    Returns:
        `(height, width)` bool.

    Raises:
        FileNotFoundError, ValueError: as in `read_image`; also for colours of 16 bits, of which
            Pillow keeps the high byte only.
    """
    loaded = load(source, max_pixels)
    if loaded.image.mode[0] in "FI":
        inside = np.nan_to_num(np.asarray(loaded.image)) != 0
    elif ";16" in loaded.storage:
        raise ValueError(
            f"{loaded.name}: wanted a mask of 8 bits, or of one channel. Received: colours or "
            f"opacity of 16 bits ({loaded.storage})"
        )
    else:
        with decoding(loaded.name):
            *colours, opacity = map(np.asarray, loaded.image.convert("RGBA").split())
        least = 128 if loaded.is_lossy else 1
        inside = (np.max(colours, axis=0) >= least) & (opacity >= least)
    if loaded.is_lossy:
        # The same words for every file, so that Python shows them once.
        warnings.warn(
            "A mask in a format with losses, such as JPEG, has blurred edges; it is cut at half "
            "brightness. Save masks as PNG",
            stacklevel=2,
        )
    return _upright(inside, loaded.orientation)


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
    (height, width), orientation = read_stored_size(path, max_pixels)
    return (width, height) if orientation in ON_THEIR_SIDE else (height, width)


def read_stored_size(path, max_pixels=MAX_PIXELS):
    """Reads the size of an image as it is stored, and its orientation.

    Args, raises: as in `read_size`.

    Returns:
        `((height, width), orientation)`: pixels, and 1 to 8 as in EXIF; 1 is upright.
    """
    refuse_folder(path)
    with open(path, "rb") as file:
        is_empty = not os.fstat(file.fileno()).st_size  # which cannot be mapped
        data = b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        image, orientation = open_image(file, data, str(path), max_pixels)
        return image.size[::-1], orientation


def to_pixels(image, max_pixels=MAX_PIXELS):
    """Converts an image of any kind to upright RGB, by the rules of `read_image`.

    Args:
        image: a source that `read_image` takes; a `PIL.Image.Image`; or a uint8 array: `(H, W)`
            or `(H, W, 1)` grey, `(H, W, 3)` RGB or `(H, W, 4)` RGB with opacity.
        max_pixels: as in `read_image`.

    Returns:
        `(height, width, 3)` uint8, red first, values in [0, 255].

    Raises:
        FileNotFoundError, ValueError: see `read_image`.
    """
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[..., 0]
        is_image = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
        if not is_image or not image.size or image.dtype != np.uint8:
            raise ValueError(
                "wanted an image as a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with "
                f"values in 0..255. Received: {image.dtype} of shape {image.shape}"
            )
        image = Image.fromarray(np.ascontiguousarray(image))
    if isinstance(image, Image.Image):
        check_size(image, "the image", max_pixels)
        orientation = orientation_of(image, image.info.get("exif", b"").removeprefix(EXIF))
        decode(image, "the image")
        return _upright(_rgb(image, "the image"), orientation)
    return read_image(image, max_pixels)


def _upright(pixels, orientation):
    return np.ascontiguousarray(UPRIGHT[orientation](pixels))


def _rgb(image, name):
    """The pixels as stored, not turned: `(H, W, 3)` uint8."""
    if image.mode[0] in "FI":
        return np.repeat(_eight_bits(image, name)[..., np.newaxis], 3, axis=-1)
    with decoding(name):
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = Image.new("RGB", layer.size, "white")
            image.paste(layer, mask=layer)
        return np.asarray(image.convert("RGB"))


def _eight_bits(image, name):
    """16-bit or float grey levels as `(H, W)` uint8. Pillow's own conversion would clip them."""
    levels = np.asarray(image)
    if image.mode == "I" and image.format != "PNG":  # a PNG has 16 bits at most
        raise ValueError(
            f"{name}: wanted grey levels of 8 or 16 bits, or floats in 0..1. Received: integers of "
            f"32 bits in {levels.min()}..{levels.max()}, whose white is not known. Save 8 bits"
        )
    white = 1.0 if image.mode == "F" else 65535
    if not (levels.min() >= 0 and levels.max() <= white):
        raise ValueError(
            f"{name}: wanted grey levels in 0..{white}. "
            f"Received: {levels.min()}..{levels.max()} ({image.mode}). Scale them first"
        )
    return np.rint(levels * 255).astype("uint8") if image.mode == "F" else np.uint8(levels >> 8)
