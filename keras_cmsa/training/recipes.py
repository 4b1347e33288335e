"""The recipes on the command line: a command for each, a flag for each setting.

Keras is imported when a recipe runs, so that `--help` answers at once.
"""

import sys
from dataclasses import fields, make_dataclass
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from keras_cmsa.training.devices import ONE, Devices
from keras_cmsa.training.settings import RECIPES, Settings, help_of, recipe_settings
from keras_cmsa.utils import command_line
from keras_cmsa.utils.silence import import_keras

TITLES = {
    "unc": "CMSA on UNC (RefCOCO).",
    "unc_plus": "CMSA on UNC+ (RefCOCO+), whose expressions have no words of place.",
    "gref": "CMSA on G-Ref (RefCOCOg, Google's splits), whose expressions are whole sentences.",
    "referit": "CMSA on ReferIt (SAIAPR TC-12), which also refers to sky, water and ground.",
}
app = cyclopts.App(name="train", help="Train a model by one of the paper's recipes.")


def flags_of(texts):
    """A dataclass of settings, all `None` unless given, which cyclopts makes flags of.

    Args:
        texts: `{name: help}` of the fields of `Settings` that it shall have.
    """
    entries = [
        (e.name, Annotated[e.type | None, Parameter(help=texts[e.name])], None)
        for e in fields(Settings)
        if e.name in texts
    ]
    # Cyclopts takes a class of the module `types`, make_dataclass' own, for a built-in one.
    return make_dataclass("Given", entries, frozen=True, namespace={"__module__": __name__})


def add_command(recipe):
    """Adds a recipe to the app."""
    flags = flags_of(help_of(recipe))
    nothing = flags()

    def command(
        *,
        small: Annotated[bool, switch("The small model for two CPU cores.")] = False,
        resume: Annotated[bool, switch("Resume the run in --run-dir.")] = False,
        given: Annotated[flags, Parameter(name="*")] = nothing,
        devices: Annotated[Devices, Parameter(name="*")] = ONE,
    ):
        import_keras()
        named = {name: value for name, value in vars(given).items() if value is not None}
        settings = recipe_settings(recipe, small, **named)
        from keras_cmsa.training.run import run_training

        run_training(settings, resume, devices)

    command.__doc__ = (
        f"{TITLES[recipe]}\n\nTrain, pick the best round on a held-out split, evaluate every split "
        "at the size of the original images. The paper's settings are the defaults."
    )
    app.command(command, name=recipe)


def switch(text):
    return Parameter(help=text, negative=(), show_default=False)


for _recipe in RECIPES:
    add_command(_recipe)


def main(recipe):
    """Runs a recipe with the process' own arguments: the last line of each page in `recipes/`."""
    command_line.run(app, [recipe, *sys.argv[1:]], sys.argv[0])
