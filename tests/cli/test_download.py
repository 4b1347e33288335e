"""`keras-cmsa download`: what it prints, and bad input. tests/data/test_public_files.py has a server."""

import dataclasses
import io
import zipfile

import pytest
from command import refused, run
from file_server import FileServer

from keras_cmsa.data import public_files
from keras_cmsa.data.public_files import read_table

pytest.importorskip("httpx")


def test_a_file_is_fetched_and_its_place_named(capsys, tmp_path, monkeypatch):
    table = public_files.read_table()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("refs(unc).p", "content")
    with FileServer(zip=content.getvalue()) as server:
        known = dataclasses.replace(table["refcoco"], urls=(f"{server.url}/zip",))
        monkeypatch.setattr(public_files, "read_table", lambda: {"refcoco": known})
        assert run("download", "refcoco", "-o", tmp_path) == 0
    assert (tmp_path / "refcoco.zip").read_bytes() == content.getvalue()
    said = " ".join(capsys.readouterr().out.split())
    assert "refcoco.zip" in said and "ROOT/refcoco/refs(unc).p" in said


def test_the_list_has_every_address(capsys):
    assert run("download", "--list") == 0
    printed = capsys.readouterr().out
    for entry in read_table().values():
        assert all(x in printed for x in (entry.name, entry.file, *entry.urls, entry.by_hand))
    assert printed.count("a checksum is known") == 1


def test_bad_input_is_one_line(capsys):
    assert "wanted one or more of: refcoco, " in refused(capsys, "download")
    assert "Received: 'coco'" in refused(capsys, "download", "coco")
    assert "cannot be fetched by a program" in refused(capsys, "download", "cmsa")
