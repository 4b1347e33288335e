"""Files and folders that are whole or not there."""

import contextlib
import io
import os
import shutil
import stat
import tempfile
from pathlib import Path

from keras_cmsa.utils.locks import fcntl, held, made_and_held

# Begins the names of what is being written; a kill leaves it. Nobody else's files begin so.
PARTIAL = ".partial-keras_cmsa-"


@contextlib.contextmanager
def replaced(path, mode="w"):
    """Opens a file beside `path` and renames it to `path` once it is written to the disk.

    A process that is killed in between leaves what was at `path` before. So does an exception,
    which also removes the file beside it. A link is followed to its target, the mode of a file that
    is there is kept, and what is no file, such as a device or a pipe, is written to.

    Args:
        path: of the file.
        mode: `"w"` for text in UTF-8, `"wb"` for bytes.

    Raises:
        OSError: if the file cannot be written; names `path`.
    """
    options = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, mode, **options) as file:
            yield file
        return
    with new_file(os.path.realpath(path)) as partial, open(partial, mode, **options) as file:
        yield file


@contextlib.contextmanager
def new_file(path):
    """`replaced` for a writer that opens its file by name: gives the `Path` of the file beside it.

    It has the ending of `path`.
    """
    path = Path(path)
    with _named(path), _partial(_new_file, path.suffix[:20], path.stem, path.parent) as partial:
        try:
            there = path.exists()  # else the mode that `open` would give it
            partial.chmod(stat.S_IMODE(path.stat().st_mode) if there else 0o666 & ~_umask())
            yield partial
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def new_folder(path):
    """Makes a folder beside `path` and renames it to `path` once it is filled.

    An exception removes it; what a killed process leaves, the next call does. Its name is new and
    begins with a dot, so that two processes are not in each other's way: the second to end fails.

    Args:
        path: of the folder, which must not be there; what it lies in is made if it is not there.

    Raises:
        FileExistsError: if something is there when the folder is filled.
        OSError: if the folder cannot be written; names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left(path.parent)
    with _named(path), _partial(tempfile.mkdtemp, "", path.name, path.parent) as partial:
        try:
            partial.chmod(0o777 & ~_umask())
            yield partial
            check_new(path)
            os.rename(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _partial(make, suffix, name, folder):
    """Holds what `make` makes for a name; `remove_left` may be quicker, and it is made again."""
    # The standard library's name is new and made exclusively: no planted link is followed. A whole
    # name in it could be more than the disk takes.
    prefix = f"{PARTIAL}{name[:20]}-"
    return made_and_held(lambda: Path(make(suffix, prefix, folder)), wait=True)


def _new_file(*name):
    descriptor, path = tempfile.mkstemp(*name)
    os.close(descriptor)
    return path


def remove_left(folder):
    """Removes what killed processes have left half written in a folder, and no living one holds."""
    for path in Path(folder).glob(f"{PARTIAL}*") if fcntl else ():
        with contextlib.suppress(OSError), held(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _named(path):
    """An error of the disk names the file that was asked for, not none or what is beside it."""
    try:
        yield
    except OSError as error:
        if error.errno and PARTIAL in str(error.filename or PARTIAL):
            error.filename = str(path)
        raise


def check_file(path, suffixes=None, source=None):
    """Checks, before any work for it, that a file can be written at a path.

    Args:
        path: of the file; `None` is none to write.
        suffixes: endings that its name may have, in small letters; `None` allows any.
        source: file that the work reads, which must stay as it is; `None` is none.

    Raises:
        ValueError: if it is a folder or would lie in none, its ending is another, or it is `source`.
    """
    if path is None:
        return
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"wanted a file to write. Received: the folder {path}")
    if suffixes is not None and path.suffix.lower() not in suffixes:
        raise ValueError(
            f"wanted a file to write whose name ends in {' or '.join(filter(None, suffixes))}. "
            f"Received: {path}"
        )
    if not path.parent.is_dir():
        raise ValueError(f"wanted a file to write in a folder that is there. Received: {path}")
    if source is not None and path.resolve() == Path(source).resolve():
        raise ValueError(
            f"wanted a file to write other than what is read. Received: {path} as both"
        )
    _check_may_write(path if path.exists() else path.parent, path)


def check_folder(path):
    """Checks, before any work for it, that a folder is there or can be made at a path.

    Args:
        path: of the folder.

    Raises:
        ValueError: if it, or what it would lie in, is a file or must not be written.
    """
    absolute = Path(path).absolute()
    nearest = next(folder for folder in (absolute, *absolute.parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        raise ValueError(f"wanted a folder to write. Received: {path}, but {nearest} is a file")
    _check_may_write(nearest, path)


def check_new(path):
    """Raises a `FileExistsError` if there is something under the name of a new file or folder."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path} is there already: choose another name or remove it")


def _check_may_write(folder, path):
    if not os.access(folder, os.W_OK):
        raise ValueError(
            f"wanted a place that can be written. Received: {path}, but {folder} cannot"
        )


def _umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def as_text(content, path, what_to_do):
    """The text of a file, which must be UTF-8.

    Args:
        content: its bytes.
        path: of the file.
        what_to_do: the end of the error.

    Raises:
        ValueError: if it is in another encoding; names the line and shows it.
    """
    try:
        text = content.decode("utf-8-sig")
        start, encoding = text.find("\0"), "UTF-16"  # half of UTF-16 is NUL, which is UTF-8 too
    except UnicodeDecodeError as error:
        start, encoding = error.start, "latin-1"
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "UTF-16"
    if start < 0:
        return text
    line = content[:start].count(b"\n")
    lines = content.decode(encoding, errors="replace").splitlines() or [""]
    raise ValueError(
        f"{path}, line {line + 1}: wanted text in UTF-8. Received another encoding: "
        f"{shown(lines[min(line, len(lines) - 1)])}. {what_to_do}"
    )


def shown(text):
    """A text, or its beginning, as an error shows it."""
    return repr(text if len(text) <= 100 else f"{text[:97]}...")


def as_png(picture):
    """`(H, W, 3)` uint8 or a mask `(H, W)` bool as the bytes of a PNG."""
    from PIL import Image

    if picture.dtype == bool:
        picture = picture.astype("uint8") * 255
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def write_png(path, picture):
    """Writes what `as_png` takes, whole or not at all."""
    with replaced(path, "wb") as file:
        file.write(as_png(picture))


def size_of_folder(path):
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
