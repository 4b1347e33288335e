"""Evaluation at the original size against masks drawn and counted by hand."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
import tiny
from PIL import Image

from keras_cmsa.evaluation import (
    PROFILES,
    Score,
    evaluate,
    phrasecut_mask,
    score,
    strict_mask,
    summarize,
    summarize_by_kind,
    write_results,
)

S = tiny.SIZE
NAMES = ["overall_iou", "mean_iou", "prec@0.5", "prec@0.6", "prec@0.7", "prec@0.8", "prec@0.9"]


@pytest.fixture(scope="module")
def finds_white():
    """A model whose mask is what is white in the image: logits of 127.5 and -127.5."""
    import keras

    image = keras.Input((S, S, 3), name="image")
    words = keras.Input((tiny.WORDS,), dtype="int32", name="words")
    red = keras.layers.Rescaling(1.0, offset=-127.5)(image)[..., :1]
    return keras.Model({"image": image, "words": words}, red)


def shown(folder, name, found, true, **options):
    """A record with the mask `true` and an image that is white where `found` is."""
    path = folder / f"{name}.png"
    Image.fromarray(np.repeat(255 * found[..., None], 3, axis=2)).save(path)
    return tiny.record(path, true, "box on the left", **options)


# --- from logits to a mask


def test_known_overlap_at_the_networks_size(finds_white, tmp_path):
    """Two squares of 64 pixels that share 32, one found and one to be found."""
    found, true = tiny.box(S, S, 4, 8, 12, 16), tiny.box(S, S, 4, 4, 12, 12)
    record = shown(tmp_path, "squares", found, true)
    for profile in PROFILES:
        (result,) = evaluate(finds_white, tiny.vocabulary(), [record], profile)
        assert (result.intersection, result.union, result.iou) == (32, 96, 32 / 96)
        assert result.record is record


@pytest.mark.parametrize(
    ("profile", "fit", "union"),
    [
        ("strict", "pad", 128),  # a perfect network has an IoU of 1
        ("strict", "stretch", 128),
        ("phrasecut", "pad", 18 * 10),  # a border of one pixel on every side
        ("phrasecut", "stretch", 18 * 8),  # the width was not resized
    ],
)
def test_known_overlap_at_twice_the_networks_size(finds_white, tmp_path, profile, fit, union):
    """A box of 16 x 8 in an image of 32 x 16, found by the network at half the size."""
    true = tiny.box(32, 16, 8, 4, 24, 12)
    record = shown(tmp_path, "half", true, true)
    (result,) = evaluate(finds_white, tiny.vocabulary(), [record], profile, fit=fit)
    assert (result.intersection, result.union) == (128, union)


def test_what_is_found_in_the_padding_does_not_count(finds_white, tmp_path):
    logits = np.full((S, S), 5.0)
    logits[:, 4:12] = -5.0  # the image, 32 x 16, between its padding
    logits[4:8, 6:10] = 5.0
    record = shown(tmp_path, "padding", *2 * [tiny.box(32, 16, 8, 4, 16, 12)])
    assert score(record, logits, "strict").iou == 1.0
    # The authors' rule lets the padding's edge in: a column of one pixel on either side.
    assert score(record, logits, "phrasecut").union == 10 * 10 + 2 * 32


def literal_taps(place, new_length, length):
    """Weights of the old places in a new one: bilinear, half-pixel centres."""
    centre = np.clip((place + 0.5) * length / new_length - 0.5, 0, length - 1)
    return np.maximum(0, 1 - np.abs(centre - np.arange(length)))


def literal_resize(array, height, width):
    rows = np.array([literal_taps(y, height, array.shape[0]) for y in range(height)])
    columns = np.array([literal_taps(x, width, array.shape[1]) for x in range(width)])
    return rows @ array @ columns.T


@pytest.mark.parametrize("size", [(37, 20), (9, 30), (16, 16), (5, 5), (100, 70)])
def test_masks_follow_their_definitions(size):
    """Random logits, sizes that do not divide: probabilities or the 0/1 map, resized by the book."""
    height, width = size
    logits = np.random.default_rng(2).normal(size=(S, S))
    scale = min(S / height, S / width)
    inner = round(height * scale), round(width * scale)
    top, left = ((S - x) // 2 for x in inner)
    probability = 1 / (1 + np.exp(-logits))
    inside = probability[top : top + inner[0], left : left + inner[1]]
    for fit, part in (("pad", inside), ("stretch", probability)):
        wanted = literal_resize(part, *size)
        mask = strict_mask(logits, size, fit)
        assert mask.dtype == bool and mask.shape == size
        clear = np.abs(wanted - 0.5) > 1e-6
        np.testing.assert_array_equal(mask[clear], wanted[clear] >= 0.5)

    found = (logits > 0).astype("float64")
    cover = round(S / scale)
    top, left = (cover - height) // 2, (cover - width) // 2
    covering = literal_resize(found, cover, cover)[top : top + height, left : left + width]
    for fit, wanted in (("pad", covering), ("stretch", literal_resize(found, *size))):
        mask = phrasecut_mask(logits, size, fit)
        assert mask.dtype == bool and mask.shape == size
        clear = (wanted == 0) | (wanted > 1e-6)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(mask[clear], wanted[clear] > 0)


def test_thresholds_of_the_profiles():
    """strict: probability 0.5 and more; phrasecut: logit 1e-9 and more."""
    logits = np.array([[-1e-3, 0.0], [1e-10, 2e-9]])
    assert strict_mask(logits, (2, 2), "pad").tolist() == [[False, True], [True, True]]
    assert phrasecut_mask(logits, (2, 2), "pad").tolist() == [[False, False], [False, True]]


def test_logits_of_any_size_make_masks():
    logits = np.array([[-1e30, 1e30], [-np.inf, np.inf]], "float32")
    for profile in PROFILES.values():
        assert profile.to_mask(logits, (2, 2), "pad").tolist() == [[False, True]] * 2


# --- from masks to numbers


def test_precision_counts_above_or_from_the_threshold():
    """IoUs of exactly 0.5, 0.6, ..., 1: the paper counts those above X, its code those from X on."""
    scores = [Score(None, tenths, 10) for tenths in (5, 6, 7, 8, 9, 10)]
    strict, phrasecut = summarize(scores, "strict"), summarize(scores, "phrasecut")
    for above, x in zip((5, 4, 3, 2, 1), (0.5, 0.6, 0.7, 0.8, 0.9)):
        assert strict[f"prec@{x}"] == above / 6
        assert phrasecut[f"prec@{x}"] == (above + 1) / 6
    assert strict["overall_iou"] == phrasecut["overall_iou"] == 45 / 60


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


def test_nothing_found_is_an_iou_of_zero(finds_white, tmp_path):
    record = shown(tmp_path, "none", tiny.box(S, S, 0, 0, 0, 0), tiny.box(S, S, 4, 4, 8, 8))
    for profile in PROFILES:
        (result,) = evaluate(finds_white, tiny.vocabulary(), [record], profile)
        assert (result.intersection, result.union) == (0, 16)


def test_results_by_kind():
    def of_kind(kind, intersection):
        return Score(tiny.record("x.png", tiny.box(4, 4, 0, 0, 2, 2), kind=kind), intersection, 10)

    scores = [of_kind("place", 2), of_kind("place", 4), of_kind("", 10), of_kind("colour", 9)]
    by_kind = summarize_by_kind(scores)
    assert list(by_kind) == ["colour", "place"]
    assert by_kind["place"] == summarize(scores[:2])
    assert by_kind["colour"]["samples"] == 1


# --- a model over records


def test_every_expression_counts_once_in_order_whatever_the_batch_size(finds_white, tmp_path):
    rng = np.random.default_rng(0)
    true = tiny.box(S, S, 4, 4, 12, 12)
    found = [np.where(rng.random((S, S)) < k / 6, true, 0).astype("uint8") for k in range(1, 6)]
    records = [shown(tmp_path, f"{i}", x, true) for i, x in enumerate(found)]
    records.append(records[1])  # a second sentence about the same object
    wanted = [(x.sum(), 64) for x in [*found, found[1]]]
    for batch_size in (1, 4, 8):
        scores = evaluate(finds_white, tiny.vocabulary(), records, batch_size=batch_size)
        assert [(s.intersection, s.union) for s in scores] == wanted
        assert [s.record for s in scores] == records


def test_bad_arguments_of_evaluate(finds_white, tmp_path):
    from keras_cmsa.text import Vocabulary

    record = shown(tmp_path, "one", *2 * [tiny.box(S, S, 4, 4, 8, 8)])
    with pytest.raises(ValueError, match=r"\['phrasecut', 'strict'\]. Received: 'loose'"):
        evaluate(finds_white, tiny.vocabulary(), [record], "loose")
    with pytest.raises(ValueError, match="the split is empty"):
        evaluate(finds_white, tiny.vocabulary(), [])
    with pytest.raises(ValueError, match=f"takes {tiny.WORDS} words.* max_words=20"):
        evaluate(finds_white, Vocabulary(["box"]), [record])
    with pytest.raises(ValueError, match=r"tables of \[10\] rows. Received: a vocabulary of 3 "):
        evaluate(tiny.model(), Vocabulary(["box"], tiny.WORDS), [record])
    record.image_path.unlink()
    with pytest.raises(FileNotFoundError, match=r"one\.png"):
        evaluate(finds_white, tiny.vocabulary(), [record])


# --- what is written


def test_written_results(tmp_path):
    awkward = 'the "left" one,\nwith ünïcode'
    mask = tiny.box(4, 4, 0, 0, 2, 2)
    records = [
        tiny.record("a/1.png", mask, awkward, number=7, kind="place"),
        tiny.record("b/2.png", mask, "plain", number=8),
    ]
    scores = {
        "val": [Score(records[0], 1, 3), Score(records[1], 6, 10)],
        "testA": [Score(records[1], 5, 10)],
    }
    returned = write_results(tmp_path, "phrasecut", "random (seed 0)", scores)

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == returned
    assert metrics["profile"] == "phrasecut"
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
    assert list(metrics["kinds"]["val"]) == ["place"]

    with open(tmp_path / "scores_val.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["expression"] for row in rows] == [awkward, "plain"]
    assert [(row["image"], row["ref_id"], row["kind"]) for row in rows] == [
        ("1.png", "7", "place"),
        ("2.png", "8", ""),
    ]
    assert [float(row["iou"]) for row in rows] == pytest.approx([1 / 3, 0.6], abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.json",
        "scores_testA.csv",
        "scores_val.csv",
    ]


def test_results_are_whole_numbers_and_numbers_of_json(tmp_path):
    """No NaN and nothing of NumPy's: `metrics.json` is read by other programs."""
    write_results(
        tmp_path, "strict", "none", {"val": [Score(tiny.record("a.png", np.eye(3)), 0, 0)]}
    )

    def refuse(constant):
        raise AssertionError(constant)

    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert all(math.isfinite(value) for value in metrics["splits"]["val"].values())


