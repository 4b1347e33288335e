"""Scores without and with DenseCRF in one pass: each as if made alone."""

import pytest
import tiny

from keras_cmsa.evaluation import refined as module
from keras_cmsa.evaluation.crf import refine
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.scores import score_mask
from keras_cmsa.inference.masks import MaskRule

pytest.importorskip("pydensecrf", reason='pip install "keras-cmsa[crf]"')


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    images = tiny.records(tmp_path_factory.mktemp("records"), 3)
    return tiny.several_of_each(images, [2, 1, 2])


@pytest.mark.parametrize(("size", "profile"), [("network", "tf_phrasecut"), ("original", "strict")])
def test_side_by_side_is_one_by_one(predictor, records, size, profile, monkeypatch):
    monkeypatch.setattr(module, "PENDING_PER_PROCESS", 0)  # so that some are collected on the way
    with module.Refined(size) as refined:
        scores = evaluate(predictor, records, [refined], profile)
    assert scores == evaluate(predictor, records, profile=profile)
    rule = MaskRule(profile, refine, size)
    assert len(refined.scores) == len(records)
    for record, score in zip(records, refined.scores):
        pixels = record.image()
        mask = predictor(pixels, record.expression).mask_by(rule, pixels)
        assert score == score_mask(record, mask)
    assert scores != refined.scores


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"\('network', 'original'\). Received: 'big'"):
        module.Refined("big")
