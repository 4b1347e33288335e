"""From masks to the paper's numbers, and the tables that are written."""

import csv
import json

import pytest
import tiny

from keras_cmsa.evaluation.scores import (
    Score,
    metrics_of,
    score_mask,
    summarize,
    summarize_by_kind,
    write_scores,
)

NAMES = ["overall_iou", "mean_iou", "prec@0.5", "prec@0.6", "prec@0.7", "prec@0.8", "prec@0.9"]


def test_a_mask_is_counted_in_pixels_of_the_image():
    record = tiny.record("a.png", tiny.box(8, 12, 2, 2, 6, 6))
    found = tiny.box(8, 12, 2, 4, 6, 8) > 0
    score = score_mask(record, found)
    assert (score.record, score.intersection, score.union) == (record, 8, 24)
    assert score.iou == 8 / 24


def test_precision_counts_above_or_from_the_threshold():
    """IoUs of exactly 0.5, 0.6, ..., 1: the paper counts those above X, its code those from X on."""
    scores = [Score(None, tenths, 10) for tenths in (5, 6, 7, 8, 9, 10)]
    strict, wide = summarize(scores, "strict"), summarize(scores, "tf_phrasecut")
    for above, x in zip((5, 4, 3, 2, 1), (0.5, 0.6, 0.7, 0.8, 0.9)):
        assert strict[f"prec@{x}"] == above / 6
        assert wide[f"prec@{x}"] == (above + 1) / 6
    assert strict["overall_iou"] == wide["overall_iou"] == 45 / 60


def test_overall_and_mean_iou_are_not_the_same():
    summary = summarize([Score(None, 1, 4), Score(None, 90, 100)])
    assert summary["overall_iou"] == 91 / 104
    assert summary["mean_iou"] == pytest.approx((0.25 + 0.9) / 2)
    assert list(summary) == [*NAMES, "samples"]
    assert summary["samples"] == 2


def test_empty_unions_are_guarded():
    """Nothing to find and nothing found is right. An overall IoU of nothing is a number too."""
    empty = Score(None, 0, 0)
    assert empty.iou == 1.0
    assert set(summarize([empty]).values()) == {1.0}
    assert summarize([empty, Score(None, 1, 4)])["overall_iou"] == 0.25
    assert summarize([empty, Score(None, 1, 4)])["mean_iou"] == 0.625


def test_results_by_kind():
    def of_kind(kind, intersection):
        return Score(tiny.record("x.png", tiny.box(4, 4, 0, 0, 2, 2), kind=kind), intersection, 10)

    scores = [of_kind("place", 2), of_kind("place", 4), of_kind("", 10), of_kind("colour", 9)]
    by_kind = summarize_by_kind(scores)
    assert list(by_kind) == ["colour", "place"]
    assert by_kind["place"] == summarize(scores[:2])
    assert by_kind["colour"]["samples"] == 1


# --- what is written


@pytest.fixture
def scores():
    mask = tiny.box(4, 4, 0, 0, 2, 2)
    awkward = 'the "left" one,\nwith ünïcode'
    records = [
        tiny.record("a/1.png", mask, awkward, number=7, kind="place"),
        tiny.record("b/2.png", mask, "plain", number=8),
    ]
    return {
        "val": [Score(records[0], 1, 3), Score(records[1], 6, 10)],
        "testA": [Score(records[1], 5, 10)],
    }


def test_metrics(scores):
    nothing = {"none": [Score(scores["val"][0].record, 0, 0)]}
    json.dumps(metrics_of(nothing, "tf_phrasecut", "random"), allow_nan=False)
    metrics = metrics_of(scores, "tf_phrasecut", "random (seed 0)")
    assert json.loads(json.dumps(metrics)) == metrics
    assert list(metrics) == ["profile", "weights", "splits", "kinds"]
    assert metrics["profile"] == "tf_phrasecut"
    assert metrics["weights"] == "random (seed 0)"
    assert list(metrics["splits"]) == ["val", "testA"]
    assert metrics["splits"]["val"] == {
        "overall_iou": 7 / 13,
        "mean_iou": pytest.approx((1 / 3 + 0.6) / 2),
        "prec@0.5": 0.5,
        "prec@0.6": 0.5,
        "prec@0.7": 0.0,
        "prec@0.8": 0.0,
        "prec@0.9": 0.0,
        "samples": 2,
    }
    assert metrics["splits"]["testA"]["prec@0.5"] == 1.0
    assert list(metrics["kinds"]["val"]) == ["place"] and not metrics["kinds"]["testA"]


def test_written_scores(scores, tmp_path):
    write_scores(tmp_path, scores)
    with open(tmp_path / "scores_val.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["expression"] for row in rows] == ['the "left" one,\nwith ünïcode', "plain"]
    assert [(row["image"], row["ref_id"], row["kind"]) for row in rows] == [
        ("1.png", "7", "place"),
        ("2.png", "8", ""),
    ]
    assert [float(row["iou"]) for row in rows] == pytest.approx([1 / 3, 0.6], abs=1e-6)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["scores_testA.csv", "scores_val.csv"]
