"""Every command ends well or with one line."""

import io
import sys

import cyclopts
import pytest

from keras_cmsa.utils.command_line import check_at_least, check_within, run


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wanted 1, got 2"),
        FileNotFoundError(2, "No such file or directory", "a.png"),
        ModuleNotFoundError("needs x"),
        FloatingPointError("The loss is nan"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_wrong_input_is_one_line_and_exit_code_2(capsys, error):
    app = cyclopts.App()

    @app.default
    def fails():
        raise error

    with pytest.raises(SystemExit) as stop:
        run(app, [], "program")
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.err == f"program: {error}\n" and not captured.out


def test_a_fault_of_ours_is_not_hidden():
    app = cyclopts.App()

    @app.default
    def fails():
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(app, [], "program")


def test_numbers_below_or_beyond_are_named():
    check_at_least(1, steps=1, limit=None)
    check_within(1, 3, port=3)
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=r"^--batch-size must be at least 1. Received: "):
            check_at_least(1, batch_size=value)
    for value in (0, 4, -1):
        with pytest.raises(ValueError, match=rf"^--port must be 1 to 3. Received: {value}$"):
            check_within(1, 3, port=value)


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
