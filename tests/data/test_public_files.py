"""Downloads from a server on this machine; the real addresses cannot be reached here."""

import contextlib
import gzip
import hashlib
import io
import zipfile

import pytest
from file_server import FileServer

from keras_cmsa.data import public_files
from keras_cmsa.data.public_files import Part, PublicFile, download, read_table, select
from keras_cmsa.utils.locks import locked

pytest.importorskip("httpx")

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks


@pytest.fixture
def server():
    with FileServer(file=CONTENT) as running:
        yield running


def entry(*urls, file="it.bin", **known):
    known = {"sha256": hashlib.sha256(CONTENT).hexdigest(), **known}
    return PublicFile("it", "a file", file, urls, "Ask a friend.", "Use it.", **known)


def interrupted(server, folder, url):
    """Three megabytes of a download, which then ends."""
    server.cut["/file"] = 3_000_000
    with pytest.raises(OSError, match=r"(?s)could not be fetched.*what is here already is kept"):
        download(entry(url), folder)
    return Part(folder / "it.bin", url).path.read_bytes()


def test_a_file_is_fetched_once(server, tmp_path):
    steps = []
    path = download(
        entry(f"{server.url}/file"), tmp_path / "new", lambda *numbers: steps.append(numbers)
    )
    assert path == tmp_path / "new/it.bin" and path.read_bytes() == CONTENT
    assert [x.name for x in path.parent.iterdir()] == ["it.bin"]
    assert steps[-1] == (len(CONTENT), len(CONTENT)) and len(steps) > 2
    download(entry(f"{server.url}/file"), tmp_path / "new")
    assert server.asked == [("/file", None)]


def test_a_cut_connection_is_resumed(server, tmp_path):
    kept = interrupted(server, tmp_path, f"{server.url}/file")
    assert CONTENT.startswith(kept) and len(kept) > 1_000_000
    assert download(entry(f"{server.url}/file"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/file", None), ("/file", f"bytes={len(kept)}-")]


@pytest.mark.parametrize("change", ["refuses ranges", "is another file", "has no state"])
def test_what_cannot_be_resumed_starts_anew(server, tmp_path, change):
    if change == "has no state":
        server.etags.clear()
    interrupted(server, tmp_path, f"{server.url}/file")
    if change == "refuses ranges":
        server.ranges = False
    if change == "is another file":
        server.files["/file"], server.etags["/file"] = CONTENT[::-1], '"other"'
    wanted = server.files["/file"]
    known = entry(f"{server.url}/file", sha256=hashlib.sha256(wanted).hexdigest())
    assert download(known, tmp_path).read_bytes() == wanted


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Content-Encoding": "gzip"}, 200, "compressed bytes"),
        ({"Content-Range": "bytes {}-5119999/5120000", "ETag": '"other"'}, 206, "another part of"),
    ],
)
def test_bytes_that_are_not_those_of_the_file(server, tmp_path, headers, status, said):
    """No checksum is known of some files."""
    kept = interrupted(server, tmp_path, f"{server.url}/file")
    server.headers["/file"] = {name: text.format(len(kept)) for name, text in headers.items()}
    server.status["/file"] = status
    with pytest.raises(OSError, match=said):
        download(entry(f"{server.url}/file", sha256=None), tmp_path)
    assert not (tmp_path / "it.bin").exists()


def test_a_kill_after_the_last_byte(server, tmp_path):
    """All bytes are there, but not yet under their name: the server has no rest to send."""
    interrupted(server, tmp_path, f"{server.url}/file")
    Part(tmp_path / "it.bin", f"{server.url}/file").path.write_bytes(CONTENT)
    assert download(entry(f"{server.url}/file"), tmp_path).read_bytes() == CONTENT
    assert server.asked[1:] == [("/file", f"bytes={len(CONTENT)}-")]


def test_more_bytes_than_the_file_has_start_anew(server, tmp_path):
    interrupted(server, tmp_path, f"{server.url}/file")
    Part(tmp_path / "it.bin", f"{server.url}/file").path.write_bytes(CONTENT + b"x")
    with pytest.raises(OSError, match="start again"):
        download(entry(f"{server.url}/file"), tmp_path)
    assert download(entry(f"{server.url}/file"), tmp_path).read_bytes() == CONTENT


def test_the_next_mirror_is_tried(server, tmp_path):
    addresses = ["http://127.0.0.1:9/file", f"{server.url}/gone", f"{server.url}/page"]
    path = download(entry(*addresses, f"{server.url}/file"), tmp_path)
    assert path.read_bytes() == CONTENT
    with pytest.raises(OSError) as refused:
        download(entry(*addresses), tmp_path / "other")
    of_each = "9/file: ConnectError", "gone: Incomplete: status 404", "page: Incomplete: a web page"
    for said in (*of_each, "Ask a friend."):
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("known", "said"),
    [({"sha256": "0" * 64}, "wanted the SHA-256 000"), ({"bytes": 7}, "wanted 7 bytes")],
)
def test_another_file_is_refused_and_not_kept(server, tmp_path, known, said):
    with pytest.raises(OSError, match=said):
        download(entry(f"{server.url}/file", **known), tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "it.bin").write_bytes(b"mine")
    with pytest.raises(OSError, match=f"is there and is another file: {said}.* Delete it first"):
        download(entry(f"{server.url}/file", **known), tmp_path)
    assert (tmp_path / "it.bin").read_bytes() == b"mine"


