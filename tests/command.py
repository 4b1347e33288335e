"""The command line as the tests call it, and the tables it reads and writes."""

import csv

import pytest

from keras_cmsa.cli.main import main


def run(*arguments):
    """The exit code of `keras-cmsa <arguments>`, run in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def last_line(capsys):
    """The one line that a refused command ends with; there is no traceback."""
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    *_, last = errors.splitlines()
    assert last.startswith("keras-cmsa: ")
    return last


def refused(capsys, *arguments):
    """The one line with which a command refuses wrong input; it ends with exit code 2."""
    capsys.readouterr()
    assert run(*arguments) == 2, arguments
    return last_line(capsys)


def write_rows(path, rows):
    """Writes a CSV of rows, the head first."""
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read_rows(path):
    """The rows of a CSV as dicts."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
