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
        (["unc", "--steps", "0"], "--steps must be at least 1"),
        (["unc", "--small", "--backbone-weights", "imagenet"], "--backbone-weights"),
        (["unc", "--pretrain-steps", "5"], "--pretrain-steps"),
        (["unc", "--system", "nothing"], "--system must be one of"),
        (["unc", "--small", "--system", "rrn", "--attention-dim", "3"], "--attention-dim"),
        (["unc", "--dataset", "refcoco+"], "--dataset would be ignored"),
    ],
)
def test_wrong_settings_are_one_line(capsys, arguments, message):
    assert message in refused(capsys, "train", *arguments)


def test_a_run_that_is_there_is_refused_before_any_work(capsys, tmp_path):
    (tmp_path / "model.keras").write_bytes(b"mine")
    line = refused(capsys, "train", "unc", "--small", "--run-dir", tmp_path)
    assert "holds a trained model" in line
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
