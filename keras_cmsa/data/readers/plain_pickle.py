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

PLAIN = set(
    """
    PROTO FRAME MARK STOP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE EMPTY_LIST LIST APPEND
    APPENDS EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    """.split()
)
# The unpickler refuses the imports with the name of what they import, and never comes to what follows.
LAST = ("STOP", "GLOBAL", "INST", "STACK_GLOBAL")
MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}

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
    file = io.BytesIO(content)
    for step in range(MAX_STEPS):
        opcode = OPCODES.get(file.read(1))
        if opcode is None:
            raise ValueError(f"it ends or has no opcode at byte {file.tell():,}")
        if opcode.name in LAST:
            return
        if opcode.name not in PLAIN:
            raise _RefusedError(f"holds more than plain data (opcode {opcode.name})")
        if opcode.arg is None:
            continue
        # The reader of lines wants ASCII, which Python 2's need not be.
        is_line = opcode.arg.n == pickletools.UP_TO_NEWLINE
        argument = file.readline() if is_line else opcode.arg.reader(file)
        # The unpickler's memo has as many places as the largest index.
        if opcode.name in MEMO and int(argument) > step:
            raise _RefusedError("has a far memo index")
    raise _RefusedError(f"takes more than {MAX_STEPS:,} steps to read")


def _latin_1(error):
    """Decodes what is not UTF-8. Python 2 wrote bytes without naming their encoding."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start :].decode("latin-1"), len(error.object)


LATIN_1 = "keras_cmsa.latin_1"
codecs.register_error(LATIN_1, _latin_1)
