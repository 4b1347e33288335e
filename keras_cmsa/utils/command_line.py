"""What every command of this package shares: checks of numbers, what it prints, how it ends."""

import io
import sys
import warnings


def run(app, arguments, name):
    """Runs a cyclopts app. A wrong input is one line on standard error and exit code 2.

    Args:
        app: `cyclopts.App`.
        arguments: list of `str`.
        name: of the program, at the head of its messages.
    """
    print_whatever_comes()
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"
    try:
        app(arguments)
    except (OSError, ValueError, ModuleNotFoundError, FloatingPointError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)


def print_whatever_comes():
    """Lets the terminal show what it has no letters for as `\\u201c`, rather than end the work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_at_least(least, **values):
    """Raises a `ValueError` that names the flag of a number below `least`; `None` is not given."""
    for name, value in values.items():
        if value is not None and not value >= least:  # NaN is no number of anything
            raise ValueError(f"{as_flag(name)} must be at least {least}. Received: {value}")


def check_within(least, most, **values):
    """Raises a `ValueError` that names the flag of a number outside of `least` to `most`."""
    for name, value in values.items():
        if value is not None and not least <= value <= most:
            raise ValueError(f"{as_flag(name)} must be {least} to {most}. Received: {value}")


def as_flag(name):
    """The flag of a parameter on the command line."""
    return f"--{name.replace('_', '-')}"
