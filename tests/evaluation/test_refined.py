"""Scores without and with DenseCRF in one pass: each as if made alone."""

import numpy as np
import pytest
import tiny

from keras_cmsa.evaluation.crf import refine
from keras_cmsa.evaluation.scores import score_mask
from keras_cmsa.inference.masks import MaskRule

pytest.importorskip("pydensecrf", reason='pip install "keras-cmsa[crf]"')


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    images = tiny.records(tmp_path_factory.mktemp("records"), 3)
    return tiny.several_of_each(images, [2, 1, 2])


@pytest.mark.parametrize(("size", "profile"), [("network", "tf_phrasecut"), ("original", "strict")])
def test_side_by_side_is_one_by_one(predictor, records, size, profile, monkeypatch):
    from keras_cmsa.data.samples import read_pixels
    from keras_cmsa.evaluation import refined as module
    from keras_cmsa.evaluation.evaluate import evaluate, logits_of

    model, preprocessor = predictor.model, predictor.preprocessor
    monkeypatch.setattr(module, "PENDING_PER_PROCESS", 1)  # so that some are collected on the way
    plain, refined = module.evaluate_refined(model, preprocessor, records, profile, size)
    assert plain == evaluate(model, preprocessor, records, profile)
    rule = MaskRule(profile, refine, size)
    assert len(refined) == len(records)
    for i, _, logits in logits_of(model, preprocessor, records):
        mask = rule(read_pixels(records[i])[0], logits, preprocessor)
        assert refined[i] == score_mask(records[i], mask)
    assert np.any([x != y for x, y in zip(plain, refined)])


def test_bad_arguments(predictor, records):
    from keras_cmsa.evaluation.refined import evaluate_refined

    model, preprocessor = predictor.model, predictor.preprocessor
    with pytest.raises(ValueError, match=r"\('network', 'original'\). Received: 'big'"):
        evaluate_refined(model, preprocessor, records, size="big")
    with pytest.raises(ValueError, match="profile must be one of"):
        evaluate_refined(model, preprocessor, records, "loose")
