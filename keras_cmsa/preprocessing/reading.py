"""Reads image files into pixels, by the same rules for training, prediction and serving.

This module needs only NumPy and Pillow, which opens and decodes the files. For JPEG and PNG,
`keras_cmsa.export.graph.images` follows the same rules in a TensorFlow graph.
"""

import io
import os
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")

# This takes 600 MB as float32. A photo has a fifth of these pixels.
MAX_PIXELS = 50_000_000

# A file is read whole. The largest image without compression, of 16 bytes per pixel, is smaller.
MAX_BYTES = 1_000_000_000

# A progressive JPEG is decoded once per scan. The usual ones have ten, and ten in their thumbnail.
MAX_SCANS = 50

# How a scan of 1 to 4 channels starts: its marker, the length of its header, and the number of
# channels. Decoders refuse other lengths, so none is missed. Those of thumbnails count too.
SCAN_STARTS = tuple(bytes([0xFF, 0xDA, 0, 6 + 2 * channels, channels]) for channels in range(1, 5))
_SCAN_START = re.compile(b"|".join(map(re.escape, SCAN_STARTS)))

# The name and the checksum of a PNG's last chunk, which is empty.
_PNG_END = b"IEND\xaeB`\x82"

# {EXIF orientation: what turns the stored pixels upright}; 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source, max_pixels=MAX_PIXELS, stored_size=None):
    """Reads an image as upright RGB.

    - The EXIF orientation is applied. A PNG has none: it is taken as it is stored.
    - Grey becomes three equal channels, and CMYK is converted.
    - Transparent pixels are laid on white, as a viewer shows them. (The one transparent colour of a
      PNG of 16 bits is not looked at.)
    - 16-bit levels keep their high byte, as in `tf.io.decode_png`; float levels run from 0 to 1.
      Levels of 32 bits have no known white, and are refused.
    - An animation gives its first frame.
    - JPEG is decoded with libjpeg's accurate integer transform, which equals
      `tf.io.decode_jpeg(..., dct_method="INTEGER_ACCURATE")`. Colour profiles are not applied.

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
        ValueError: if the file is not an image, is too large, cut short or damaged, or is a JPEG of
            more than `MAX_SCANS` scans.
    """
    with _opened(source, max_pixels) as image:
        is_as_wanted = stored_size is not None and image.size[::-1] == tuple(stored_size)
        return _rgb(image, turned=not is_as_wanted)


def read_mask(source):
    """Reads the file of a mask, upright.

    A pixel is inside if it is neither black nor wholly transparent. So all that is not 0 is inside
    in a file of labels, be they of 8, 16 or 32 bits or floats (NaN is outside).

    JPEG, and WebP or TIFF with losses, blur the edges. There a pixel is inside if one of its
    channels is at least half as bright as can be, and it is at least half opaque. Warns of it.

    Args:
        source: as in `read_image`.

    Returns:
        `(height, width)` bool.

    Raises:
        FileNotFoundError, ValueError: as in `read_image`; also for colours of 16 bits, of which
            Pillow keeps the high byte only.
    """
    with _opened(source) as image:
        is_lossy, storage = _is_lossy(image), _storage(image)
        image = _decoded(image)
        if image.mode[0] in "FI":
            inside = np.nan_to_num(np.asarray(image)) != 0
        elif ";16" in storage:
            raise _Refused(
                "wanted a mask of 8 bits, or of one channel. Received: colours or opacity of 16 "
                f"bits ({storage})"
            )
        else:
            *colours, opacity = map(np.asarray, image.convert("RGBA").split())
            least = 128 if is_lossy else 1
            inside = (np.max(colours, axis=0) >= least) & (opacity >= least)
    if is_lossy:
        # The same words for every file, so that Python shows them once.
        warnings.warn(
            "A mask in a format with losses, such as JPEG, has blurred edges; it is cut at half "
            "brightness. Save masks as PNG",
            stacklevel=2,
        )
    return inside


