"""A file or folder for one process at a time."""

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two runs at once are the user's to avoid
    fcntl = None


@contextlib.contextmanager
def locked(path, taken):
    """Holds a lock file, which ends with the process at the latest.

    Args:
        path: of the file; its folder is there.
        taken: what to say if another process holds it.

    Raises:
        ValueError: if another process holds it.
    """
    Path(path).touch()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(path))
        except BlockingIOError:
            raise ValueError(f"{taken} already: {path} is locked") from None
        yield


@contextlib.contextmanager
def held(path, wait=False):
    """Holds what is at a path, a file or a folder.

    Raises:
        BlockingIOError: if somebody holds it and `wait` is false.
    """
    if not fcntl:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
