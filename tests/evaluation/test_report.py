"""The table of an evaluation in a terminal."""

import tiny

from keras_cmsa.evaluation.report import print_controls, print_metrics
from keras_cmsa.evaluation.scores import Score, metrics_of


def test_the_table_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    record = tiny.record("a.png", tiny.box(4, 4, 0, 0, 2, 2))
    scores = {"val": [Score(record, 1, 4)], "testA+crf": [Score(record, 90, 100)]}
    print_metrics(metrics_of(scores, "tf_phrasecut", "random (seed 0)"), "out/metrics.json")
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert "profile tf_phrasecut" in printed
    assert "out/metrics.json; starting weights: random (seed 0)" in printed
    head = next(line for line in printed.splitlines() if "split" in line)
    for name in ("overall", "mean", "@.5", "@.9", "count"):
        assert name in head
    val, refined = (
        next(line for line in printed.splitlines() if name in line) for name in ("val", "testA+crf")
    )
    assert "0.250" in val and "0.900" in refined


def test_the_table_of_controls_fits_a_terminal_too(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    plain, control = {"overall_iou": 0.5, "samples": 1234}, {"overall_iou": 0.125}
    print_controls({"testA": {"another object's sentence": {"plain": plain, "control": control}}})
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.splitlines())
    for text in ("another object's sentence", "1,234", "0.125", "-0.375"):
        assert text in printed


def test_brackets_in_a_path_are_no_markup(capsys):
    """Rich would take them for its own and end in a traceback, after all scoring."""
    metrics = {"profile": "strict", "weights": "[red]x", "splits": {"val": {"samples": 3}}}
    print_metrics(metrics, "o[/b]/metrics.json")
    printed = "".join(capsys.readouterr().out.split())
    assert "o[/b]/metrics.json;startingweights:[red]x" in printed
