"""The public files of this field, and their download: resumed, checked, from the next mirror.

`public_files.toml` is the table of addresses.
"""

import gzip
import hashlib
import re
import tomllib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from keras_cmsa.utils.extras import require
from keras_cmsa.utils.locks import locked

TABLE = Path(__file__).with_name("public_files.toml")
CHUNK = 2**20
TIMEOUT = 60  # seconds without a byte
MAX_BYTES = 30_000_000_000  # of a file whose size nobody knows: twice the largest of the table
ARCHIVES = (".zip", ".gz")


@dataclass(frozen=True)
class PublicFile:
    """An entry of the table, which explains the fields."""

    name: str
    what: str
    file: str
    urls: tuple[str, ...]
    by_hand: str
    then: str
    bytes: int | None = None
    sha256: str | None = None


def read_table(path=TABLE):
    """`{name: PublicFile}` in the order of the table."""
    entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))["file"]
    return {e["name"]: PublicFile(**{**e, "urls": tuple(e["urls"])}) for e in entries}


def select(names, table):
    """The entries of some names.

    Raises:
        ValueError: if there is no such entry, or no program can fetch it.
    """
    for name in names:
        if name not in table:
            raise ValueError(f"wanted one of: {', '.join(table)}. Received: {name!r}")
        if not table[name].urls:
            raise ValueError(f"{name} cannot be fetched by a program. {table[name].by_hand}")
    return [table[name] for name in names]


def download(entry, folder, progress=None):
    """Fetches a file into a folder, from the first of its addresses that has it.

    What a cut connection or a kill has left is kept, as NAME.part, and the next address or the next
    call fetches the rest. That it is the rest of the same file is checked at the end, by a checksum,
    so a file that has none starts anew. A file that is there is not fetched again.

    Args:
        entry: `PublicFile`.
        folder: made if it is not there.
        progress: called with bytes so far and bytes in all, or `None` where nobody knows them.

    Returns:
        `Path` of the file.

    Raises:
        ModuleNotFoundError: if httpx is not installed.
        OSError: if no address has the file whole; says what each answered, and what to do by hand.
            Or if another file has its place, or the disk is full.
        ValueError: if another process downloads it.
    """
    httpx = require("httpx", "download", "A download")
    path = Path(folder) / entry.file
    if path.exists():
        try:
            check_whole(entry, path)
        except Damaged as error:
            raise OSError(
                f"{path} is there and is another file: {error}. Delete it first"
            ) from None
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    with locked(lock, f"another process downloads {path}"):
        try:
            return _fetch_any(httpx, entry, path, progress or (lambda done, total: None))
        finally:
            lock.unlink(missing_ok=True)


def _fetch_any(httpx, entry, path, progress):
    part, answers = path.with_name(f"{path.name}.part"), []
    for url in entry.urls:
        try:
            _fetch(httpx, entry, url, part, progress)
            check_whole(entry, part)
        except Incomplete as error:
            answers.append(f"{url}: {error}")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answers.append(f"{url}: {type(error).__name__}: {str(error)[:200]}")
        except Damaged as error:
            part.unlink(missing_ok=True)
            answers.append(f"{url}: {error}")
        else:
            return part.replace(path)
    tried = "\n  ".join(answers)
    raise OSError(
        f"{entry.name} could not be fetched:\n  {tried}\nAgain later: what is here already is kept. "
        f"Or by hand, into {path}: {entry.by_hand}"
    )


class Incomplete(Exception):
    """An address that does not have the file, or not all of it now."""


class Damaged(Exception):
    """A file that is another than wanted."""


def _fetch(httpx, entry, url, part, progress):
    """Appends what is missing to a part, or starts anew where that cannot be.

    Raises:
        Incomplete: if the server has no such file, or the connection ends before the file does.
        Damaged: if the server sends more than the file has.
    """
    if part.is_symlink() or not _has_checksum(entry):
        part.unlink(missing_ok=True)
    begun = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={begun}-"} if begun else {})}
    options = {"follow_redirects": True, "timeout": TIMEOUT, "headers": headers}
    with httpx.stream("GET", url, **options) as response:
        if response.status_code == 416:  # all of it is here, or it has shrunk
            part.unlink()
            raise Incomplete("what was here did not fit what is there: start again")
        done = begun if response.status_code == 206 else 0
        total = _checked_total(response, entry, done)
        most = entry.bytes or total or MAX_BYTES
        with open(part, "ab" if done else "wb") as file:
            for chunk in response.iter_raw(CHUNK):
                done += len(chunk)
                if done > most:
                    raise Damaged(f"more than {most:,} bytes")
                file.write(chunk)
                progress(done, total)
    if total is not None and done != total:
        raise Incomplete(f"the connection ended after {done:,} of {total:,} bytes")


def _has_checksum(entry):
    """Whether what was fetched tells that it is whole and of one file: archives have their own."""
    return entry.sha256 is not None or entry.file.endswith(ARCHIVES)


def _checked_total(response, entry, start):
    """The bytes of the whole file as an answer has it, or None; raises `Incomplete` for another."""
    headers, status = response.headers, response.status_code
    if status not in (200, 206):
        raise Incomplete(f"status {status} {response.reason_phrase}")
    if "text/html" in headers.get("content-type", ""):
        raise Incomplete("a web page, where the file should be")
    if (encoding := headers.get("content-encoding", "identity")) != "identity":
        raise Incomplete(f"the encoding {encoding[:20]!r}, where the bytes of the file should be")
    if status == 206:
        place = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("content-range", ""))
        if not (start and place and int(place[1]) == start):
            raise Incomplete("another part of the file than the rest that is missing here")
        total = int(place[2])
    else:
        total = int(headers["content-length"]) if "content-length" in headers else None
    if total is None and not _has_checksum(entry):
        raise Incomplete("a file without its length, which could be cut")
    if total is not None and entry.bytes not in (None, total):
        raise Damaged(f"wanted {entry.bytes:,} bytes. Received: {total:,}")
    return total


def check_whole(entry, path):
    """Raises `Damaged` if a file has another size or checksum than the table says, or is cut."""
    size = path.stat().st_size
    if entry.bytes is not None and size != entry.bytes:
        raise Damaged(f"wanted {entry.bytes:,} bytes. Received: {size:,}")
    if entry.sha256 is None:
        _check_archive(path, entry.file)
        return
    with open(path, "rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != entry.sha256:
        raise Damaged(f"wanted the SHA-256 {entry.sha256}. Received: {checksum}")


def _check_archive(path, name):
    """Reads an archive to its end: each part has a checksum."""
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                if bad := archive.testzip():
                    raise zipfile.BadZipFile(f"{bad!r} in it is damaged")
        elif name.endswith(".gz"):
            with gzip.open(path) as file:
                while file.read(CHUNK):
                    pass
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error, RuntimeError) as error:
        raise Damaged(f"wanted a whole archive. Received: {str(error)[:100]}") from None
