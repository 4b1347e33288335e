"""The command line as a whole: help without Keras, and bad input in one line."""

import pytest
from command import refused, run
from fresh_process import run_python

from keras_cmsa.cli.main import COMMANDS

# Prints the help of each command, in a process that must not import Keras.
HELP = """
import sys
from keras_cmsa.cli.main import main
for command in sys.argv[1:]:
    try:
        main([*command.split(), "--help"])
    except SystemExit as stop:
        assert not stop.code, command
assert not {"keras", "tensorflow", "jax"} & set(sys.modules)
"""


def test_every_command_has_help_without_keras():
    printed = run_python(HELP, "", *COMMANDS, "train", "train unc")
    for command in [*COMMANDS, "train unc"]:
        assert f"Usage: keras-cmsa {command}" in printed
    for text in COMMANDS.values():
        assert text.rstrip(".") in printed


@pytest.mark.parametrize("command", ["segment", "evaluate", "explain", "demo", "export", "info"])
def test_each_help_says_what_a_model_is(capsys, command):
    """Whatever takes a model takes every kind of it; a SavedModel is a program, a preset is data."""
    run(command, "--help")
    page = " ".join(capsys.readouterr().out.replace("│", " ").split())
    parts = ["preset", "version", "hf://user/name", "kaggle://"]
    if command != "info":
        parts += ["model.keras is checked and runs no code", "export takes none"]
        parts += ["loading a version runs its graph, so take only those you trust"]
    assert [part for part in parts if part not in page] == []


def test_a_command_that_is_not_there(capsys):
    assert run("segmnt", "photo.jpg") != 0
    assert "segment" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "demo --port 0",
        "demo --port -1",
        "demo --port 65536",
        "evaluate data --limit 0",
        "evaluate data --limit -1",
        "evaluate data --failures -1",
        "export out --version 0",
        "export out --version -3",
        "synthesize out --seed -1",
        "describe none.json -o out --most 0",
    ],
)
def test_numbers_are_checked_before_anything_is_read(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_CMSA_MODEL", "none")
    *_, flag, value = command.split()
    message = refused(capsys, *command.split())
    assert message.startswith(f"keras-cmsa: {flag} must be ") and message.endswith(f": {value}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    ["evaluate data -o {}", "explain photo.png box -o {}", "export {}", "synthesize {}",
     "describe none.json -o {}", "download refcoco -o {}",
     "export {}/a.onnx --format onnx", "prepare data --problems {}/x.csv",
     "segment photo.png box -o {}.png", "segment photo.png box --mask {}.png"],
)  # fmt: skip
def test_places_are_checked_before_anything_is_read(capsys, tmp_path, monkeypatch, command):
    monkeypatch.setenv("KERAS_CMSA_MODEL", "none")
    (tmp_path / "file").write_text("mine")
    place = tmp_path / "file" / "out"
    message = refused(capsys, *command.format(place).split())
    assert message.startswith("keras-cmsa: wanted a fo") or "in a folder that is there" in message
    assert str(place) in message and "partial" not in message


def test_the_model_may_stand_in_the_environment(
    models_kept, preset, photo_path, monkeypatch, capsys
):
    monkeypatch.setenv("KERAS_CMSA_MODEL", str(preset))
    assert run("segment", photo_path, "red box") == 0
    assert "“red box”" in capsys.readouterr().out
    monkeypatch.delenv("KERAS_CMSA_MODEL")
    assert run("export", "saved_models/x") != 0  # it has no model of its own choice
