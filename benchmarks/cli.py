"""The command line that the benchmarks share: sizes and repeats in, tables and JSON out."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import measure
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from keras_cmsa.cli.command_line import run_script

Repeats = Annotated[
    int,
    Parameter(help="Timed rounds, in each of which every form runs once, after an untimed one."),
]
ImageSize = Annotated[
    int, Parameter(help="Side of the network's square input in pixels, a multiple of 8.")
]
Small = Annotated[bool, Parameter(help="Measure the recipes' small model, not the paper's.")]
Memory = Annotated[
    bool, Parameter(help="Also measure memory, each number in a process of its own. Linux.")
]
Model = Annotated[str | None, Parameter(help="A trained model, as --model of keras-cmsa takes it.")]


def options(cls):
    """A frozen dataclass whose fields are flags."""
    return Parameter(name="*")(dataclass(frozen=True)(cls))


def main(kind, measure_all, targets=None):
    """Runs a benchmark as a command; its JSON file is called after the script.

    Args:
        kind: class made by `options`; a field without default is none.
        measure_all, targets: as in `run`.
    """
    usual, file = kind(), Path(f"runs/benchmarks/{Path(sys.argv[0]).stem}.json")

    def command(*, options=usual, output=file):
        """Measure; print tables and write them as JSON.

        Parameters
        ----------
        output
            The JSON file.
        """
        run(options, measure_all, targets, output)

    command.__annotations__ = {"options": kind, "output": Path}
    run_script(command)


def run(options, measure_all, targets, output):
    """Measures, prints, and writes the JSON file.

    Args:
        options: of a class made by `options`.
        measure_all: function from options to a dict, what the JSON file holds.
        targets: function from such a dict, with the settings, that yields of each target that was
            measured `(name, value, ">=" or "<=", bound)`; `None`: there are no targets.
        output: `Path` of the JSON file.
    """
    results = {"environment": measure.environment(), "settings": asdict(options)}
    results |= measure_all(options)
    results["targets"] = measure.verdicts(targets(results) if targets else ())
    console = Console()
    for title, result in results.items():
        for part in printable(title, result):
            console.print(part)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1, default=str) + "\n", encoding="utf-8")


def printable(title, result):
    """Yields what is printed of a result: a table of a list of dicts, a line of a value."""
    if isinstance(result, dict):
        for name, part in result.items():
            yield from printable(f"{title}: {name}", part)
    elif isinstance(result, list) and result and isinstance(result[0], dict):
        columns = dict.fromkeys(name for row in result for name in row)
        table = Table(*columns, title=title)
        for row in result:
            table.add_row(*(shown(row.get(name)) for name in columns))
        yield table
    else:
        yield f"{title}: {shown(result)}"


def shown(value):
    """A value in a cell or a line."""
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
