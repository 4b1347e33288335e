"""Image files as bytes, with what must come of them: one table for NumPy and for the graph.

`keras_cmsa.preprocessing.reading` and its twin in `keras_cmsa.export.graph` are held to it.
"""

import functools
import io
import re
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms


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


def png(rows, depth, colours, before=b"", after=b""):
    """A PNG by hand: the rows of its pixels as bytes, and chunks before and after them."""
    width = len(rows[0]) * 8 // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours])
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colours, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    chunks = png_chunk(b"IHDR", header) + before + pixels + after + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def bomb(side=20_000):
    """A valid PNG of one colour."""
    return png([bytes(side // 8)] * side, 1, 0)


def segment(marker, content):
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def exif(*turns, order="<", kind=3, count=1):
    """An EXIF block by hand with an entry of orientation per turn, `kind` 3 SHORT or 4 LONG."""
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    values = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    entries = [struct.pack(f"{order}HHI{values}", 0x0112, kind, count, turn) for turn in turns]
    return start + struct.pack(order + "H", len(turns)) + b"".join(entries) + bytes(4)


SMALL = np.arange(8 * 12 * 3).reshape(8, 12, 3).astype("uint8") * np.uint8(7)


def with_exif(block):
    """`SMALL` as a JPEG with an EXIF block where it belongs."""
    return with_parts(encoded(SMALL, "JPEG"), segment(0xE1, b"Exif\0\0" + block))


def with_parts(file, parts):
    """A JPEG or PNG with more segments or chunks after its first."""
    place = 33 if file.startswith(b"\x89PNG") else 20
    return file[:place] + parts + file[place:]


@functools.cache
def turned_files():
    """`SMALL` with EXIF of all kinds: `{name: (file, the orientation that counts)}`."""
    jpeg, plain = encoded(SMALL, "JPEG"), encoded(SMALL)
    named, xmp = b"Exif\0\0" + exif(6), b'<x tiff:Orientation="6"></x>'
    profile = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(named), named.hex().encode())
    blocks = {
        **{f"turn {turn}": (exif(turn), turn) for turn in range(1, 9)},
        "big endian": (exif(6, order=">"), 6),
        "LONG": (exif(8, kind=4), 8),
        "LONG, big endian": (exif(8, kind=4, order=">"), 8),
        "BYTE": (exif(6, kind=1), 1),
        "two values": (exif(6, count=2), 6),
        "no value": (exif(6, count=0), 1),
        "turn 0": (exif(0), 1),
        "turn 9": (exif(9), 1),
        "two entries": (exif(6, 3), 3),
        "a good entry and a bad one": (exif(3, 99), 1),
        "more entries than there are": (exif(6)[:8] + b"\xff\xff" + exif(6)[10:], 6),
        "fewer entries than there are": (exif(1, 6)[:8] + b"\1\0" + exif(1, 6)[10:], 1),
        "cut in the entry": (exif(6)[:15], 1),
        "cut after the entry": (exif(6)[:22], 6),
        "cut in the header": (exif(6)[:6], 1),
        "42 in another order": (b"II\0*" + exif(6)[4:], 6),
        "another number for 42": (b"II+\0" + exif(6)[4:], 1),
        "another order": (b"XX" + exif(6)[2:], 1),
        "a directory beyond the end": (b"II*\0\xff\xff\xff\xff" + exif(6)[8:], 1),
        "a directory at the end": (b"II*\0\x19\0\0\0" + exif(6)[8:], 1),
        "nothing": (b"", 1),
        "no EXIF": (b"garbage", 1),
    }
    return {name: (with_exif(block), turn) for name, (block, turn) in blocks.items()} | {
        "twice": (with_parts(with_exif(exif(6)), segment(0xE1, b"Exif\0\0" + exif(3))), 3),
        "in XMP": (with_parts(jpeg, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)), 1),
        "in a comment": (with_parts(jpeg, segment(0xFE, named)), 1),
        "behind fill bytes": (with_parts(jpeg, b"\xff" * 9 + segment(0xE1, named)), 6),
        "behind stray bytes": (with_parts(jpeg, b"stray" + segment(0xE1, named)), 6),
        "png": (with_parts(plain, png_chunk(b"eXIf", exif(6))), 1),
        "png, in a text": (with_parts(plain, png_chunk(b"tEXt", profile)), 1),
    }


DISC = np.hypot(np.arange(90)[:, None] - 45, np.arange(120) - 60) <= 25


def mask_files():
    """`DISC` in the formats that masks come in: `{name: file}`."""
    levels, clear = DISC * np.uint8(255), Image.new("RGBA", (120, 90), (255, 255, 255, 0))
    clear.paste((255, 0, 0, 255), mask=Image.fromarray(levels))
    palette = Image.fromarray(DISC.astype("uint8"), "P")
    palette.putpalette([255, 255, 255, 200, 30, 0])
    labels = np.where(DISC, np.where(np.arange(120) < 60, 7, 300), 0)
    deep = Image.fromarray(labels.astype("uint16"))
    faint = clear.copy()
    faint.putalpha(Image.fromarray(DISC.astype("uint8")))
    smooth = Image.fromarray(labels.astype("float32") / 1000)
    lossless = {"lossless": True, "exact": True}
    return {
        "png": encoded(levels),
        "png of labels": encoded(DISC.astype("uint8")),
        "png, RGBA": encoded(clear),
        "png, RGBA, hardly opaque": encoded(faint),
        "png, LA": encoded(clear.convert("LA")),
        "png, palette": encoded(palette, transparency=0),
        "png, palette of opacities": encoded(palette, transparency=bytes([0, 40])),
        "png, one clear level": encoded(255 - levels // 2, transparency=255),
        "png, one clear colour": encoded(
            Image.fromarray(np.dstack([255 - levels // 2] * 3)), transparency=(255, 255, 255)
        ),
        "png of labels, 16 bits": encoded(deep),
        "png of labels below 256, 16 bits": encoded(DISC.astype("uint16")),
        "gif, one clear colour": encoded(palette, "GIF", transparency=0),
        "webp, transparent": encoded(clear, "WEBP", **lossless),
        "webp of labels": encoded(np.dstack([DISC.astype("uint8")] * 3), "WEBP", **lossless),
        "tiff, RGBA": encoded(clear, "TIFF"),
        "tiff of labels, 16 bits": encoded(deep, "TIFF"),
        "tiff of labels, 32 bits": encoded(Image.fromarray(labels.astype("int32")), "TIFF"),
        "tiff of floats": encoded(smooth, "TIFF"),
        "tiff of floats, NaN outside": encoded(
            Image.fromarray(np.where(DISC, 7, np.nan).astype("float32")), "TIFF"
        ),
        "bmp": encoded(levels, "BMP"),
    }


def lossy_mask_files():
    """`DISC` in formats that blur it: `{name: file}`."""
    levels = DISC * np.uint8(255)
    red = np.dstack([levels, np.zeros((90, 120, 2), "uint8")])
    opacity = np.dstack([np.full((90, 120, 3), 255, "uint8"), levels])
    return {
        "jpeg": encoded(levels, "JPEG"),
        "jpeg, colour": encoded(np.dstack([levels] * 3), "JPEG", quality=90),
        "jpeg, CMYK": encoded(Image.fromarray(np.dstack([levels] * 3)).convert("CMYK"), "JPEG"),
        "jpeg, red": encoded(red, "JPEG", quality=95, subsampling=0),
        "webp": encoded(np.dstack([levels] * 3), "WEBP"),
        "webp, transparent": encoded(opacity, "WEBP"),
        "tiff": encoded(levels, "TIFF", compression="jpeg"),
    }


GREY = [bytes([0b00011011, 0b11100100]), bytes([0b11111111, 0b00000000])]


@functools.cache
def clear_files():
    """Grey PNGs of few bits and PNGs of odd tRNS: `{name: (file, the pixels `(H, W)` or RGB)}`.

    A level is spread over 0 to 255; the one that is clear is white.
    """

    def clear(level, depth):
        return png(GREY, depth, 0, png_chunk(b"tRNS", struct.pack(">H", level)))

    bits = np.unpackbits(np.frombuffer(b"".join(GREY), "uint8").reshape(2, 2), axis=1)
    twos = bits[:, ::2] * 2 + bits[:, 1::2]
    fours = twos[:, ::2] * 4 + twos[:, 1::2]
    files = {}
    for depth, levels in ((1, bits), (2, twos), (4, fours)):
        white = 2**depth - 1
        spread = levels * np.uint8(255 // white)
        for level in {0, 1, white, white // 2}:
            pixels = np.where(levels == level, 255, spread)
            files[f"depth {depth}, level {level}"] = (clear(level, depth), pixels)
    eight = np.frombuffer(b"".join(GREY), "uint8").reshape(2, 2)
    black = png_chunk(b"tRNS", bytes(2))
    colour = [bytes([1, 2, 3, 0, 0, 0])]
    return files | {
        "depth 4, no clear level": (png(GREY, 4, 0), fours * np.uint8(17)),
        "depth 8, level 0": (png(GREY, 8, 0, black), np.where(eight == 0, 255, eight)),
        "depth 8, a level of 16 bits": (
            png(GREY, 8, 0, png_chunk(b"tRNS", b"\1\0")),
            np.where(eight == 0, 255, eight),
        ),
        "after the pixels": (png(GREY, 8, 0, after=black), eight),
        "depth 16": (png([bytes([7, 0, 0, 0])], 16, 0, black), np.uint8([[7, 0]])),
        "colour": (
            png(colour, 8, 2, png_chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))),
            np.uint8([[[255, 255, 255], [0, 0, 0]]]),
        ),
        "colour, levels of 16 bits": (
            png(colour, 8, 2, png_chunk(b"tRNS", bytes([9, 1, 9, 2, 9, 3]))),
            np.uint8([[[255, 255, 255], [0, 0, 0]]]),
        ),
        "colour, depth 16": (
            png([bytes([1, 0, 2, 0, 3, 0])], 16, 2, png_chunk(b"tRNS", bytes([1, 0, 2, 0, 3, 0]))),
            np.uint8([[[1, 2, 3]]]),
        ),
    }


def many_scans(number, side=16):
    """A progressive JPEG with so many scans: the last one comes again and again."""
    file = encoded(Image.new("L", (side, side), 200), "JPEG", progressive=True)
    starts = [match.start() for match in re.finditer(rb"\xff\xda", file)]
    last = file[starts[-1] : -2]
    return file[:-2] + last * (number - len(starts)) + file[-2:]


def large_jpeg(side=8_000, garbage=b""):
    """A JPEG of 64 million pixels that starts with bytes that decoders skip."""
    file = encoded(Image.new("L", (16, 16)), "JPEG")
    place = file.index(b"\xff\xc0") + 5
    file = file[:place] + struct.pack(">HH", side, side) + file[place + 4 :]
    return with_parts(file, garbage)


@functools.cache
def bounded_files():
    """Files around the bounds: `{name: (file, whether the graph, and Python, read it)}`."""
    from keras_cmsa.preprocessing.reading import MAX_SCANS

    jpeg, plain = encoded(SMALL, "JPEG"), encoded(SMALL)
    chunk, comment = png_chunk(b"ruSt", b""), segment(0xFE, b"")
    return {
        "jpeg, some fill bytes": (with_parts(jpeg, b"\xff" * 900), True, True),
        "jpeg, many fill bytes": (with_parts(jpeg, b"\xff" * 20_000), False, True),
        "jpeg, many stray bytes": (with_parts(jpeg, b"\0" * 20_000), False, True),
        "jpeg, some segments": (with_parts(jpeg, comment * 900), True, True),
        "jpeg, many segments": (with_parts(jpeg, comment * 1_001), False, True),
        "jpeg, many segments behind EXIF": (
            with_parts(jpeg, segment(0xE1, b"Exif\0\0" + exif(6)) + comment * 1_001),
            True,
            True,
        ),
        "png, many chunks": (with_parts(plain, chunk * 20_000), True, True),
        "jpeg, some scans": (many_scans(MAX_SCANS), True, True),
        "jpeg, many scans": (many_scans(MAX_SCANS + 1), False, False),
        "jpeg, large": (large_jpeg(), False, False),
        "jpeg, large, a stray byte": (large_jpeg(garbage=b"\0"), False, False),
        "jpeg, large, fill bytes": (large_jpeg(garbage=b"\xff\xff"), False, False),
        "png, as large as can be": (large_png(2**31 - 1, 2**31 - 1), False, False),
        "png, two negative sides": (large_png(2**32 - 1, 2**32 - 1), False, False),
    }


def large_png(width, height):
    file = encoded(SMALL)
    header = struct.pack(">II", width, height) + file[24:29]
    return file[:8] + png_chunk(b"IHDR", header) + file[33:]


@functools.cache
def files_of_noise():
    """What `read_image` and the graph must give the same pixels of: `{name: file}`."""
    photo = np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype("uint8")
    rng = np.random.default_rng(1)
    grey = Image.fromarray(photo[..., 0])
    colour = Image.fromarray(photo)
    clear = Image.fromarray(np.concatenate([photo, photo[..., :1]], axis=-1))
    palette = colour.quantize(32)
    deep = Image.fromarray(rng.integers(0, 65536, (12, 9)).astype("uint16"))
    smooth = colour.resize((94, 62))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "png grey": encoded(grey),
        "png palette": encoded(palette),
        "png palette, one transparent": encoded(palette, transparency=3),
        "png palette of two": encoded(colour.quantize(2)),
        "png grey, one transparent": encoded(grey, transparency=int(photo[0, 0, 0])),
        "png colour, one transparent": encoded(colour, transparency=tuple(map(int, photo[4, 4]))),
        "png transparent": encoded(clear),
        "png grey, transparent": encoded(clear.convert("LA")),
        "png of two": encoded(grey.convert("1")),
        "png 16 bits": encoded(deep),
        "jpeg": encoded(smooth, "JPEG"),
        "jpeg progressive": encoded(smooth, "JPEG", progressive=True, quality=95),
        "jpeg coarse": encoded(smooth, "JPEG", quality=30, restart_marker_rows=1),
        "jpeg of odd sides": encoded(colour, "JPEG", quality=80, subsampling=1),
        "jpeg not subsampled": encoded(smooth, "JPEG", subsampling=0),
        "jpeg grey": encoded(grey, "JPEG"),
        "jpeg, a profile": encoded(smooth, "JPEG", icc_profile=profile),
        "png, a profile": encoded(colour, icc_profile=profile),
        "png, a gamma": with_parts(encoded(colour), png_chunk(b"gAMA", struct.pack(">I", 9_000))),
    }
    for turn in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = turn
        exif[0x010F] = "maker"
        files[f"jpeg turned {turn}"] = encoded(smooth, "JPEG", exif=exif)
        files[f"png turned {turn}"] = encoded(colour, exif=exif)
    return files
