"""The public files of this field, and their download: resumed, checked, from the next mirror.

`public_files.toml` is the table of addresses.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from keras_cmsa.utils.extras import require

TABLE = Path(__file__).with_name("public_files.toml")
CHUNK = 2**20
TIMEOUT = 60  # seconds without a byte


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

    What a cut connection or a kill has left is kept, as NAME.part, and the next call fetches the
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
    answers = []
    for url in entry.urls:
        part = Part(path)
        try:
            part.fetch(httpx, url, progress or (lambda done, total: None))
            check_whole(entry, part.path)
        except Incomplete as error:
            answers.append(f"{url}: {error}")
            continue
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answers.append(f"{url}: {type(error).__name__}: {str(error)[:200]}")
            continue
        except Damaged as error:
            part.drop()
            answers.append(f"{url}: {error}")
            continue
        part.finish()
        return path
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
    """The bytes of a file so far, and what they are of.

    Beside `NAME.part` lies `NAME.part.json` with the address and what the server called this state
    of the file: an ETag or a date. Without one of these nothing is resumed, since the file may have
    changed in between.
    """

    def __init__(self, path):
        self.target = path
        self.path = path.with_name(f"{path.name}.part")
        self.notes = path.with_name(f"{path.name}.part.json")

    def fetch(self, httpx, url, progress):
        """Appends what is missing, or starts anew where that cannot be.

        Raises:
            Incomplete: if the server has no such file, or the connection ends before the file does.
        """
        headers, begun = {"Accept-Encoding": "identity"}, self.begun(url)
        if begun:
            # A server whose file is another by now sends all of it instead of the rest.
            headers |= {"Range": f"bytes={self.path.stat().st_size}-", "If-Range": begun}
        options = {"follow_redirects": True, "timeout": TIMEOUT, "headers": headers}
        with httpx.stream("GET", url, **options) as response:
            if response.status_code == 416:  # all of it is here, or it has shrunk
                self.drop()
                raise Incomplete("what was here did not fit what is there: start again")
            if response.status_code not in (200, 206):
                raise Incomplete(f"status {response.status_code} {response.reason_phrase}")
            if "text/html" in response.headers.get("content-type", ""):
                raise Incomplete("a web page, where the file should be")
            resumed = response.status_code == 206
            done = self.path.stat().st_size if resumed else 0
            length = response.headers.get("content-length")
            total = None if length is None else done + int(length)
            self.note(url, response.headers)
            with open(self.path, "ab" if resumed else "wb") as file:
                for chunk in response.iter_raw(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    progress(done, total)
        if total is not None and done != total:
            raise Incomplete(f"the connection ended after {done:,} of {total:,} bytes")

    def begun(self, url):
        """What the server called the state of the file that the bytes here are of; or `None`."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
            return notes["state"] if notes["url"] == url and self.path.stat().st_size else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, url, headers):
        etag = headers.get("etag", "")
        # A weak ETag is not of the bytes.
        state = etag if etag and not etag.startswith("W/") else headers.get("last-modified")
        self.notes.write_text(json.dumps({"url": url, "state": state}), encoding="utf-8")

    def drop(self):
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def finish(self):
        self.path.replace(self.target)
        self.notes.unlink(missing_ok=True)


def check_whole(entry, path):
    """Raises `Damaged` if a file has another size or checksum than the table says."""
    size = path.stat().st_size
    if entry.bytes is not None and size != entry.bytes:
        raise Damaged(f"wanted {entry.bytes:,} bytes. Received: {size:,}")
    if entry.sha256 is None:
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.sha256:
        raise Damaged(f"wanted the SHA-256 {entry.sha256}. Received: {found}")
