"""Reads the headers of JPEG, PNG and GIF files in a bounded number of steps.

`keras_cmsa.export.graph.headers` does the same in a TensorFlow graph, with the same bounds, so a
file that one side refuses is refused by the other. The tests hold both to the same files.
"""

import re
import struct

ORIENTATION_TAG = 0x0112
SHORT, LONG = 3, 4  # types of TIFF entries

# Segments, chunks or blocks that are looked at, and stray bytes between them: a photo has about
# ten, and a PNG of 50 megapixels has 7,000 if each row is a chunk. Each is a step of a loop, which
# takes tens of microseconds in a graph.
MAX_PARTS = 20_000

# A progressive JPEG is decoded once per scan. The usual ones have ten, and ten in their thumbnail.
MAX_SCANS = 50

# How a scan of 1 to 4 channels starts: its marker, the length of its header, and the number of
# channels. Decoders refuse other lengths, so none is missed. Those of thumbnails count too.
SCAN_STARTS = tuple(bytes([0xFF, 0xDA, 0, 6 + 2 * channels, channels]) for channels in range(1, 5))
SCAN_START = re.compile(b"|".join(re.escape(start) for start in SCAN_STARTS))

JPEG, PNG, GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
EXIF = b"Exif\0\0"  # the first bytes of the EXIF segment of a JPEG


def check_scans(data):
    """Raises `ValueError` if a JPEG has more than `MAX_SCANS` scans."""
    if data[:3] != JPEG:
        return
    scans = len(SCAN_START.findall(data))
    if scans > MAX_SCANS:
        raise ValueError(
            f"wanted a JPEG of at most {MAX_SCANS} scans. Received: {scans}. Save it anew"
        )


def read_exif(data):
    """Finds the EXIF block in the bytes of a file, and checks the number of its parts.

    It is in the first EXIF segment of a JPEG or in the first eXIf chunk of a PNG. EXIF in other
    places, such as a PNG's text, does not count.

    Args:
        data: `bytes` or a `mmap` of a whole file of any kind.

    Returns:
        The EXIF block as `bytes`, without the name of its segment; empty if there is none.

    Raises:
        ValueError: if the file has more than `MAX_PARTS` parts.
    """
    walks = {JPEG: _segments_of_jpeg, PNG: _chunks_of_png, GIF: _blocks_of_gif}
    walk = next((walk for start, walk in walks.items() if data[:8].startswith(start)), None)
    exif = None
    for number, block in enumerate(walk(data) if walk else ()):
        if number == MAX_PARTS:
            raise ValueError(
                f"wanted a file of at most {MAX_PARTS:,} segments, chunks or blocks. "
                "Received: more. Save it anew"
            )
        exif = block if exif is None else exif
    return exif or b""


def read_orientation(exif):
    """Finds the orientation in an EXIF block.

    It is the first entry of that tag in the first directory that holds one SHORT or LONG from 1
    to 8.

    Args:
        exif: `bytes`.

    Returns:
        1 to 8; 1 (upright) if the block has none or is damaged, which is common in photo
        collections.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    if directory + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(f"{order}H", exif, directory)
    entries = exif[directory + 2 :][: 12 * count]
    entries = entries[: len(entries) // 12 * 12]
    for tag, kind, values, value in struct.iter_unpack(f"{order}HHI4s", entries):
        if tag == ORIENTATION_TAG and kind in (SHORT, LONG) and values == 1:
            (turn, *_) = struct.unpack(f"{order}{'HH' if kind == SHORT else 'I'}", value)
            if 1 <= turn <= 8:
                return turn
    return 1


# Each of these yields once per step: the EXIF block if it stands there, else None. They go through
# a file as libjpeg, libpng and giflib do.


def _segments_of_jpeg(data):
    offset = 2
    while offset + 4 <= len(data):
        first, marker, length = struct.unpack_from(">BBH", data, offset)
        start, end = offset + 4, offset + 2 + max(length, 2)
        if first != 0xFF or marker == 0xFF:  # a stray byte, or a fill byte
            end = offset + 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # these stand alone
            end = offset + 2
        elif marker in (0xD9, 0xDA):  # the end, or the pixels
            end = len(data)
        is_exif = marker == 0xE1 and first == 0xFF and data[start : start + 6] == EXIF
        yield data[start + 6 : end] if is_exif else None
        offset = end


def _chunks_of_png(data):
    offset = 8
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        start = offset + 8
        yield data[start : start + length] if kind == b"eXIf" else None
        offset = len(data) if kind == b"IEND" else start + length + 4


def _blocks_of_gif(data):
    """Up to the end of the first frame."""
    offset = 13 + _colour_table_size(data[10]) if len(data) > 10 else len(data)
    while offset < len(data):
        is_image = data[offset] == 0x2C
        if is_image and offset + 9 < len(data):
            offset += 11 + _colour_table_size(data[offset + 9])
        elif data[offset] == 0x21:  # an extension
            offset += 2
        else:
            return
        yield None
        while offset < len(data) and data[offset]:
            yield None
            offset += 1 + data[offset]
        if is_image:
            return
        offset += 1


def _colour_table_size(flags):
    return 6 << flags % 8 if flags >= 128 else 0
