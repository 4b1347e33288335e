"""`keras-cmsa train`: a command for each recipe, a flag for each setting.

Keras is imported when a recipe runs, so that `--help` answers at once.
"""

import sys
from dataclasses import fields, make_dataclass
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from keras_cmsa.cli import command_line
from keras_cmsa.recipes.recipe_settings import RECIPES, help_of, recipe_settings
from keras_cmsa.training.devices import Devices
from keras_cmsa.training.settings import Settings
from keras_cmsa.utils.silence import import_keras

app = cyclopts.App(name="train", help="Train a model by a recipe, the paper's or that for photos.")


def flags_of(kind, texts=None):
    """A dataclass of flags, all `None` unless given, which cyclopts makes flags of.

    Args:
        kind: dataclass of fields as `setting` makes them.
        texts: `{name: help}` of the fields that are flags; all of them with their own unless given.
    """
    texts = texts or {e.name: e.metadata["help"] for e in fields(kind)}
    entries = [
        (e.name, Annotated[e.type | None, Parameter(help=texts[e.name])], None)
        for e in fields(kind)
        if e.name in texts
    ]
    # Cyclopts takes a class of the module `types`, make_dataclass' own, for a built-in one.
    return make_dataclass("Given", entries, frozen=True, namespace={"__module__": __name__})


def given_in(flags):
    """The flags that were given: `{name: value}`."""
    return {name: value for name, value in vars(flags).items() if value is not None}


def add_command(recipe, page):
    """Adds a recipe to the app; its page is the command's help."""
    settings_flags = flags_of(Settings, help_of(recipe))
    devices_flags = flags_of(Devices)

    def command(
        *,
        small: Annotated[bool, switch("The small model for two CPU cores.")] = False,
        resume: Annotated[bool, switch("Resume the run in --run-dir.")] = False,
        given: Annotated[settings_flags, Parameter(name="*")] = settings_flags(),  # noqa: B008
        devices: Annotated[devices_flags, Parameter(name="*")] = devices_flags(),  # noqa: B008
    ):
        devices = Devices(**given_in(devices))
        import_keras()
        settings = recipe_settings(recipe, small, **given_in(given))
        from keras_cmsa.training.run import run_training

        run_training(settings, resume, devices)

    command.__doc__ = page.__doc__
    app.command(command, name=recipe)


def switch(text):
    return Parameter(help=text, negative=(), show_default=False)


for _recipe, _page in RECIPES.items():
    add_command(_recipe, _page)


def main(recipe):
    """Runs a recipe with the process' own arguments: the last line of each page in `recipes/`."""
    command_line.run(app, [recipe, *sys.argv[1:]], sys.argv[0])
