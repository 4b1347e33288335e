"""Files that are whole or not there."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path


@contextlib.contextmanager
def replaced(path, mode="w"):
    """Opens a file beside `path` and renames it to `path` once it is written to the disk.

    A process that is killed in between leaves what was at `path` before. So does an exception,
    which also removes the file beside it. A link is followed to its target, the mode of a file that
    is there is kept, and what is no file, such as a device or a pipe, is written to.

    Args:
        path: of the file.
        mode: `"w"` for text in UTF-8, `"wb"` for bytes.
    """
    path = Path(os.path.realpath(path))
    options = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    if path.exists() and not path.is_file():
        with open(path, mode, **options) as file:
            yield file
        return
    # The standard library's name is new and opened exclusively: no planted link is followed.
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, mode, **options) as file:
            os.chmod(partial, mode_of(path))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def mode_of(path):
    """The mode of a file that is there; of one that is not, what `open` would give it."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def write_png(path, picture):
    """Writes `(H, W, 3)` uint8 or a mask `(H, W)` bool as PNG, whole or not at all."""
    from PIL import Image

    if picture.dtype == bool:
        picture = picture.astype("uint8") * 255
    with replaced(path, "wb") as file:
        Image.fromarray(picture).save(file, "PNG")


def size_of_folder(path):
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
