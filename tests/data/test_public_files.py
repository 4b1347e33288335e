"""Downloads from a server on this machine; the real addresses cannot be reached here."""

import hashlib

import pytest
from file_server import FileServer

from keras_cmsa.data.public_files import PublicFile, download, read_table, select

pytest.importorskip("httpx")

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks


@pytest.fixture
def server():
    with FileServer(file=CONTENT) as running:
        yield running


def entry(*urls, **known):
    known = {"sha256": hashlib.sha256(CONTENT).hexdigest(), **known}
    return PublicFile("it", "a file", "it.bin", urls, "Ask a friend.", "Use it.", **known)


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
    server.cut["/file"] = 3_000_000
    with pytest.raises(OSError, match=r"(?s)could not be fetched.*what is here already is kept"):
        download(entry(f"{server.url}/file"), tmp_path)
    kept = (tmp_path / "it.bin.part").read_bytes()
    assert CONTENT.startswith(kept) and len(kept) > 1_000_000
    assert download(entry(f"{server.url}/file"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/file", None), ("/file", f"bytes={len(kept)}-")]


@pytest.mark.parametrize("change", ["refuses ranges", "is another file", "has no state"])
def test_what_cannot_be_resumed_starts_anew(server, tmp_path, change):
    server.cut["/file"] = 3_000_000
    if change == "has no state":
        server.etags.clear()
    with pytest.raises(OSError, match="could not be fetched"):
        download(entry(f"{server.url}/file"), tmp_path)
    if change == "refuses ranges":
        server.ranges = False
    if change == "is another file":
        server.files["/file"], server.etags["/file"] = CONTENT[::-1], '"other"'
    wanted = server.files["/file"]
    known = entry(f"{server.url}/file", sha256=hashlib.sha256(wanted).hexdigest())
    assert download(known, tmp_path).read_bytes() == wanted


def test_a_kill_after_the_last_byte(server, tmp_path):
    """All bytes are there, but not yet under their name: the server has no rest to send."""
    server.cut["/file"] = 3_000_000
    with pytest.raises(OSError, match="could not be fetched"):
        download(entry(f"{server.url}/file"), tmp_path)
    (tmp_path / "it.bin.part").write_bytes(CONTENT)
    with pytest.raises(OSError, match="start again"):
        download(entry(f"{server.url}/file"), tmp_path)
    assert download(entry(f"{server.url}/file"), tmp_path).read_bytes() == CONTENT


def test_the_next_mirror_is_tried(server, tmp_path):
    addresses = ["http://127.0.0.1:9/file", f"{server.url}/gone", f"{server.url}/page"]
    path = download(entry(*addresses, f"{server.url}/file"), tmp_path)
    assert path.read_bytes() == CONTENT
    with pytest.raises(OSError) as refused:
        download(entry(*addresses), tmp_path / "other")
    for said in ("9/file: ConnectError", "gone: status 404", "page: a web page", "Ask a friend."):
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


def test_the_table_of_the_package():
    table = read_table()
    assert {
        "refcoco",
        "refcoco+",
        "refcocog",
        "refclef",
        "coco-train2014",
        "cmsa",
        "deeplab",
    } < set(table)
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
