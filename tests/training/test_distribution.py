"""Several processes on the loopback device train as one does; none of them outlives another."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from trainee import TRAINING, history

from keras_cmsa.cli.main import app
from keras_cmsa.training import run
from keras_cmsa.training.devices import Devices
from keras_cmsa.training.distribution import (
    check_divides,
    check_free,
    join_processes,
    process_part,
    wait_for,
)

STEPS, KILLED = 20, 7
COUNTS = [3, 1, 2, 4, 1, 2, 3, 2, 1]  # sentences of each image
SCRIPT = """
import os, signal, sys, tiny, trainee
from keras_cmsa.training import callbacks
from keras_cmsa.training.devices import Devices
from keras_cmsa.training.distribution import join_processes

folder, killed_at, coordinator, number, index, local = sys.argv[1:]
before = callbacks.StopOnNaN.on_train_batch_end
def kill(self, batch, logs=None):
    before(self, batch, logs)
    if self.step == int(killed_at):
        os.kill(os.getpid(), signal.SIGKILL)

callbacks.StopOnNaN.on_train_batch_end = kill
scenes = tiny.several_of_each(tiny.records(f"{folder}/scenes", 9), COUNTS)
pace = dict(batch_size=4, steps=STEPS, steps_per_round=1, sentences_per_image=2, word_dropout=0.2)
several = Devices(None, coordinator, int(number), int(index)) if coordinator else Devices(int(local))
with join_processes(several, pace["batch_size"]):
    model = trainee.compiled_model(existence=True, **pace)
    trainee.train(model, scenes, f"{folder}/run", resume=True, **pace)
""".replace("STEPS", str(STEPS)).replace("COUNTS", str(COUNTS))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder, killed_at=0, coordinator="", number=1, index=0, local=1):
    """Starts a process of a training; those of one training share a folder."""
    (folder / "scenes").mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            SCRIPT,
            str(folder),
            *map(str, (killed_at, coordinator, number, index, local)),
        ],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": str(Path(tiny.__file__).parent),
            "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={local} "
            + os.environ.get("XLA_FLAGS", ""),
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def run_alone(folder, local=1):
    process = start(folder, local=local)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    return history(folder / "run")


def start_two(folder, killed=None):
    """Both processes of a training; one of them may be killed at a step."""
    coordinator = f"127.0.0.1:{free_port()}"
    return [
        start(folder, KILLED if index == killed else 0, coordinator, 2, index) for index in range(2)
    ]


def run_two(folder):
    for process in start_two(folder):
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors
    return history(folder / "run")


def assert_same_losses(ours, theirs):
    assert len(ours) == len(theirs) == STEPS
    for name in ("loss", "logits_overall_iou", "val_logits_overall_iou", "val_exists_loss"):
        np.testing.assert_allclose(
            [row[name] for row in ours], [row[name] for row in theirs], rtol=0, atol=1e-4
        )
    assert len({round(row["loss"], 3) for row in ours}) > STEPS / 2  # it does learn


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The measures of each step in one process on one device."""
    return run_alone(tmp_path_factory.mktemp("alone"))


@pytest.mark.slow
def test_two_devices_of_one_process_train_as_one_does(alone, tmp_path):
    assert_same_losses(run_alone(tmp_path, local=2), alone)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 0])
def test_a_killed_process_ends_the_other_and_another_number_resumes(alone, tmp_path, killed):
    """Two processes train as one does, before the kill and, where two resume, after it."""
    processes = start_two(tmp_path, killed)
    processes[killed].communicate(timeout=300)
    began = time.monotonic()
    errors = processes[1 - killed].communicate(timeout=60)[1]
    assert time.monotonic() - began < 60
    assert processes[killed].returncode == -signal.SIGKILL
    assert processes[1 - killed].returncode not in (0, -signal.SIGKILL)
    ours = f"process {1 - killed}: another process has ended or cannot be reached"
    # Without the first process JAX may be first to end the others.
    assert ours in errors or (killed == 0 and "another task died" in errors), errors
    assert len(history(tmp_path / "run")) == KILLED - 1

    resume = run_two if killed == 0 else run_alone
    assert_same_losses(resume(tmp_path), alone)
    # The first process fits the threshold alone, on what all have held out.
    facts = json.loads((tmp_path / "run/config.json").read_text())["existence"]
    assert facts["sentences"]["present"] == sum(COUNTS) - TRAINING


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"devices": 0}, "`devices` must be at least 1. Received: 0"),
        ({"num_processes": 2}, "belong together. Received: None, 2, None"),
        (
            {"coordinator": "a:1", "num_processes": 2, "process_id": 2},
            "`process_id` must be 0 to 1. Received: 2",
        ),
        (
            {"coordinator": "a:70000", "num_processes": 2, "process_id": 0},
            "`coordinator` must be HOST:PORT. Received: a:70000",
        ),
    ],
)
def test_impossible_devices_are_refused(flags, wanted):
    with pytest.raises(ValueError) as caught:
        Devices(**flags)
    assert wanted in str(caught.value)


def test_addresses_that_do_not_answer_or_are_taken_are_refused():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        wait_for(("127.0.0.1", port))
        with pytest.raises(ConnectionError, match=f"the port of `coordinator`, {port}, cannot"):
            check_free(port)
    check_free(port)
    with pytest.raises(ConnectionError, match=f"no process 0 answered at 127.0.0.1:{port} within"):
        wait_for(("127.0.0.1", port), patience=0)


@pytest.mark.keras
def test_devices_are_chosen_and_batches_checked(seeded):
    if seeded.backend.backend() != "jax":
        with pytest.raises(ValueError, match="set KERAS_BACKEND=jax. Received: "):
            with join_processes(Devices(1), 4):
                pass
        return
    with pytest.raises(ValueError, match="`devices` must be at most.*Received: 99; process 0 has"):
        with join_processes(Devices(99), 4):
            pass
    with join_processes(Devices(1), 4):
        assert process_part() == (0, 1)
        check_divides(batch_size=3)
    assert process_part() is None


@pytest.mark.parametrize("file", ["unc.slurm", "unc.jobset.yaml"])
def test_the_cluster_files_start_a_training(file, monkeypatch):
    """The command of each, with what the cluster puts into its variables."""
    text = (Path(__file__).parents[2] / "recipes/cluster" / file).read_text("utf-8")
    if file.endswith(".yaml"):
        yaml = pytest.importorskip("yaml")
        (job,) = yaml.safe_load(text)["spec"]["replicatedJobs"]
        job = job["template"]["spec"]
        (container,) = job["template"]["spec"]["containers"]
        text = container["command"][-1]
        assert job["completions"] == job["parallelism"] == 2
    values = {"DATA_DIR": "refer", "RUN_DIR": "runs/unc", "COORDINATOR": "node-1:12345"}
    values |= {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "JOB_COMPLETION_INDEX": "1"}
    command = re.search(r"(?<=\bkeras-cmsa )train (?:[^'\\]|\\\n)*", text)[0].replace("\\\n", " ")
    command = re.sub(r"\$(\w+)", lambda name: values[name[1]], command)
    given = []
    monkeypatch.setattr(run, "run_training", lambda *arguments: given.append(arguments))
    app(shlex.split(command), result_action="return_value")
    ((settings, resume, devices),) = given
    assert resume
    assert settings.batch_size == 32
    host = "cmsa-unc-train-0-0.cmsa-unc" if file.endswith(".yaml") else "node-1"
    assert devices == Devices(None, f"{host}:12345", 2, 1)
