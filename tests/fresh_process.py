"""A script in a process of its own, for what an import or a backend does there."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_python(script, *arguments, backend=None, cwd=ROOT, **environment):
    """What a script prints.

    Args:
        script: Python code.
        *arguments: of the script.
        backend: of Keras there; `None`: as nobody has chosen one.
        cwd: folder in which it runs.
        **environment: further variables.
    """
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | environment
    if backend:
        environment["KERAS_BACKEND"] = backend
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    return done.stdout
