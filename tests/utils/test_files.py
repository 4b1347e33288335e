"""Files are whole or not there, and end where their name leads."""

import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_cmsa.utils.files import (
    PARTIAL,
    check_file,
    check_folder,
    new_file,
    new_folder,
    remove_left,
    replaced,
    size_of_folder,
    write_png,
)
from keras_cmsa.utils.locks import held
from keras_cmsa.utils.messages import in_words


def write(path, text):
    with replaced(path) as file:
        file.write(text)


def test_an_exception_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "note.txt"
    write(path, "old")
    with pytest.raises(KeyError), replaced(path) as file:
        file.write("new")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]


def test_the_mode_of_a_file_is_kept(tmp_path):
    path = tmp_path / "note.txt"
    write(path, "old")
    os.chmod(path, 0o600)
    write(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == "new"


def test_a_new_file_has_the_mode_that_open_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "ours.txt", "x")
        with open(tmp_path / "plain.txt", "w") as file:
            file.write("x")
    finally:
        os.umask(before)
    ours, plain = ((tmp_path / name).stat().st_mode for name in ("ours.txt", "plain.txt"))
    assert stat.S_IMODE(ours) == stat.S_IMODE(plain) == 0o640


def test_a_link_is_followed_to_its_target(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "there" / "note.txt")
    write(link, "text")
    assert link.is_symlink() and (tmp_path / "there" / "note.txt").read_text() == "text"


def test_a_device_stays_a_device():
    write("/dev/null", "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="has no names for open files")
def test_what_stands_for_an_open_pipe_is_written_to():
    """As /dev/stdout does, which leads to no path."""
    out, into = os.pipe()
    write(f"/dev/fd/{into}", "through")
    os.close(into)
    with open(out) as file:
        assert file.read() == "through"


def test_masks_and_pictures_as_png(tmp_path):
    mask = np.eye(4, 6, dtype=bool)
    write_png(tmp_path / "mask.png", mask)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), mask * 255)
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype("uint8")
    write_png(tmp_path / "picture.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "picture.png")), picture)


def test_the_size_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "y").write_bytes(b"123")
    assert size_of_folder(tmp_path) == 8


def test_an_error_of_the_disk_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "none" / "note.txt"
    with pytest.raises(FileNotFoundError) as error:
        write(path, "text")
    assert str(error.value) == f"[Errno 2] No such file or directory: '{path}'"


def test_a_name_as_long_as_the_disk_takes(tmp_path):
    for name in ("x" * 255, "箱" * 85):
        write(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def test_places_to_write_are_checked_beforehand(tmp_path):
    (tmp_path / "file.png").write_text("x")
    check_file(None)
    check_file(tmp_path / "file.PNG", (".png",))
    check_file("/dev/null", (".png", ""))
    check_folder(tmp_path / "new" / "deep")
    check_folder("relative/and/new")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    for check, place, message in [
        (check_file, tmp_path, "the folder"),
        (check_file, tmp_path / "none" / "a.png", "in a folder that is there"),
        (check_file, tmp_path / "file.png" / "a.png", "in a folder that is there"),
        (check_folder, tmp_path / "file.png", "is a file"),
        (check_folder, tmp_path / "file.png" / "deep" / "new", r"file\.png is a file"),
        (check_folder, tmp_path / "lost" / "new", "lost is a file"),
    ]:
        with pytest.raises(ValueError, match=message):
            check(place)
    with pytest.raises(ValueError, match=r"ends in \.png\. Received: .*a\.jpg"):
        check_file(tmp_path / "a.jpg", (".png", ""))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.png", "lost"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_places_that_must_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    for check in (check_file, check_folder):
        with pytest.raises(ValueError, match="that can be written"):
            check(tmp_path / "new")


def test_a_new_folder_is_whole_or_not_there(tmp_path):
    path = tmp_path / "in" / "folder"
    with pytest.raises(KeyboardInterrupt), new_folder(path) as partial:
        (partial / "file").write_text("half")
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    with new_folder(path) as partial:
        (partial / "file").write_text("whole")
        assert not path.exists() and partial.name.startswith(".")
    assert [x.name for x in path.parent.iterdir()] == ["folder"]
    assert [x.name for x in path.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(path.parent.stat().st_mode)


def test_the_second_of_two_that_make_a_folder_fails(tmp_path):
    path = tmp_path / "folder"
    with pytest.raises(FileExistsError, match="is there already"), new_folder(path) as second:
        (second / "file").write_text("second")
        with new_folder(path) as first:
            (first / "file").write_text("first")
    assert [x.name for x in tmp_path.iterdir()] == ["folder"]
    assert (path / "file").read_text() == "first"


KILLED = """
import os, signal, sys
from keras_cmsa.utils.files import new_file, new_folder, replaced
with new_folder(sys.argv[1] + "/folder") as folder, replaced(sys.argv[1] + "/note.txt") as file:
    (folder / "inside").write_text("half")
    with new_file(sys.argv[1] + "/model.keras") as path:
        print(path.suffix, flush=True)
        sys.stdin.read() if len(sys.argv) > 2 else os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_left_is_removed_and_what_living_ones_hold_is_not(tmp_path):
    killed = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(killed, stdout=subprocess.PIPE, check=False).stdout == b".keras\n"
    left = set(tmp_path.iterdir())
    assert len(left) == 3 and all(path.name.startswith(PARTIAL) for path in left)
    living = subprocess.Popen([*killed, "waits"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert living.stdout.readline() == b".keras\n"  # its new_folder has removed what was left
    kept = set(tmp_path.iterdir())
    assert len(kept) == 3 and not kept & left
    (tmp_path / f"{PARTIAL}file").write_text("half")
    (tmp_path / ".note.txt").write_text("mine")
    remove_left(tmp_path)
    assert set(tmp_path.iterdir()) == {*kept, tmp_path / ".note.txt"}
    living.communicate()
    assert {path.name for path in tmp_path.iterdir()} == {
        ".note.txt", "folder", "note.txt", "model.keras",
    }  # fmt: skip


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("writer", [new_file, new_folder])
def test_a_cleaning_that_is_quicker_than_the_lock_takes_nothing(
    tmp_path, monkeypatch, writer, ended
):
    """It has removed what is new before the writer holds it, or is about to."""
    make = "mkstemp" if writer is new_file else "mkdtemp"
    original, made, holds = getattr(tempfile, make), [], threading.Event()

    def clean():
        with held(made[0]):
            holds.set()
            time.sleep(0.1)
            made[0].unlink() if writer is new_file else made[0].rmdir()

    def make_and_clean(*arguments):
        result = original(*arguments)
        made.append(Path(result[1] if writer is new_file else result))
        if len(made) == 1:
            cleaning.start()
            holds.wait()
            if ended:
                cleaning.join()
        return result

    cleaning = threading.Thread(target=clean)
    monkeypatch.setattr(tempfile, make, make_and_clean)
    with writer(tmp_path / "x") as partial:
        cleaning.join()
        (partial if writer is new_file else partial / "y").write_text("whole")
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no disk that is always full")
@pytest.mark.parametrize("make", [replaced, new_file, new_folder])
def test_a_full_disk_names_the_file(tmp_path, make):
    with pytest.raises(OSError) as error, make(tmp_path / "here"):
        with open("/dev/full", "w") as file:
            file.write("x")
    assert in_words(error.value) == f"{tmp_path / 'here'}: No space left on device"
    assert not list(tmp_path.iterdir())