def read_ids(source):
    """Reads a file of labels, upright: the number of the object that each pixel belongs to.

    Args, raises: as in `read_mask`.

    Returns:
        `(height, width)` integers: indices into the palette of a file that has one, levels of a file
        of one channel (uint8 if it has 8 bits), `65536 red + 256 green + blue` of colours.
    """
    with _opened(source) as image:
        image = _decoded(image)
        if image.mode in ("LA", "PA"):
            image = image.getchannel(0)
        if image.mode in ("1", "P", "L"):
            return np.asarray(image).astype("uint8")
        if image.mode[0] in "FI":
            return np.nan_to_num(np.asarray(image)).astype("int64")
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), "int64"), -1, 0)
        return (red << 16) + (green << 8) + blue


def read_size(path):
    """Reads the size of an upright image from the header of its file.

    Args:
        path: the image file.

    Returns:
        `(height, width)` in pixels of the image that `read_image` returns.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an image, or is too large.
    """
    (height, width), orientation = read_stored_size(path)
    return (width, height) if orientation >= 5 else (height, width)


def read_stored_size(path):
    """Reads the size of an image as it is stored, and its orientation.

    Args, raises: as in `read_size`.

    Returns:
        `((height, width), orientation)`: pixels, and 1 to 8 as in EXIF; 1 is upright.
    """
    _check_path(path)
    # Opened by name outside of `_naming`: a file that may not be read is not damaged.
    with open(path, "rb") as file, _naming(str(path)), Image.open(file, formats=FORMATS) as image:
        _check_size(image)
        return image.size[::-1], _orientation(image)


def to_pixels(image):
    """Converts an image of any kind to upright RGB, by the rules of `read_image`.

    Args:
        image: a source that `read_image` takes; a `PIL.Image.Image`; or a uint8 array: `(H, W)`
            or `(H, W, 1)` grey, `(H, W, 3)` RGB, which is returned as it is, or `(H, W, 4)` RGB
            with opacity.

    Returns:
        `(height, width, 3)` uint8, red first, values in [0, 255].

    Raises:
        FileNotFoundError, ValueError: see `read_image`.
    """
    if isinstance(image, np.ndarray):
        channels = image.shape[2] if image.ndim == 3 else 1
        is_image = image.ndim in (2, 3) and channels in (1, 3, 4) and image.size
        if not is_image or image.dtype != np.uint8:
            raise ValueError(
                "wanted an image as a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with "
                f"values in 0..255. Received: {image.dtype} of shape {image.shape}"
            )
        if channels == 3:
            return image
        image = Image.fromarray(image.reshape(image.shape[: 2 if channels == 1 else 3]))
    if isinstance(image, Image.Image):
        with _naming("the image"):
            _check_size(image)
            return _rgb(image)
    return read_image(image)


class _Refused(ValueError):
    """A whole image that is not taken; `_naming` puts the name of its file before the message."""


@contextmanager
def _naming(name, max_pixels=MAX_PIXELS):
    """Makes a `ValueError` that names the file of any error of Pillow and of these functions."""
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError(
            f"{name} is not an image, or its header is cut short. Wanted one of "
            f"{', '.join(FORMATS)}; convert another, such as HEIC, first"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{name}: wanted an image of 1 to {max_pixels:,} pixels. "
            f"Received: a larger one. {error}"
        ) from None
    except _Refused as error:
        raise ValueError(f"{name}: {error}") from None
    # Pillow raises nearly any error on a damaged file: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise ValueError(
            f"{name} cannot be decoded: {error}. It may be damaged or cut short; fetch it again"
        ) from error


@contextmanager
def _opened(source, max_pixels=MAX_PIXELS):
    """An image, of which only the header is decoded, within bounds; errors inside name the file."""
    content, name = _content(source)
    with _naming(name, max_pixels), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _check_size(image, max_pixels)
        # Pillow does not mind a cut behind the pixels; a SavedModel's graph does.
        if content.startswith(b"\x89PNG") and _PNG_END not in content:
            raise OSError("image file is truncated")
        scans = len(_SCAN_START.findall(content)) if content.startswith(b"\xff\xd8") else 0
        if scans > MAX_SCANS:
            raise _Refused(
                f"wanted a JPEG of at most {MAX_SCANS} scans. Received: {scans}. Save it anew"
            )
        yield image


