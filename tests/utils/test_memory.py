"""Memory that is freed and taken again, in a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

PAGES = """
import resource
from keras_cmsa.utils.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def take_and_free():
    for _ in range(4):
        bytearray(2**26)  # 64 MB, 16,384 pages

if {keep}:
    keep_freed_memory()
take_and_free()
before = faults()
take_and_free()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_what_is_freed_needs_no_new_pages():
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_"))
    }
    commands = [[sys.executable, "-c", PAGES.format(keep=keep)] for keep in (False, True)]
    given_back, kept = (int(subprocess.check_output(command, env=env)) for command in commands)
    assert kept < 100 < given_back
