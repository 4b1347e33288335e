"""Every command ends well or with one line."""

import contextlib
import io
import sys
from typing import Annotated

import cyclopts
import pytest
from cyclopts import Parameter

from keras_cmsa.cli.command_line import run


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("wanted 1, got 2"), "wanted 1, got 2"),
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file"),
        (ModuleNotFoundError("needs x"), "needs x"),
        (FloatingPointError("The loss is nan"), "The loss is nan"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_input_is_one_line_and_exit_code_2(capsys, error, line):
    app = cyclopts.App()

    @app.default
    def fails():
        raise error

    with pytest.raises(SystemExit) as stop:
        run(app, [], "program")
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.err == f"program: {line}\n" and not captured.out


def test_a_fault_of_ours_is_not_hidden():
    app = cyclopts.App()

    @app.default
    def fails():
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(app, [], "program")


def test_arguments_are_named_as_flags():
    """Those of the command that ran; other words in backticks stay."""
    app = cyclopts.App()

    @app.command
    def draw(
        *,
        image_size: int = 1,
        resume: bool = False,
        own_name: Annotated[int, Parameter("--as")] = 0,
    ):
        raise ValueError(
            "`image_size` is small: `resume=True`, `resume=False`, `as`, `own_name`, `x`"
        )

    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as errors:
        run(app, ["draw", "--image-size", "3"], "program")
    assert errors.getvalue() == (
        "program: --image-size is small: --resume, --no-resume, --as, `own_name`, `x`\n"
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_a_terminal_cannot_show_ends_nothing(monkeypatch, stream):
    app, terminal = cyclopts.App(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(f"sys.{stream}", terminal)

    @app.default
    def prints():
        print("“é” 🙂 \udce9", file=getattr(sys, stream))

    with pytest.raises(SystemExit) as stop:
        run(app, [], "program")
    terminal.flush()
    shown = b"\\u201c\\xe9\\u201d \\U0001f642 \\udce9\n"
    assert not stop.value.code and terminal.buffer.getvalue() == shown
