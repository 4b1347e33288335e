"""Reads pickles of plain data without running any code in them.

`pickle.load` executes the code that a file names. Even without imports, seven bytes can allocate
gigabytes (a memo index), and a nested key can overflow the C stack (its hash). Annotation files
hold only dicts, lists, tuples, strings, numbers, booleans and None, so this module interprets the
opcodes that build these and refuses all others. It reads all protocols of Python 2 (0 to 2) and
Python 3 (0 to 5). UNC's 50,000 refs take about three seconds. Opcodes are named as in
`pickletools`.
"""

import pickletools
import re
import struct
from pathlib import Path

# Three times those of the largest published file. A step, which is a byte of some files, takes up to
# 115 bytes of memory, so that reading takes 3 GB at most.
MAX_BYTES = 100_000_000
MAX_STEPS = 20_000_000

# Ids have at most 64 bits. A longer integer could only slow the reader down.
MAX_DIGITS = 20
MAX_INTEGER_BYTES = 9

UINT8, UINT16, UINT32, UINT64 = map(struct.Struct, ("<B", "<H", "<I", "<Q"))
INT32, FLOAT64 = map(struct.Struct, ("<i", ">d"))

ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")

# The errors that a damaged file causes: the stack or the file ends too early, there is no such
# opcode or memo entry, or an item on the stack has the wrong type.
DAMAGE_ERRORS = (ValueError, IndexError, KeyError, TypeError, struct.error)


def read_plain_pickle(path):
    """Reads a pickle of plain data, without running any code in it.

    A file of more than `MAX_BYTES` is not opened, and one of more than `MAX_STEPS` opcodes not read to
    its end. Byte strings (all strings of Python 2) become text: they are decoded as UTF-8 if that is
    possible, else as Latin-1.

    Args:
        path: the file.

    Returns:
        The object in the file, of dicts, lists, tuples, strings, numbers, booleans and None.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file imports a name (the error says which), holds more than plain data,
            is too large, or is damaged.
    """
    reader = _Reader()
    try:
        reader.data = _bytes_of(Path(path))
        return reader.read()
    except _RefusedError as error:
        raise ValueError(
            f"{path} {error}. Annotations are plain data, so it was not loaded; "
            "fetch it again from a source that you trust"
        ) from None
    except DAMAGE_ERRORS as error:
        raise ValueError(
            f"{path} is not a whole pickle: reading stopped at byte {reader.position} of "
            f"{len(reader.data)} ({type(error).__name__}: {error}). Fetch it again"
        ) from error


def _bytes_of(path):
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise _RefusedError(f"has {size:,} bytes, more than {MAX_BYTES:,}")
    return path.read_bytes()


class _RefusedError(Exception):
    """The pickle holds more than plain data. The message continues the sentence "<path> ..."."""


class _Reader:
    """The pickle machine: a stack with marks, and a memo of earlier items."""

    def __init__(self):
        self.data = b""
        self.position = 0
        self.stack = []
        self.marks = []
        self.memo = {}

    def read(self):
        for _ in range(MAX_STEPS):
            opcode = self.take(1)
            if opcode == b".":  # STOP
                return self.stack.pop()
            OPCODES[opcode](self)
        raise _RefusedError(f"takes more than {MAX_STEPS:,} steps to read")

    def take(self, length):
        """The next `length` bytes."""
        end = self.position + length
        if end > len(self.data):
            raise IndexError("the file ends here")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def take_line(self):
        """The next bytes up to a line break, without the line break."""
        end = self.data.index(b"\n", self.position)
        line = self.take(end - self.position)
        self.position = end + 1
        return line

    def take_number(self, form):
        """The next number, in the form of a `struct.Struct`."""
        number = form.unpack_from(self.data, self.position)[0]
        self.position += form.size
        return number

    def pop_to_mark(self):
        """Takes all items off the stack that were pushed after the last mark."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items


def _push(value):
    """An opcode that pushes `value(reader)`."""
    return lambda reader: reader.stack.append(value(reader))


def _push_sized(form, convert):
    """An opcode that reads a length and as many bytes, and pushes `convert(bytes)`."""
    return _push(lambda reader: convert(reader.take(reader.take_number(form))))


def _put(index):
    """An opcode that stores the top of the stack in the memo, at `index(reader)`."""

    def put(reader):
        reader.memo[index(reader)] = reader.stack[-1]

    return put


def _mark(reader):
    reader.marks.append(len(reader.stack))


def _pop(reader):
    """Drops the top of the stack, or the last mark if nothing was pushed after it."""
    if reader.marks and reader.marks[-1] == len(reader.stack):
        reader.marks.pop()
    else:
        reader.stack.pop()


def _last(count):
    """A function that takes the last `count` items off the stack, as a tuple."""

    def pop_tuple(reader):
        if len(reader.stack) < count:
            raise IndexError("too few items for a tuple")
        items = tuple(reader.stack[-count:])
        del reader.stack[-count:]
        return items

    return pop_tuple


_pop_pair = _last(2)


def _extend(reader, items):
    if type(reader.stack[-1]) is not list:
        raise TypeError(f"{type(reader.stack[-1]).__name__} instead of a list")
    reader.stack[-1].extend(items)


def _update(reader, items):
    if type(reader.stack[-1]) is not dict:
        raise TypeError(f"{type(reader.stack[-1]).__name__} instead of a dict")
    reader.stack[-1].update(_dict(items))


def _dict(items):
    """A dict of items that are keys and values in turn."""
    keys = items[::2]
    # The hash of a tuple that is nested a million deep would overflow the C stack.
    if len(items) % 2 or not all(isinstance(key, (str, int, float)) for key in keys):
        raise TypeError("dict keys must be strings or numbers, each with a value")
    return dict(zip(keys, items[1::2]))


def _integer(digits):
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _integer_or_boolean(digits):
    """Protocol 0 writes booleans as integers with a leading zero."""
    if digits in (b"00", b"01"):
        return digits == b"01"
    return _integer(digits)


def _little_endian(octets):
    if len(octets) > MAX_INTEGER_BYTES:
        raise ValueError(f"an integer of {len(octets)} bytes")
    return int.from_bytes(octets, "little", signed=True)


def _text(octets):
    """Decodes UTF-8 or Latin-1. Python 2 wrote bytes without naming their encoding."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _quoted_text(line):
    """Decodes a byte string as Python 2 printed it, with quotes and escapes."""
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise ValueError("a string without its quotes")
    octets = line[1:-1]
    return _text(ESCAPE.sub(_unescape, octets) if b"\\" in octets else octets)