def _content(source):
    """The bytes of a file, and its name in errors."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the image given as bytes"
    if isinstance(source, (str, os.PathLike)):
        _check_path(source)
        source = Path(source)
    if hasattr(source, "read_bytes"):
        return source.read_bytes(), str(source)
    if hasattr(source, "read"):
        data, name = source.read(), str(getattr(source, "name", "the image file"))
        if isinstance(data, bytes):
            return data, name
        raise ValueError(f"wanted {name} open in binary mode. Received: a file open as text")
    raise ValueError(
        "wanted an image: a path, the bytes of a file, an open file, a PIL image or a uint8 array. "
        f"Received: {type(source).__name__} {source!r:.60}"
    )


def _check_path(path):
    if Path(path).is_dir():
        raise ValueError(f"wanted an image file. Received: the folder {path}")
    if not Path(path).exists():
        raise FileNotFoundError(f"wanted an image file. Received: {path}, which does not exist")
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise ValueError(
            f"{path}: wanted an image file of at most {MAX_BYTES:,} bytes. Received: {size:,}"
        )


def _check_size(image, max_pixels=MAX_PIXELS):
    width, height = image.size
    if not 0 < width * height <= max_pixels:
        raise _Refused(
            f"wanted an image of 1 to {max_pixels:,} pixels. "
            f"Received: {width} x {height} pixels. Scale it down first"
        )


def _orientation(image):
    """The EXIF orientation of an opened image, 1 to 8; 1 also where its EXIF is damaged."""
    # A PNG is stored as it is seen. Pillow turns a TIFF itself, and gives its upright size.
    block = b"" if image.format in ("PNG", "TIFF") else image.info.get("exif", b"")
    exif = Image.Exif()  # that of the image would fall back on XMP, which viewers do not look at
    try:
        exif.load(block)
        turn = exif.get(ExifTags.Base.Orientation)
    except Exception:  # as in `_naming`; a damaged block is common in collections of photos
        return 1
    return turn if isinstance(turn, int) and turn in TURNS else 1


def _decoded(image, turned=True):
    """The image with its pixels decoded and turned upright."""
    orientation = _orientation(image)
    storage = _storage(image) if image.format == "PNG" else ""
    colour = image.info.get("transparency")
    image.load()
    if storage:
        # Loading also reads what comes after the pixels, where no colour counts; a full comparison
        # with 16 bits needs the low bytes, which are gone.
        image.info.pop("transparency", None)
        if colour is not None and ";16" not in storage:
            spread = {"L;2": 85, "L;4": 17}.get(storage)  # of the pixels, not of this level
            image.info["transparency"] = colour * spread if spread else colour
    # `ImageOps.exif_transpose` also writes the EXIF block anew, and fails on a damaged one.
    return image.transpose(TURNS[orientation]) if turned and orientation > 1 else image


def _storage(image):
    """How the pixels of an opened image lie in its file, in Pillow's words, such as `"RGB;16B"`."""
    # WebP and a loaded image have no tile, and one that was made, with a format set, not even a list.
    tiles = getattr(image, "tile", None)
    how = tiles[0].args if tiles else ""
    return how if isinstance(how, str) else str(how[0])


def _is_lossy(image):
    if image.format == "WEBP":  # the chunk of the pixels; that of a lossless file is VP8L
        return re.search(rb"VP8[ L]", image.fp.getvalue()[12:])[0] == b"VP8 "
    if image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return image.format in ("JPEG", "MPO")


def _rgb(image, turned=True):
    """The pixels of an opened image: `(H, W, 3)` uint8, contiguous."""
    image = _decoded(image, turned)
    if image.mode[0] in "FI":
        return np.repeat(_eight_bits(image)[..., np.newaxis], 3, axis=-1)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer)
    return np.asarray(image.convert("RGB"))


def _eight_bits(image):
    """16-bit or float grey levels as `(H, W)` uint8. Pillow's own conversion would clip them."""
    levels = np.asarray(image)
    if image.mode == "I":
        raise _Refused(
            "wanted grey levels of 8 or 16 bits, or floats in 0..1. Received: integers of 32 bits "
            f"in {levels.min()}..{levels.max()}, whose white is not known. Save 8 bits"
        )
    white = 1.0 if image.mode == "F" else 65535
    if not (levels.min() >= 0 and levels.max() <= white):
        raise _Refused(
            f"wanted grey levels in 0..{white}. "
            f"Received: {levels.min()}..{levels.max()} ({image.mode}). Scale them first"
        )
    return np.rint(levels * 255).astype("uint8") if image.mode == "F" else np.uint8(levels >> 8)
