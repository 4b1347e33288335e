"""Reads pickles of plain data and runs nothing.

`pickle.load` executes what the file says, and even with its imports refused seven bytes can claim
gigabytes (a memo index) and a nested key overflows the C stack (its hash). Annotation files hold
dicts, lists, tuples, strings, numbers, booleans and None only, so the opcodes that build those are
interpreted here and all others refused. The 50,000 refs of UNC take some three seconds.
Every protocol is read, from Python 2 (0 to 2) and 3 (0 to 5). Opcodes as in `pickletools`.
"""

import pickletools
import re
import struct
from pathlib import Path

# Ids are 64-bit integers at most. Longer ones only serve to make a reader slow.
MOST_DIGITS = 20
MOST_BYTES = 9

UINT8, UINT16, UINT32, UINT64 = map(struct.Struct, ("<B", "<H", "<I", "<Q"))
INT32, FLOAT64 = map(struct.Struct, ("<i", ">d"))

ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")

# What can go wrong in a damaged file: the stack or the bytes run out, an opcode or a memo entry
# is not there, a thing of another type lies on the stack.
DAMAGE = (ValueError, IndexError, KeyError, TypeError, struct.error)


def read_plain_pickle(path):
    """Read a pickle that holds plain data, without running anything in it.

    Byte strings (all strings of Python 2) become text: UTF-8 where they are, else Latin-1.

    Args:
        path: the file.

    Returns:
        The dicts, lists, tuples, strings, numbers, booleans and None in it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file wants to import anything (the error names it), holds other than
            plain data, or is damaged.
    """
    reader = _Reader(Path(path).read_bytes())
    try:
        return reader.read()
    except _RefusedError as error:
        raise ValueError(
            f"{path} {error}. Annotations are plain data, so it was not loaded; "
            "fetch it again from a source that you trust"
        ) from None
    except DAMAGE as error:
        raise ValueError(
            f"{path} is not a whole pickle: reading stopped at byte {reader.position} of "
            f"{len(reader.data)} ({type(error).__name__}: {error}). Fetch it again"
        ) from error


class _RefusedError(Exception):
    """The pickle is more than plain data; the message continues "<path> ..."."""


class _Reader:
    """The pickle machine: a stack with marks, and a memo of things met before."""

    def __init__(self, data):
        self.data = data
        self.position = 0
        self.stack = []
        self.marks = []
        self.memo = {}

    def read(self):
        while (opcode := self.take(1)) != b".":  # STOP
            OPCODES[opcode](self)
        return self.stack.pop()

    def take(self, length):
        """The next `length` bytes."""
        end = self.position + length
        if end > len(self.data):
            raise IndexError("the file ends here")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def take_line(self):
        """The next bytes up to a line break, which is dropped."""
        end = self.data.index(b"\n", self.position)
        line = self.take(end - self.position)
        self.position = end + 1
        return line

    def take_number(self, form):
        """The next number of a `struct.Struct`."""
        number = form.unpack_from(self.data, self.position)[0]
        self.position += form.size
        return number

    def pop_to_mark(self):
        """The things pushed since the last mark."""
        mark = self.marks.pop()
        things = self.stack[mark:]
        del self.stack[mark:]
        return things


def _push(value):
    """An opcode that pushes what `value(reader)` gives."""
    return lambda reader: reader.stack.append(value(reader))


def _push_sized(form, convert):
    """An opcode that pushes as many bytes as the number before them says, converted."""
    return _push(lambda reader: convert(reader.take(reader.take_number(form))))


def _put(index):
    """An opcode that remembers the top of the stack."""

    def put(reader):
        reader.memo[index(reader)] = reader.stack[-1]

    return put


def _mark(reader):
    reader.marks.append(len(reader.stack))


def _pop(reader):
    """Drop the top of the stack, or the mark if nothing was pushed since."""
    if reader.marks and reader.marks[-1] == len(reader.stack):
        reader.marks.pop()
    else:
        reader.stack.pop()


def _last(count):
    """A value: the tuple of the last `count` things."""

    def pop_tuple(reader):
        if len(reader.stack) < count:
            raise IndexError("too few things for a tuple")
        things = tuple(reader.stack[-count:])
        del reader.stack[-count:]
        return things

    return pop_tuple


_pop_pair = _last(2)


def _extend(reader, things):
    if type(reader.stack[-1]) is not list:
        raise TypeError(f"{type(reader.stack[-1]).__name__} where a list was wanted")
    reader.stack[-1].extend(things)


def _update(reader, things):
    if type(reader.stack[-1]) is not dict:
        raise TypeError(f"{type(reader.stack[-1]).__name__} where a dict was wanted")
    reader.stack[-1].update(_dict(things))


def _dict(things):
    """A dict of alternating keys and values."""
    keys = things[::2]
    # Hashing a tuple nested a million deep would overflow the C stack.
    if len(things) % 2 or not all(isinstance(key, (str, int, float)) for key in keys):
        raise TypeError("dict keys must be strings or numbers, each with a value")
    return dict(zip(keys, things[1::2]))


def _integer(digits):
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _integer_or_boolean(digits):
    """Protocol 0 writes booleans as integers with a leading zero."""
    if digits in (b"00", b"01"):
        return digits == b"01"
    return _integer(digits)


def _little_endian(octets):
    if len(octets) > MOST_BYTES:
        raise ValueError(f"an integer of {len(octets)} bytes")
    return int.from_bytes(octets, "little", signed=True)


def _text(octets):
    """Text of either Python: Python 2 wrote bytes without saying in which encoding."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _quoted_text(line):
    """A byte string as Python 2 printed it: quoted, with escapes."""
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


# What each opcode does, by its name in `pickletools`, where each is described.
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
    # what asks for code, to say by what name
    "GLOBAL": _refuse_import,
    "INST": _refuse_import,
    "STACK_GLOBAL": _refuse_stacked_import,
}

OPCODES = {
    opcode.code.encode("latin-1"): ACTIONS.get(opcode.name, _refuse(opcode.name))
    for opcode in pickletools.opcodes
}
