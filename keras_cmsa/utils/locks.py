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
        try:
            stack.enter_context(made_and_held(lambda: Path(path).touch() or path))
        except BlockingIOError:
            raise ValueError(f"{taken} already: {path} is locked") from None
        yield


@contextlib.contextmanager
def made_and_held(make, wait=False):
    """Holds a file or folder that others may remove before it is held: then it is made again.

    Args:
        make: function that makes it and returns its path.
        wait: as in `held`.

    Raises:
        BlockingIOError: as `held` does.
    """
    with contextlib.ExitStack() as stack:
        while True:
            path = make()
            with contextlib.suppress(FileNotFoundError):
                descriptor = stack.enter_context(held(path, wait))
                # Another may have removed it since, and a third may have made one of that name.
                if descriptor is None or os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    break
            stack.close()
        yield path


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
