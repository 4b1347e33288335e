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

    Whoever holds the file may remove it.

    Args:
        path: of the file; its folder is there.
        taken: what to say if another process holds it.

    Raises:
        ValueError: if another process holds it.
    """
    with contextlib.ExitStack() as stack:
        while True:
            Path(path).touch()
            try:
                descriptor = stack.enter_context(held(path))
                # A holder may have removed the file since, and a third may hold a new one.
                if descriptor is None or os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    break
            except BlockingIOError:
                raise ValueError(f"{taken} already: {path} is locked") from None
            except FileNotFoundError:
                pass
            stack.close()
        yield


@contextlib.contextmanager
def held(path, wait=False):
    """Holds what is at a path, a file or a folder; gives its descriptor, `None` on Windows.

    Raises:
        BlockingIOError: if somebody holds it and `wait` is false.
    """
    if not fcntl:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)
