"""A lock is for one process, and ends with it."""

import subprocess
import sys

import pytest

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
