"""The refit of `exists`: a logistic regression near trained weights, and a threshold."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tiny

from keras_cmsa import Predictor, Settings, compile_model, load_preset, train
from keras_cmsa.data.negatives import Negatives
from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.models.existence import SCORE
from keras_cmsa.presets.preset import Preset, save_preset
from keras_cmsa.training import refit as module


def test_the_layer_fits_the_sentences_and_stays_near_what_was_trained(rng):
    features = rng.normal(size=(400, 3))
    exists = features @ [2.0, -1.0, 0.0] + rng.logistic(size=400) > 0.5
    weights = module.fitted(features, exists, np.zeros(4))
    right = (features @ weights[:-1] + weights[-1] > 0) == exists
    assert right.mean() > 0.75 and weights[0] > 1 and weights[1] < -0.5
    few = module.fitted(features[:2], np.array([True, False]), np.array([5.0, 5, 5, 5]))
    assert np.abs(few - 5).max() < 1

    # At the minimum the slope is 0: by differences, not by the formula that found it.
    shares = np.where(exists, 0.5 / exists.sum(), 0.5 / (~exists).sum()) * 400

    def loss(w):
        margins = np.where(exists, 1, -1) * (features @ w[:-1] + w[-1])
        return shares @ np.log1p(np.exp(-margins)) + module.RIDGE / 2 * w @ w

    for step in np.eye(4) * 1e-4:
        assert abs(loss(weights + step) - loss(weights - step)) / 2e-4 < 0.05


def test_the_threshold_accepts_nineteen_of_twenty(rng):
    present = rng.random(200)
    threshold = module.threshold_of(present)
    assert (present >= threshold).sum() == 190 and threshold in present
    assert module.threshold_of(np.arange(20.0)) == 1


def test_folds_are_of_images_and_not_of_places_in_a_row(rng):
    """Rows of four sentences and one negative: each fold has both kinds, whatever its size is."""
    images, exists = np.repeat(np.arange(20), 5), np.tile([True] * 4 + [False], 20)
    features = np.where(exists[:, None], 1.0, -1.0) + 0.1 * rng.normal(size=(100, 2))
    forgetful = np.array([0.0, 0.0, 9.0])  # says that all is there
    answers = module.folded_answers(features, exists, images, forgetful)
    assert answers[exists].min() > answers[~exists].max()


def test_sentences_of_an_image_are_of_one_fold_though_they_stand_in_several_rows(seeded, tmp_path):
    records = tiny.several_of_each(tiny.records(tmp_path, 3), [5, 1, 2])
    batches = RecordBatches(records, tiny.preprocessor(), 2, 2, negatives=Negatives(records, 0))
    _, exists, images = module.held_out_features(tiny.model(existence=True), batches)
    assert exists.all() and sorted(np.bincount(images)) == [1, 2, 5]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A preset with `exists`, its batches of held-out records, and these."""
    folder = tmp_path_factory.mktemp("refit")
    keras.utils.set_random_seed(0)
    records, preprocessor = tiny.records(folder, 12), tiny.preprocessor()
    save_preset(folder / "run", Preset(tiny.model(existence=True), preprocessor))
    return folder, records, RecordBatches(records, preprocessor, 4, negatives=Negatives(records, 1))


def test_a_run_gets_the_layer_the_threshold_and_the_curve(run, tmp_path):
    folder, records, batches = run
    shutil.copytree(folder / "run", tmp_path / "run")
    before = Predictor.from_preset(tmp_path / "run")
    module.refit(tmp_path / "run", batches)
    after = Predictor.from_preset(tmp_path / "run")
    facts = json.loads((tmp_path / "run/config.json").read_text())["existence"]
    assert facts["sentences"]["present"] == 12 and facts["sentences"]["absent"] > 0
    assert after.threshold == facts["threshold"]
    for threshold, refused, accepted in facts["curve"]:
        assert 0 <= refused <= 1 and (accepted >= 0.95 or threshold > facts["threshold"])
    old, new = (p.model.get_layer(SCORE).get_weights()[0] for p in (before, after))
    assert np.abs(old - new).max() > 1e-4
    # All else is as it was.
    one, other = (p(records[0].image(), "red box") for p in (before, after))
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
    assert "Whether anything fits" in (tmp_path / "run/README.md").read_text()


def test_a_kill_between_the_layer_and_the_threshold_changes_nothing(run, tmp_path, monkeypatch):
    """The run is without a threshold then, and gets on resuming what it would have had."""
    folder, _, batches = run
    whole, killed = (shutil.copytree(folder / "run", tmp_path / name) for name in ("a", "b"))
    module.refit(whole, batches)
    save = module.save_model

    def kill(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "save_model", kill)
        module.refit(killed, batches)
    assert "existence" not in load_preset(killed).config
    module.refit(killed, batches)
    wanted, found = load_preset(whole), load_preset(killed)
    assert found.config.keys() == wanted.config.keys()
    thresholds = [preset.config["existence"]["threshold"] for preset in (found, wanted)]
    np.testing.assert_allclose(*thresholds, atol=1e-5)
    for one, other in zip(found.model.get_weights(), wanted.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_sentences_of_one_kind_leave_the_layer_as_it_is(run, tmp_path):
    folder, records, _ = run
    shutil.copytree(folder / "run", tmp_path / "run")
    absent = [replace(record, targets=0) for record in records]
    none = RecordBatches(absent, tiny.preprocessor(), 4, negatives=Negatives(absent, 0))
    before = load_preset(tmp_path / "run").model.get_layer(SCORE).get_weights()
    module.refit(tmp_path / "run", none, threshold=0.3)
    after = load_preset(tmp_path / "run")
    np.testing.assert_array_equal(before[0], after.model.get_layer(SCORE).get_weights()[0])
    assert after.config["existence"]["threshold"] == 0.3


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("has_features", [False, True])
def test_a_training_learns_it_and_ends_with_the_refit(tmp_path, has_features):
    keras.utils.set_random_seed(0)
    records = tiny.records(tmp_path, 8)
    model = tiny.model(existence=True)
    model.get_layer("backbone").trainable = False
    of_features = {"features": str(tmp_path / "maps"), "map_dropout": 0.3, "augment": True}
    options = {**of_features, "start_from": "x"} if has_features else {}
    settings = Settings(
        steps=2, steps_per_round=2, batch_size=4, run_dir=str(tmp_path / "run"), **options
    )
    compile_model(model, settings)
    preset = Preset(model, tiny.preprocessor(), {})
    train(preset, records, records[:4], settings, verbose=0)
    predictor = Predictor.from_preset(tmp_path / "run")
    prediction = predictor(records[0].image(), "red box")
    assert prediction.exists == (prediction.existence >= predictor.threshold)
    assert prediction.exists or not prediction.mask.any()
    history = (tmp_path / "run/history.csv").read_text()
    assert "val_exists_auc" in history and "val_logits_overall_iou" in history
