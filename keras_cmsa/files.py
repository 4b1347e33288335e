"""Files that are whole or not there."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def replaced(path, mode="w"):
    """Opens a file beside `path` and renames it to `path` once it is written to the disk.

    A process killed in between leaves what was at `path` before. An exception too, and it takes
    the file beside away.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    encoding = None if "b" in mode else "utf-8"
    try:
        with open(partial, mode, encoding=encoding, newline="" if encoding else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
