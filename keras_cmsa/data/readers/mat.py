"""Reads one matrix of numbers from a MATLAB 5 file, the format of ReferIt's masks.

The files may come from strangers. The reader decompresses and allocates no more than the wanted
matrix can take, and skips cells, structs, objects and functions unread. (SciPy's reader ends the
process where one byte, the type of the numbers, is damaged.) Format: MathWorks, "MAT-File Format",
level 5.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

HEADER_BYTES = 128
COMPRESSED, MATRIX, UINT32, INT32, INT8 = 15, 14, 6, 5, 1  # types of elements
NUMBER_TYPES = {  # {type of an element: NumPy's type}
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
NUMERIC_CLASSES = range(6, 16)  # double, single, and integers of 8 to 64 bits, signed or not
COMPLEX = 0x08  # a flag in the second byte of the array flags
MAX_ELEMENTS = 100  # each one takes time to decompress
MATRIX_HEADER_BYTES = 4096  # the most that the tags, flags, dimensions and name of a matrix take


def read_mat(path, name, shape):
    """Reads a matrix by its name.

    Args:
        path: the file.
        name: name of the matrix.
        shape: `(rows, columns)` that the matrix must have.

    Returns:
        An array of that shape, in the number type in which it is stored.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a MATLAB 5 file, is damaged, or has no such matrix.
    """
    path = Path(path)
    max_bytes = MATRIX_HEADER_BYTES + 8 * shape[0] * shape[1]
    if path.stat().st_size > 2 * max_bytes + HEADER_BYTES:
        raise ValueError(f"{path} is too large to hold one matrix of {shape[0]} x {shape[1]}")
    data = path.read_bytes()
    if data[:19].upper() != b"MATLAB 5.0 MAT-FILE" or data[126:128] not in (b"IM", b"MI"):
        raise ValueError(f"{path} is not a MATLAB 5 file (saved with -v6 or -v7)")
    byte_order = "<" if data[126:128] == b"IM" else ">"
    others = []
    try:
        for kind, content in _elements(data[HEADER_BYTES:], byte_order):
            if kind == COMPRESSED:
                decompressor = zlib.decompressobj()
                content = decompressor.decompress(content, max_bytes)
                if decompressor.unconsumed_tail:
                    others.append("a larger one")
                    continue
                kind, content, _ = _element(content, byte_order)
            if kind == MATRIX:
                matrix_name, size, values = _matrix(content, byte_order)
                if matrix_name == name and values is not None and size == tuple(shape):
                    return np.frombuffer(values[0], values[1]).reshape(shape, order="F")
                others.append(f"{matrix_name!r} of {' x '.join(map(str, size))}")
    except (ValueError, IndexError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is not a whole MATLAB file: {error}. Fetch it again") from error
    raise ValueError(
        f"{path} has no matrix {name!r} of {shape[0]} x {shape[1]} numbers; it has: "
        f"{', '.join(others)[:200] or 'none'}"
    )


def _elements(data, byte_order):
    """Yields `(type, content)` of each element in `data`."""
    for _ in range(MAX_ELEMENTS):
        if not data:
            return
        kind, content, data = _element(data, byte_order)
        yield kind, content
    raise ValueError(f"more than {MAX_ELEMENTS} variables")


def _element(data, byte_order):
    """The first element: `(type, content, rest of data)`. Contents are padded to eight bytes."""
    (head,) = struct.unpack_from(byte_order + "I", data)
    if head >> 16:  # the short form: size and type in four bytes, then up to four bytes of content
        kind, start, size, end = head & 0xFFFF, 4, head >> 16, 8
        if size > 4:
            raise ValueError(f"a short element of {size} bytes")
    else:
        kind, start, size = head, 8, struct.unpack_from(byte_order + "I", data, 4)[0]
        end = start + size + (-size % 8 if kind != COMPRESSED else 0)
    if start + size > len(data):
        raise ValueError("the file ends inside an element")
    return kind, data[start : start + size], data[end:]


def _matrix(content, byte_order):
    """`(name, size, (bytes, number type))`; None in place of the pair if it is not real numbers."""
    kind, flags, content = _element(content, byte_order)
    word = struct.unpack_from(byte_order + "I", flags)[0]
    kind_of_size, size, content = _element(content, byte_order)
    kind_of_name, name, content = _element(content, byte_order)
    if (kind, kind_of_size, kind_of_name) != (UINT32, INT32, INT8):
        raise ValueError("a matrix without flags, size or name")
    name = name.decode("latin-1")
    size = tuple(np.frombuffer(size[: len(size) // 4 * 4], byte_order + "i4").tolist())
    if word & 0xFF not in NUMERIC_CLASSES or (word >> 8) & COMPLEX:
        return name, size, None
    kind, numbers, _ = _element(content, byte_order)
    if kind not in NUMBER_TYPES:
        raise ValueError(f"numbers of type {kind}")
    return name, size, (numbers, np.dtype(byte_order + NUMBER_TYPES[kind]))
