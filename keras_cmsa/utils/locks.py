"""A folder for one process at a time."""

import contextlib

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
    with open(path, "w") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{taken} already: {path} is locked") from None
        yield
