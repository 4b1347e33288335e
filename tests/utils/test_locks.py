"""A lock is for one process, and ends with it."""

import subprocess
import sys

import pytest

from keras_cmsa.utils import locks
from keras_cmsa.utils.locks import locked

HOLDS = """
import sys
from keras_cmsa.utils.locks import locked
with locked(sys.argv[1], "another run is here"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_refused_until_the_first_is_killed(tmp_path):
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ValueError, match=r"another run is here already: .*\.lock is locked"):
        with locked(path, "another run is here"):
            pass
    holder.kill()
    holder.communicate()
    with locked(path, "another run is here"):
        pass


@pytest.mark.parametrize("moment", ["open", "flock"])
def test_a_file_that_its_holder_removes_is_no_lock(tmp_path, monkeypatch, moment):
    """It is removed just before another process opens it, or just before that locks it."""
    path, module = tmp_path / ".lock", locks.os if moment == "open" else locks.fcntl
    go_on = getattr(module, moment)
    path.touch()

    def after_removal(*arguments):
        monkeypatch.undo()
        path.unlink()
        return go_on(*arguments)

    monkeypatch.setattr(module, moment, after_removal)
    with locked(path, "one"):
        with pytest.raises(ValueError, match="another already"):
            with locked(path, "another"):
                pass
