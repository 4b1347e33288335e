"""The servers of docs/servers.md, as they are printed, answer as the predictor does."""

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from image_files import encoded

httpx = pytest.importorskip("httpx")

PAGE = Path(__file__).parents[2] / "docs/servers.md"
PYTHON = [sys.executable, "server.py"]
# In the order of the page.
COMMANDS = {
    "litserve": PYTHON,
    "ray": PYTHON,
    "bentoml": [sys.executable, "-m", "bentoml", *"serve server:Cmsa --host 127.0.0.1".split()],
}


@contextlib.contextmanager
def running(command, folder):
    """A server in a process group of its own, which ends with it, and what it says."""
    with open(folder / "log.txt", "w+") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "BENTOML_DO_NOT_TRACK": "True"},
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def answer_of(url, asked, process, log):
    """The first answer of a server that is starting."""
    for _ in range(240):
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.post(url, json=asked, timeout=60)
            if answer.status_code not in (404, 503):  # which say that it is not ready
                return answer
        assert process.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("library", COMMANDS)
def test_a_server_answers_as_the_predictor(library, preset, predictor, photo, tmp_path):
    pytest.importorskip(library)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    code = dict(zip(COMMANDS, blocks, strict=True))[library]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    code = code.replace("runs/demo", str(preset)).replace("8000", port)
    (tmp_path / "server.py").write_text(code, "utf-8")
    command = COMMANDS[library] + (["--port", port] if library == "bentoml" else [])
    asked = {"image": base64.b64encode(encoded(photo)).decode(), "expression": "red box"}
    with running(command, tmp_path) as process:
        url, log = f"http://127.0.0.1:{port}/predict", tmp_path / "log.txt"
        answer = answer_of(url, asked, process, log)
        assert answer.status_code == 200, answer.text + log.read_text()
        bad = httpx.post(
            url, json={**asked, "image": base64.b64encode(b"none").decode()}, timeout=60
        )
    wanted = predictor(photo, "red box")
    assert wanted.mask.any() and answer.json() == {
        "mask": wanted.run_lengths,
        "score": pytest.approx(wanted.score, abs=1e-5),
        "box": list(wanted.box),
    }
    assert bad.status_code == 500
