"""The pages of recipes/, as they are to a script there and as someone runs them."""

import runpy
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipes(monkeypatch):
    """The folder of pages, importable as it is to a script in it."""
    monkeypatch.syspath_prepend(RECIPES)
    return RECIPES


@pytest.fixture
def page(recipes, monkeypatch):
    """Runs a page by its name with arguments and options; gives the exit code."""

    def run(name, *arguments, **options):
        arguments = [*map(str, arguments)]
        for option, value in options.items():
            flag = f"--{option.replace('_', '-')}"
            arguments += [flag] if value is True else [flag, str(value)]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(recipes / f"{name}.py"), run_name="__main__")
        return stop.value.code or 0

    return run
