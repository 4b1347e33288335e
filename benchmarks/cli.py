"""The command line that the benchmarks share: sizes and repeats in, tables and JSON out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import cyclopts
import measure
from cyclopts import Parameter
from rich.console import Console

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


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as a command.

    Args:
        name: of the script and of its JSON file.
        options: class made by `options`; a field without default is none.
        measure_all: function from options to a dict, what the JSON file holds.
        show: function that prints such a dict, from it and a `Console`.
        targets: dict of name -> `(">=" or "<=", bound)`.
        target_values: function from such a dict to what was measured of the targets.
    """

    name: str
    options: type
    measure_all: Callable
    show: Callable
    targets: dict = field(default_factory=dict)
    target_values: Callable = lambda results: {}

    def run(self, options, output):
        """Measures, prints, and writes the JSON file; gives what it holds."""
        settings = {"environment": measure.environment(), "settings": asdict(options)}
        results = settings | self.measure_all(options)
        results["targets"] = measure.check_targets(self.target_values(results), self.targets)
        console = Console()
        self.show(results, console)
        if results["targets"]:
            console.print(measure.target_table(results["targets"]))
        measure.write_json(output, results)
        return results

    def main(self):
        """Runs the command line."""

        usual, file = self.options(), Path(f"runs/benchmarks/{self.name}.json")

        def command(*, options=usual, output=file):
            """Measure; print tables and write them as JSON.

            Parameters
            ----------
            output
                The JSON file.
            """
            self.run(options, output)

        command.__annotations__ = {"options": self.options, "output": Path}
        cyclopts.run(command)
