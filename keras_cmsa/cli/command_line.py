"""What every command of this package shares: what it prints, and how it ends."""

import io
import re
import sys
import warnings

import cyclopts

from keras_cmsa.utils.messages import in_words


def run(app, arguments, name):
    """Runs a cyclopts app. A wrong input is one line on standard error and exit code 2.

    Args:
        app: `cyclopts.App`.
        arguments: list of `str`.
        name: of the program, at the head of its messages.
    """
    # What a terminal has no letters for is shown as \u201c, and does not end the work.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"
    try:
        app(arguments)
    except (OSError, ValueError, ModuleNotFoundError, FloatingPointError) as error:
        print(f"{name}: {with_flags(in_words(error), flags_of(app, arguments))}", file=sys.stderr)
        sys.exit(2)


def run_script(function):
    """Runs a function as a program of its own, with the process' arguments: a script's last line."""
    app = cyclopts.App()
    app.default(function)
    run(app, sys.argv[1:], sys.argv[0])


def flags_of(app, arguments):
    """The flags that the command of some arguments takes: set of `str`."""
    *_, command = app.parse_commands(arguments)[1]
    return {name for argument in command.assemble_argument_collection() for name in argument.names}


def with_flags(text, flags):
    """An error's text with flags in the place of the arguments that it names in backticks.

    `image_size` becomes --image-size, `resume=True` becomes --resume, `warmup=False` --no-warmup.

    Args:
        text: `str`.
        flags: of the command; what is none of them stays.
    """

    def flag_of(match):
        no = "no-" if match[2] == "=False" else ""
        flag = f"--{no}{match[1].replace('_', '-')}"
        return flag if flag in flags else match[0]

    return re.sub(r"`(\w+)(=True|=False)?`", flag_of, text)
