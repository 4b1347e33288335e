"""Reads pickles of plain data without running any code in them.

`pickle.load` imports and calls what a file names, and seven bytes can make it allocate gigabytes (a
memo index). Annotation files hold only dicts, lists, strings, numbers, booleans and None, so all
opcodes but theirs are refused before any is carried out. (No tuples: the hash of one that is nested
deeply overflows the C stack.) Python 2's protocols, 0 to 2, and Python 3's, 0 to 5, are read. The
opcodes are named as in `pickletools`.
"""

import codecs
import io
import pickle
import pickletools
from pathlib import Path

# Three times those of the largest published file. A step, which is a byte of some files, takes up to
# 115 bytes of memory, so that reading takes 3 GB at most.
MAX_BYTES = 100_000_000
MAX_STEPS = 20_000_000

PLAIN = (
    "PROTO FRAME MARK STOP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE EMPTY_LIST LIST APPEND "
    "APPENDS EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET"
).split()
# The unpickler refuses these with the name of what they import, and never comes to what follows.
IMPORTS = ("GLOBAL", "INST", "STACK_GLOBAL")
NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
# {opcode: bytes of its argument}; below 0 as `pickletools` says how they are found
SIZES = {
    ord(opcode.code): opcode.arg.n if opcode.arg else 0
    for opcode in pickletools.opcodes
    if opcode.name in PLAIN
}
LAST, MEMO = (
    {code for code, name in NAMES.items() if name in names}
    for names in (("STOP", *IMPORTS), ("PUT", "BINPUT", "LONG_BINPUT"))
)

# The errors of a damaged file: it ends too early, the stack is empty, an item is of the wrong type.
DAMAGE_ERRORS = (
    pickle.UnpicklingError, EOFError, ValueError, LookupError, OverflowError, TypeError,
    AttributeError,
)  # fmt: skip


def read_plain_pickle(path):
    """Reads a pickle of plain data, without running any code in it.

    A file of more than `MAX_BYTES` is not opened, and one of more than `MAX_STEPS` opcodes not read to
    its end. Byte strings (all strings of Python 2) become text: they are decoded as UTF-8 if that is
    possible, else as Latin-1.

    Args:
        path: the file.

    Returns:
        The object in the file, of dicts, lists, strings, numbers, booleans and None.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file imports a name (the error says which), holds more than plain data,
            is too large, or is damaged.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _RefusedError(f"has {size:,} bytes, more than {MAX_BYTES:,}")
        content = path.read_bytes()
        _check_steps(content)
        return _Unpickler(io.BytesIO(content), encoding="utf-8", errors=LATIN_1).load()
    except _RefusedError as error:
        raise ValueError(
            f"{path} {error}. Annotations are plain data, so it was not loaded; "
            "fetch it again from a source that you trust"
        ) from None
    except DAMAGE_ERRORS as error:
        raise ValueError(f"{path} is not a whole pickle: {error}. Fetch it again") from error


class _RefusedError(Exception):
    """The pickle holds more than plain data. The message continues the sentence "<path> ..."."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        raise _RefusedError(f"asks to import {module}.{name}")


def _check_steps(content):
    """Refuses what is not plain, before the first import or the end."""
    place = 0
    for step in range(MAX_STEPS):
        if place >= len(content):
            raise EOFError(f"it ends after {len(content):,} bytes")
        code, start = content[place], place + 1
        if code in LAST:
            return
        if code not in NAMES:
            raise ValueError(f"byte {place:,} is no opcode")
        if code not in SIZES:
            raise _RefusedError(
                f"holds more than plain data (opcode {NAMES[code]} at byte {place:,})"
            )
        size = SIZES[code]
        if size >= 0:
            place = start + size
        elif size == pickletools.UP_TO_NEWLINE:
            place = content.index(b"\n", start) + 1
        else:  # its length stands before it
            length = 1 if size == pickletools.TAKEN_FROM_ARGUMENT1 else 4
            place = start + length + int.from_bytes(content[start : start + length], "little")
        if code in MEMO:
            argument = content[start:place]
            index = int(argument) if size < 0 else int.from_bytes(argument, "little")
            if index > step:  # the unpickler's memo has as many places as the largest index
                raise _RefusedError(f"has a far memo index at byte {start - 1}")
    raise _RefusedError(f"takes more than {MAX_STEPS:,} steps to read")


def _latin_1(error):
    """Decodes what is not UTF-8. Python 2 wrote bytes without naming their encoding."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start :].decode("latin-1"), len(error.object)


LATIN_1 = "keras_cmsa.latin_1"
codecs.register_error(LATIN_1, _latin_1)