@pytest.mark.parametrize("place", ["bytes 7-5119999/5120000", None])
def test_another_rest_is_refused_and_what_is_here_kept(server, tmp_path, place):
    url = f"{server.url}/file"
    server.headers["/file"], server.status["/file"] = {"Content-Range": place}, 206
    with pytest.raises(OSError, match="another part of the file"):
        download(entry(url), tmp_path)  # nobody has asked for a part
    assert not list(tmp_path.iterdir())
    server.status.clear()
    kept = interrupted(server, tmp_path, url)
    server.status["/file"] = 206
    with pytest.raises(OSError, match="another part of the file"):
        download(entry(url), tmp_path)
    assert Part(tmp_path / "it.bin", url).path.read_bytes() == kept
    server.headers.clear()
    server.status.clear()
    assert download(entry(url), tmp_path).read_bytes() == CONTENT


def test_a_second_mirror_that_is_cut_costs_nothing(server, tmp_path):
    """The longer part is kept, and its address is asked first."""
    server.files["/mirror"], server.etags["/mirror"] = CONTENT, '"mirror"'
    first, second = f"{server.url}/file", f"{server.url}/mirror"
    kept = interrupted(server, tmp_path, first)
    server.cut |= {"/file": 0, "/mirror": 1_000_000}
    with pytest.raises(OSError, match="could not be fetched"):
        download(entry(second, first), tmp_path)
    assert Part(tmp_path / "it.bin", f"{server.url}/file").path.read_bytes() == kept
    server.asked.clear()
    assert download(entry(second, first), tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["it.bin"]
    assert len(server.asked) == 1 and server.asked[0][1]


def archive(name):
    """The bytes of a zip or a tar.gz."""
    if name.endswith(".gz"):
        return gzip.compress(CONTENT[:3000])
    with zipfile.ZipFile(file := io.BytesIO(), "w") as opened:
        opened.writestr("a", CONTENT[:3000])
    return file.getvalue()


@pytest.mark.parametrize("name", ["it.zip", "it.tar.gz"])
def test_an_archive_is_whole(server, tmp_path, name):
    """Without a checksum, and without a length that would tell of a cut."""
    known = entry(f"{server.url}/file", sha256=None, file=name)
    server.headers["/file"] = {"Content-Length": None}
    whole = archive(name)
    damaged = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    for content in (whole[:-30], damaged, b"<html>sign in</html>"):
        server.files["/file"] = content
        with pytest.raises(OSError, match="wanted a whole archive"):
            download(known, tmp_path)
        assert not list(tmp_path.iterdir())
    server.files["/file"] = whole
    assert download(known, tmp_path).read_bytes() == whole


def test_a_file_that_could_be_cut_or_endless_is_refused(server, tmp_path, monkeypatch):
    server.headers["/file"] = {"Content-Length": None}
    url = f"{server.url}/file"
    with pytest.raises(OSError, match="a file without its length, which could be cut"):
        download(entry(url, sha256=None), tmp_path)
    monkeypatch.setattr(public_files, "MAX_BYTES", 1_000_000)
    with pytest.raises(OSError, match="more than 1,000,000 bytes"):
        download(entry(url), tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_download_of_a_file_at_a_time(server, tmp_path):
    with locked(tmp_path / "it.bin.lock", "busy"):
        with pytest.raises(ValueError, match=r"another process downloads .*it\.bin already"):
            download(entry(f"{server.url}/file"), tmp_path)
    assert not server.asked


def test_what_another_process_has_fetched_meanwhile(server, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def locked_late(path, taken):
        (tmp_path / "it.bin").write_bytes(CONTENT)
        yield

    monkeypatch.setattr(public_files, "locked", locked_late)
    assert download(entry(f"{server.url}/file"), tmp_path) == tmp_path / "it.bin"
    assert not server.asked


def test_the_table_of_the_package():
    table = read_table()
    names = {"refcoco", "refcoco+", "refcocog", "refclef", "coco-train2014", "cmsa", "deeplab"}
    assert names < set(table)
    assert len({x.file for x in table.values()}) == len(table)
    for x in table.values():
        assert all(url.startswith(("https://", "http://")) for url in x.urls)
        assert x.by_hand and x.then and "/" not in x.file
    with pytest.raises(ValueError, match="wanted one of: refcoco, .* Received: 'coco'"):
        select(["coco"], table)
    with pytest.raises(
        ValueError, match=r"cmsa cannot be fetched by a program\. Open https://drive"
    ):
        select(["refcoco", "cmsa"], table)
