"""Opens and decodes image files with Pillow, within bounds, and names what is wrong with them.

`keras_cmsa.preprocessing.reading` makes pixels and masks of what comes from here.
"""

import io
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from keras_cmsa.preprocessing.headers import EXIF, check_scans, read_exif, read_orientation

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")

# This takes 600 MB as float32. A photo has a fifth of these pixels.
MAX_PIXELS = 50_000_000

# A file is read whole. The largest image without compression, of 16 bytes per pixel, is smaller.
MAX_BYTES = 1_000_000_000

# {how a grey PNG of few bits is stored: its largest level}
WHITE = {"1": 1, "L;2": 3, "L;4": 15, "L": 255}


class Loaded(NamedTuple):
    """An image whose pixels are decoded and not yet turned.

    Attributes:
        image: `PIL.Image.Image`.
        orientation: 1 to 8, as in EXIF.
        is_lossy: whether the file's format changes pixels.
        storage: how the pixels lie in the file, in Pillow's words, such as `"RGB;16B"`.
        name: the file in errors.
    """

    image: Image.Image
    orientation: int
    is_lossy: bool
    storage: str
    name: str


def load(source, max_pixels):
    """Opens and decodes an image file: `Loaded`; arguments and errors as in `read_image`."""
    data, name = _content(source)
    image, orientation = open_image(io.BytesIO(data), data, name, max_pixels)
    with _named(name):
        check_scans(data)
    storage = decode(image, name)
    return Loaded(image, orientation, _is_lossy(image, data), storage, name)


def decode(image, name):
    """Decodes the pixels of an opened image, and says how they are stored."""
    storage = _storage(image)
    transparent = _transparent_colour(image, storage)
    with decoding(name):
        image.load()
    if storage and image.format == "PNG":
        # Only now: loading looks at what comes after the pixels too.
        image.info.pop("transparency", None)
        if transparent is not None:
            image.info["transparency"] = transparent
    return storage


def _content(source):
    """The bytes of a file, and its name in errors."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the image given as bytes"
    if hasattr(source, "read"):
        data, name = source.read(), str(getattr(source, "name", "the image file"))
        if isinstance(data, bytes):
            return data, name
        raise ValueError(f"wanted {name} open in binary mode. Received: a file open as text")
    if isinstance(source, (str, os.PathLike)):
        refuse_folder(source)
        if (size := os.path.getsize(source)) > MAX_BYTES:
            raise ValueError(
                f"{source}: wanted an image file of at most {MAX_BYTES:,} bytes. Received: {size:,}"
            )
        return Path(source).read_bytes(), str(source)
    if hasattr(source, "read_bytes"):
        return source.read_bytes(), str(source)
    raise ValueError(
        "wanted an image: a path, the bytes of a file, an open file, a PIL image or a uint8 array. "
        f"Received: {type(source).__name__} {source!r:.60}"
    )


def refuse_folder(path):
    """Raises `ValueError` if a path is a folder's."""
    if Path(path).is_dir():
        raise ValueError(f"wanted an image file. Received: the folder {path}")


def open_image(file, data, name, max_pixels):
    """Reads the header only: `(image, orientation)`.

    Args:
        file: the open file.
        data: its content, `bytes` or `mmap`.
    """
    with _named(name):
        exif = read_exif(data)  # first, because Pillow's own loops have no bound
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
    except Exception as error:  # as in decoding
        raise _decoding_error(name, error) from error
    check_size(image, name, max_pixels)
    return image, orientation_of(image, exif)


def orientation_of(image, exif):
    """The EXIF orientation of an opened image, 1 to 8. `exif` is the block of a JPEG or PNG."""
    if image.format == "TIFF":
        return 1  # Pillow turns it, and gives the upright size
    if image.format == "WEBP":
        exif = image.info.get("exif", b"").removeprefix(EXIF)
    return read_orientation(exif)


def check_size(image, name, max_pixels):
    """Raises `ValueError` if an image has no pixel or more than `max_pixels`."""
    width, height = image.size
    if not 0 < width * height <= max_pixels:
        raise ValueError(
            f"{name}: wanted an image of 1 to {max_pixels:,} pixels. "
            f"Received: {width} x {height} pixels. Scale it down first"
        )


@contextmanager
def _named(name):
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@contextmanager
def decoding(name):
    """Makes a `ValueError` that names the file of any error of Pillow."""
    try:
        yield
    # Pillow raises nearly any error on a damaged file: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise _decoding_error(name, error) from error


def _decoding_error(name, error):
    return ValueError(
        f"{name} cannot be decoded: {error}. It may be damaged or cut short; fetch it again"
    )


def _storage(image):
    """How the pixels of an opened image lie in its file, as Pillow says; empty if it does not."""
    tile = getattr(image, "tile", ())  # empty once it is loaded; an image of an array has none
    how = tile[0][3] if tile else ""
    how = how[0] if isinstance(how, tuple) and how else how
    return how if isinstance(how, str) else ""


def _transparent_colour(image, storage):
    """The one transparent colour of a PNG, as 8-bit levels like its pixels; None if there is none.

    Pillow has the levels of the file. Bits that a level cannot have do not count, as in libpng.
    """
    colour = image.info.get("transparency")
    if ";16" in storage:
        return None  # a full comparison needs the low bytes, which are gone
    if image.mode in ("L", "1") and isinstance(colour, int):
        white = WHITE.get(storage, 255)
        return (colour & white) * 255 // white
    if image.mode == "RGB" and isinstance(colour, tuple):
        return tuple(level & 255 for level in colour)
    return colour


def _is_lossy(image, data):
    if image.format == "WEBP":
        kind = re.search(rb"VP8[ L]", data[12:])  # the chunk of the pixels; L is lossless
        return kind is not None and kind[0] == b"VP8 "
    if image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return image.format in ("JPEG", "MPO")