def _unescape(match):
    code = match[1]
    if code[:1] == b"x":
        return bytes([int(code[1:], 16)])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(code, code)


def _refuse_import(reader):
    module, name = _text(reader.take_line()), _text(reader.take_line())
    raise _RefusedError(f"asks to import {module}.{name}")


def _refuse_stacked_import(reader):
    module, name = (str(part)[:100] for part in _pop_pair(reader) if isinstance(part, str))
    raise _RefusedError(f"asks to import {module}.{name}")


def _refuse(opcode_name):
    def refuse(reader):
        raise _RefusedError(
            f"holds more than plain data (opcode {opcode_name} at byte {reader.position - 1})"
        )

    return refuse


# {name of an opcode in `pickletools`, which describes it: function that carries it out}
ACTIONS = {
    # frames, the stack, the memo
    "PROTO": lambda reader: reader.take(1),
    "FRAME": lambda reader: reader.take(8),
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": lambda reader: reader.pop_to_mark(),
    "DUP": _push(lambda reader: reader.stack[-1]),
    "PUT": _put(lambda reader: _integer(reader.take_line())),
    "BINPUT": _put(lambda reader: reader.take_number(UINT8)),
    "LONG_BINPUT": _put(lambda reader: reader.take_number(UINT32)),
    "MEMOIZE": _put(lambda reader: len(reader.memo)),
    "GET": _push(lambda reader: reader.memo[_integer(reader.take_line())]),
    "BINGET": _push(lambda reader: reader.memo[reader.take_number(UINT8)]),
    "LONG_BINGET": _push(lambda reader: reader.memo[reader.take_number(UINT32)]),
    # None, booleans, numbers
    "NONE": _push(lambda reader: None),
    "NEWTRUE": _push(lambda reader: True),
    "NEWFALSE": _push(lambda reader: False),
    "INT": _push(lambda reader: _integer_or_boolean(reader.take_line())),
    "BININT": _push(lambda reader: reader.take_number(INT32)),
    "BININT1": _push(lambda reader: reader.take_number(UINT8)),
    "BININT2": _push(lambda reader: reader.take_number(UINT16)),
    "LONG": _push(lambda reader: _integer(reader.take_line().removesuffix(b"L"))),
    "LONG1": _push_sized(UINT8, _little_endian),
    "LONG4": _push_sized(UINT32, _little_endian),
    "FLOAT": _push(lambda reader: float(reader.take_line())),
    "BINFLOAT": _push(lambda reader: reader.take_number(FLOAT64)),
    # strings
    "STRING": _push(lambda reader: _quoted_text(reader.take_line())),
    "BINSTRING": _push_sized(UINT32, _text),
    "SHORT_BINSTRING": _push_sized(UINT8, _text),
    "BINBYTES": _push_sized(UINT32, _text),
    "SHORT_BINBYTES": _push_sized(UINT8, _text),
    "BINBYTES8": _push_sized(UINT64, _text),
    "UNICODE": _push(lambda reader: reader.take_line().decode("raw-unicode-escape")),
    "BINUNICODE": _push_sized(UINT32, bytes.decode),
    "SHORT_BINUNICODE": _push_sized(UINT8, bytes.decode),
    "BINUNICODE8": _push_sized(UINT64, bytes.decode),
    # tuples, lists, dicts
    "EMPTY_TUPLE": _push(lambda reader: ()),
    "TUPLE": _push(lambda reader: tuple(reader.pop_to_mark())),
    "TUPLE1": _push(_last(1)),
    "TUPLE2": _push(_pop_pair),
    "TUPLE3": _push(_last(3)),
    "EMPTY_LIST": _push(lambda reader: []),
    "LIST": _push(lambda reader: reader.pop_to_mark()),
    "APPEND": lambda reader: _extend(reader, [reader.stack.pop()]),
    "APPENDS": lambda reader: _extend(reader, reader.pop_to_mark()),
    "EMPTY_DICT": _push(lambda reader: {}),
    "DICT": _push(lambda reader: _dict(reader.pop_to_mark())),
    "SETITEM": lambda reader: _update(reader, _pop_pair(reader)),
    "SETITEMS": lambda reader: _update(reader, reader.pop_to_mark()),
    # imports, which are refused with their names
    "GLOBAL": _refuse_import,
    "INST": _refuse_import,
    "STACK_GLOBAL": _refuse_stacked_import,
}

OPCODES = {
    opcode.code.encode("latin-1"): ACTIONS.get(opcode.name, _refuse(opcode.name))
    for opcode in pickletools.opcodes
}
