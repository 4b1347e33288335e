"""`keras-cmsa train`: a thin door to the recipes."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import keras_cmsa

RECIPES = Path(keras_cmsa.__file__).parents[1] / "recipes"


def train(
    recipe: str | None = None,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
):
    """Run a recipe of the clone; without one, list them.

        keras-cmsa train unc --small --run-dir runs/mine
        keras-cmsa train unc -- --help

    Parameters
    ----------
    recipe
        unc for recipes/train_unc.py, and so on.
    arguments
        The recipe's own.
    """
    recipes = {path.stem.removeprefix("train_"): path for path in RECIPES.glob("train_*.py")}
    if not recipes:
        raise ValueError(
            f"{RECIPES} has no recipes. They come with a clone of the project, not with the "
            "package: install it from there, pip install -e ."
        )
    if recipe is None:
        for name, path in sorted(recipes.items()):
            _, what, *_ = path.read_text(encoding="utf-8").split('"""')
            print(f"{name:10}{what.splitlines()[0]}")
        return
    if recipe not in recipes:
        raise ValueError(f"recipe must be one of {sorted(recipes)}. Received: {recipe!r}")
    # As the shell would: a recipe reads its own arguments and stands on its own.
    sys.argv = [str(recipes[recipe]), *arguments]
    sys.path.insert(0, str(RECIPES))
    runpy.run_path(str(recipes[recipe]), run_name="__main__")
