"""Image files as bytes: good ones, and one that would fill the memory."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image, kind="PNG", **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mask_of(png):
    return np.asarray(Image.open(io.BytesIO(png))) == 255


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side=20_000):
    """A valid PNG of one colour."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes(side // 8)
    packed = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    end = png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", packed) + end
