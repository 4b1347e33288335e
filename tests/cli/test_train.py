"""`keras-cmsa train`: settings that cannot be are named by their flags, before any work.

`tests/recipes` trains.
"""

import pytest
from command import refused, run


def test_the_recipes_are_listed(capsys):
    assert run("train", "--help") == 0
    printed = capsys.readouterr().out
    for recipe in ("unc ", "unc_plus", "gref", "referit"):
        assert f"│ {recipe}" in printed


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["unc", "--small", "--backbone-weights", "imagenet"], "--backbone-weights"),
        (["unc", "--system", "nothing"], "--system must be one of"),
        (["unc", "--dataset", "refcoco+"], "--dataset would be ignored"),
    ],
)
def test_wrong_settings_are_one_line(capsys, arguments, message):
    assert message in refused(capsys, "train", *arguments)