# --- pictures


def test_examples_show_what_evaluation_counts(seeded, tmp_path):
    """The same masks and IoUs, at the original size, and a sheet with any expression on it."""
    from keras_cmsa.predictor import Predictor
    from keras_cmsa.visualize import draw_examples, find_examples, overlay

    records = tiny.records(tmp_path, 3)
    path = records[2].image_path
    records[2] = tiny.record(path, records[2].mask(), r"the $\box$ on_the ^left $ {")
    model = tiny.model()
    examples = find_examples(Predictor(model, tiny.vocabulary()), records)
    scores = evaluate(model, tiny.vocabulary(), records)
    for example, result in zip(examples, scores):
        assert example.iou == result.iou
        assert example.image.shape[:2] == example.found.shape == example.true.shape
        assert np.sum(example.true & example.found) == result.intersection
        prediction = example.prediction
        assert example.levels == ["Res3", "Res4", "Res5"]
        assert prediction.word_attention.shape == (3, len(prediction.tokens))
        np.testing.assert_allclose(prediction.word_attention.sum(axis=1), 1, atol=1e-5)
    assert examples[2].prediction.tokens == ["the", "box", "on", "the", "left"]

    without = [dataclasses.replace(example, levels=[]) for example in examples]
    draw_examples(tmp_path / "without_attention.png", without)
    draw_examples(tmp_path / "sheet.png", examples)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100
    narrower = np.asarray(Image.open(tmp_path / "without_attention.png").convert("RGB"))
    assert narrower.shape[1] < sheet.shape[1]

    painted = overlay(np.full((2, 2, 3), 100, "uint8"), np.eye(2, dtype=bool), (200, 0, 100), 0.5)
    assert painted.tolist() == [
        [[150, 50, 100], [75, 75, 75]],
        [[75, 75, 75], [150, 50, 100]],
    ]
