"""The numbers of profile `gres` against cases computed by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from keras_cmsa.data.samples import read_image_and_masks
from keras_cmsa.evaluation.generalised import curve, refuses
from keras_cmsa.evaluation.scores import metrics_of, score_mask, summarize, summarize_by_kind


def score(true, answer, targets=1, refused=False, existence=None):
    """Of rows of pixels, such as "110"."""
    true, answer = (np.array([[int(x) for x in row]], "uint8") for row in (true, answer))
    record = replace(tiny.record(Path("a.png"), true), targets=targets)
    return score_mask(record, answer > 0, true, existence=existence, refused=refused)


SCORES = [
    score("1100", "1110"),  # IoU 2/3
    score("1111", "1111", targets=3),  # IoU 1
    score("1000", "0110", refused=True),  # a target that is refused: its pixel is in the union
    score("0000", "0111", targets=0),  # nothing fits, a mask all the same
    score("0000", "0110", targets=0, refused=True),  # nothing fits, and so it says
]


def test_numbers_are_those_of_rela():
    assert summarize(SCORES, "gres") == pytest.approx(
        {
            "giou": (2 / 3 + 1 + 0 + 0 + 1) / 5,
            "ciou": (2 + 4) / (3 + 4 + 1 + 3 + 0),
            "n_acc": 1 / 2,
            "t_acc": 2 / 3,
            "prec@0.7": 1 / 3,
            "prec@0.8": 1 / 3,
            "prec@0.9": 1 / 3,
            "without_target": 2,
            "samples": 5,
        }
    )


def test_a_refused_target_is_in_no_precision_even_where_its_mask_fits():
    """Other profiles score the mask whatever `exists` says."""
    refused = [score("11", "11", refused=True)]
    numbers = summarize(refused, "gres")
    assert (numbers["giou"], numbers["ciou"], numbers["prec@0.9"]) == (0, 0, 0)
    assert summarize(refused)["overall_iou"] == 1 and summarize(SCORES[2:3])["overall_iou"] == 0


def test_nothing_to_find_and_nothing_found():
    numbers = summarize([score("00", "00", targets=0, refused=True)], "gres")
    assert (numbers["giou"], numbers["ciou"], numbers["n_acc"], numbers["t_acc"]) == (1, 1, 1, 1)


def test_groups_are_by_number_of_targets():
    groups = summarize_by_kind(SCORES, "gres")
    assert {name: numbers["samples"] for name, numbers in groups.items()} == {
        "none": 2, "one": 2, "several": 1,
    }  # fmt: skip
    assert summarize_by_kind(SCORES, "strict") == {}


def test_the_curve_is_what_each_threshold_would_do():
    known = [replace(s, existence=x) for s, x in zip(SCORES, (0.9, 0.8, 0.4, 0.6, 0.1))]
    lines = {line["threshold"]: line for line in curve(known)}
    assert (lines[0.0]["n_acc"], lines[0.0]["t_acc"]) == (0, 1)
    assert (lines[0.5]["n_acc"], lines[0.5]["t_acc"]) == (1 / 2, 2 / 3)
    assert (lines[0.7]["n_acc"], lines[0.7]["t_acc"]) == (1, 2 / 3)
    assert lines[0.7]["giou"] == pytest.approx((2 / 3 + 1 + 0 + 1 + 1) / 5)
    assert (lines[1.0]["n_acc"], lines[1.0]["t_acc"]) == (1, 0)
    assert set(metrics_of({"val": known}, "gres", "?")["curves"]) == {"val"}
    assert "curves" not in metrics_of({"val": SCORES}, "gres", "?")


def test_a_model_without_exists_refuses_by_a_small_mask():
    mask = np.zeros((10, 10), bool)
    mask.ravel()[:49] = True
    assert refuses(mask, None, 0.5)
    mask.ravel()[:50] = True
    assert not refuses(mask, None, 0.5)
    assert refuses(mask, 0.3, 0.31) and not refuses(mask, 0.31, 0.31)


def test_a_ref_may_have_a_sentence_that_fits_nothing(tmp_path):
    there = tiny.records(tmp_path, 1)[0]
    nothing = replace(there, targets=0, segmentation=None)
    _, masks = read_image_and_masks([there, nothing, there])
    assert masks[0].any() and not masks[1].any() and masks[2] is masks[0]
