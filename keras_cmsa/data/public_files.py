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
    urls: list[str]
    by_hand: str
    then: str
    bytes: int | None = None
    sha256: str | None = None


def read_table():
    """`{name: PublicFile}` in the order of the table."""
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))["file"]
    return {entry["name"]: PublicFile(**entry) for entry in entries}


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

    What a cut connection or a kill has left is kept, as NAME.part-..., and the next call fetches the
    rest, where the server can tell that it is the same file. A file that is there is not fetched
    again.

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
            if not path.exists():  # another process may have ended just now
                _fetch(httpx, entry, path, progress or (lambda done, total: None))
        finally:
            lock.unlink(missing_ok=True)
    return path


def _fetch(httpx, entry, path, progress):
    # One for each address: a mirror that is cut early does not cost what another has brought.
    parts, answers = [Part(path, url) for url in entry.urls], []
    for part in sorted(parts, key=lambda part: -part.size()):
        try:
            part.fetch(httpx, entry, progress)
            check_whole(entry, part.path)
        except (Incomplete, httpx.HTTPError, httpx.InvalidURL) as error:
            answers.append(f"{part.url}: {type(error).__name__}: {str(error)[:200]}")
        except Damaged as error:
            part.drop()
            answers.append(f"{part.url}: {error}")
        else:
            part.path.replace(path)
            for part in parts:
                part.drop()
            return
    tried = "\n  ".join(answers)
    raise OSError(
        f"{entry.name} could not be fetched:\n  {tried}\nAgain later: what is here already is kept. "
        f"Or by hand, into {path}: {entry.by_hand}"
    )


class Incomplete(Exception):
    """An address that does not have the file, or not all of it now."""


class Damaged(Exception):
    """A file that is another than wanted."""


class Part:
    """The bytes of a file that have come from one address so far.

    Beside the part lies `PART.state`: what the server called this state of the file, an ETag or a
    date. Without one of these nothing is resumed, since the file may have changed in between. A link
    in its place is removed and not followed.
    """

    def __init__(self, path, url):
        self.url = url
        name = f"{path.name}.part-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
        self.path, self.notes = path.with_name(name), path.with_name(f"{name}.state")
        for file in (self.path, self.notes):
            if file.is_symlink():
                file.unlink()

    def fetch(self, httpx, entry, progress):
        """Appends what is missing, or starts anew where that cannot be.

        Raises:
            Incomplete: if the server has no such file, or the connection ends before the file does.
            Damaged: if the server sends more than the file has.
        """
        headers, done, state = {"Accept-Encoding": "identity"}, self.size(), None
        if done:
            state = self.notes.read_text("utf-8")
            # A server whose file is another by now sends all of it instead of the rest.
            headers |= {"Range": f"bytes={done}-", "If-Range": state}
        options = {"follow_redirects": True, "timeout": TIMEOUT, "headers": headers}
        with httpx.stream("GET", self.url, **options) as response:
            if response.status_code == 416:  # all of it is here, or it has shrunk
                if response.headers.get("content-range") == f"bytes */{done}":
                    return
                self.drop()
                raise Incomplete("what was here did not fit what is there: start again")
            total = _checked_total(response, entry, done, state)
            if response.status_code == 200:
                self.drop()
                done = 0
                self.notes.write_text(state_of(response.headers), encoding="utf-8")
            with open(self.path, "ab") as file:
                for chunk in response.iter_raw(CHUNK):
                    done += len(chunk)
                    if done > (total or MAX_BYTES):
                        raise Damaged(f"more than {total or MAX_BYTES:,} bytes")
                    file.write(chunk)
                    progress(done, total)
        if total is not None and done != total:
            raise Incomplete(f"the connection ended after {done:,} of {total:,} bytes")

    def size(self):
        """Bytes so far that can be resumed."""
        is_known = self.path.exists() and self.notes.exists() and self.notes.stat().st_size
        return self.path.stat().st_size if is_known else 0

    def drop(self):
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def state_of(headers):
    """What a server calls the state of a file: its ETag, or its date, or an empty text."""
    etag = headers.get("etag", "")
    # A weak ETag is not of the bytes.
    return etag if etag and not etag.startswith("W/") else headers.get("last-modified", "")


def _checked_total(response, entry, start, state):
    """The bytes of the whole file as an answer has it, or None; raises `Incomplete` for another."""
    headers, status = response.headers, response.status_code
    if status not in (200, 206):
        raise Incomplete(f"status {status} {response.reason_phrase}")
    if "text/html" in headers.get("content-type", ""):
        raise Incomplete("a web page, where the file should be")
    if headers.get("content-encoding", "identity") != "identity":
        raise Incomplete("compressed bytes, where those of the file should be")
    total = int(headers["content-length"]) if "content-length" in headers else None
    if status == 206:
        rest = re.fullmatch(rf"bytes {start}-\d+/(\d+)", headers.get("content-range", ""))
        if not (start and rest and state_of(headers) in ("", state)):
            raise Incomplete("another part of the file than the rest that is missing here")
        total = int(rest[1])
    tells_its_end = total is not None or "chunked" in headers.get("transfer-encoding", "")
    if not tells_its_end and entry.sha256 is None and not entry.file.endswith(ARCHIVES):
        raise Incomplete("a file without its length, which could be cut")
    if total is not None and entry.bytes not in (None, total):
        raise Damaged(f"wanted {entry.bytes:,} bytes. Received: {total:,}")
    return total if entry.bytes is None else entry.bytes


def check_whole(entry, path):
    """Raises `Damaged` if a file has another size or checksum than the table says, or is cut."""
    size = path.stat().st_size
    if entry.bytes is not None and size != entry.bytes:
        raise Damaged(f"wanted {entry.bytes:,} bytes. Received: {size:,}")
    if entry.sha256 is not None:
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        if checksum != entry.sha256:
            raise Damaged(f"wanted the SHA-256 {entry.sha256}. Received: {checksum}")
        return
    try:  # each part of an archive has a checksum
        if entry.file.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
            if bad:
                raise zipfile.BadZipFile(f"{bad!r} in it is damaged")
        elif entry.file.endswith(".gz"):
            with gzip.open(path) as file:
                while file.read(CHUNK):
                    pass
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error, RuntimeError) as error:
        raise Damaged(f"wanted a whole archive. Received: {str(error)[:100]}") from None
