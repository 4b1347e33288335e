"""Training: decay and schedule by their definitions, runs that end as if never killed."""

import importlib.util
import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import trainee as trainees
from trainee import RATE, STEPS, TRAINING, VALIDATION, history, settings, train

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.preprocessing.vocabulary_files import load_vocabulary
from keras_cmsa.presets.preset import Preset, load_preset
from keras_cmsa.training import callbacks, loop
from keras_cmsa.training.run import precision

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return tiny.records(tmp_path_factory.mktemp("scenes"), TRAINING + VALIDATION)


@pytest.fixture(scope="module")
def trainee():
    return trainees.Trainee()


@pytest.fixture(scope="module")
def whole(trainee, scenes, tmp_path_factory):
    """A run that nothing interrupted: its folder, and the state it ended in."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    train(trainee.restart(), scenes, run_dir)
    return run_dir, trainee.state()


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the whole run's folder."""
    return Path(shutil.copytree(whole[0], tmp_path / "copy"))


def assert_same_run(trainee, run_dir, whole):
    """Weights, statistics, optimizer and history."""
    whole_dir, state = whole
    assert len(state) > 90
    for variable, value, wanted in zip(trainee.variables, trainee.state(), state):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6, err_msg=variable.path)
    rows, wanted_rows = history(run_dir), history(whole_dir)
    assert len(rows) == len(wanted_rows)
    for row, wanted in zip(rows, wanted_rows):
        assert row == pytest.approx(wanted, rel=1e-5, abs=1e-6)


# --- a run


def test_a_run_takes_the_steps_asked_for(trainee, whole):
    """Also when they are no whole number of rounds."""
    run_dir, state = whole
    iterations = [v.path for v in trainee.variables].index(trainee.model.optimizer.iterations.path)
    assert state[iterations] == STEPS
    rows = history(run_dir)
    assert [row["round"] for row in rows] == [1, 2, 3]
    rates = [1e-5 + (RATE - 1e-5) * (1 - step / STEPS) ** 0.9 for step in (3, 6, 7)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates, rel=1e-4)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {"overall_iou", "val_overall_iou", "val_mean_iou", "val_prec@0.5"} < set(rows[0])
    progress = json.loads((run_dir / "checkpoint/progress.json").read_text())
    assert progress["rounds"] == 3


def test_the_model_kept_is_the_best_on_validation(whole, scenes):
    """Its measures, counted afresh in NumPy, are those of the round with the highest overall IoU."""
    run_dir, _ = whole
    best, preprocessor, _ = load_preset(run_dir)
    inputs, masks, _ = RecordBatches(scenes[TRAINING:], preprocessor, VALIDATION)[0]
    found, true, axes = best.predict_on_batch(inputs) > 0, masks > 0, (-3, -2, -1)
    shared, all_pixels = np.sum(found & true, axis=axes), np.sum(found | true, axis=axes)
    ious = shared / all_pixels
    values = [row["val_overall_iou"] for row in history(run_dir)]
    best_round = history(run_dir)[int(np.argmax(values))]
    for name, wanted in (
        ("overall_iou", shared.sum() / all_pixels.sum()),
        ("mean_iou", ious.mean()),
        ("prec@0.5", np.mean(ious > 0.5)),
    ):
        assert best_round[f"val_{name}"] == pytest.approx(wanted, rel=1e-5)
    assert min(values) < max(values)


def test_what_a_run_leaves(whole, scenes):
    """A preset with its preprocessor, what it was trained on, and what it needs to resume."""
    run_dir, _ = whole
    preset = load_preset(run_dir)
    assert preset.preprocessor.vocabulary == tiny.vocabulary()
    assert preset.preprocessor.get_config() == tiny.preprocessor().get_config()
    assert preset.config["system"] == "cmsa"
    assert preset.config["training"] == settings(run_dir).to_config()
    ids = [record.ref_id for record in scenes]
    assert preset.config["data"]["counts"] == {
        "train": {"refs": len(set(ids[:TRAINING])), "expressions": TRAINING, "images": TRAINING},
        "val": {"refs": VALIDATION, "expressions": VALIDATION, "images": VALIDATION},
    }
    files = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    boards = {file.split("/")[1] for file in files if file.startswith("tensorboard/")}
    if importlib.util.find_spec("tensorflow"):
        assert boards == {"train", "validation", "examples"}
    assert {file for file in files if not file.startswith("tensorboard")} == {
        "config.json",
        "model.keras",
        "vocabulary.txt",
        "README.md",
        "history.csv",
        ".lock",
        "checkpoint/progress.json",
        "checkpoint/round-00003.weights.h5",
    }


def test_what_is_known_of_a_run_is_of_its_own_model(seeded, scenes, tmp_path):
    """Not of the settings, where it goes on from a model, nor what that one was before."""
    with precision("bfloat16"):
        model = tiny.model()
    facts = {"metrics": {"profile": "strict"}, "export": {"x": 1}, "licence": "old", "note": "kept"}
    preset = Preset(model, tiny.preprocessor(), facts)
    config = loop.config_of_run(preset, scenes, scenes, settings(tmp_path))
    assert config["training"]["mixed_precision"] == "bfloat16"
    assert (config["metrics"], config["licence"], config["note"]) == ({}, "old", "kept")
    assert "export" not in config
    config = loop.config_of_run(preset, scenes, scenes, settings(tmp_path, licence="CC0"))
    assert config["licence"] == "CC0"


# --- killed and resumed


@pytest.mark.parametrize(
    ("last_step", "said"),
    [
        (1, "Nothing to resume in {}: starting at step 0"),
        (5, "Resuming {} at step 3 (round 1), best val_overall_iou"),
    ],
)
def test_a_run_that_ends_in_a_round_resumes_as_if_nothing_had_happened(
    trainee, whole, scenes, tmp_path, monkeypatch, capsys, last_step, said
):
    """In its first round and in its second. `test_distribution.py` kills processes."""
    before = callbacks.StopOnNaN.on_train_batch_end

    def end(self, batch, logs=None):
        before(self, batch, logs)
        if self.step == last_step:
            raise KeyboardInterrupt

    run_dir = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(callbacks.StopOnNaN, "on_train_batch_end", end)
        train(trainee.restart(), scenes, run_dir)
    model = trainee.restart() if last_step == 1 else trainee.scramble()
    assert train(model, scenes, run_dir, resume=True) == run_dir
    assert said.format(run_dir) in capsys.readouterr().out
    assert_same_run(trainee, run_dir, whole)


def test_a_finished_run_is_left_as_it_is(trainee, scenes, copy):
    """Resumed, it has nothing to do; anything else is refused."""

    def contents():
        return {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    before = contents()
    assert train(trainee.scramble(), scenes, copy, resume=True) == copy
    with pytest.raises(FileExistsError, match="holds a training run already: give `resume=True`"):
        train(trainee.restart(), scenes, copy)
    assert contents() == before


OTHER_WORDS = [tiny.vocabulary().words[-1], *tiny.vocabulary().words[2:-1]]


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"steps": 9, "seed": 1}, "seed was 5 and is 1; steps was 7 and is 9. Resume it"),
        ({"augment": True}, "augment was False and is True"),
        ({"facts": {"starting_weights": "ImageNet"}}, "starting_weights was 'unknown' and is 'Im"),
        ({"preprocessor": tiny.preprocessor("stretch")}, "resizing was 'pad' and is 'stretch'"),
        (
            {"preprocessor": Preprocessor(Vocabulary(OTHER_WORDS, tiny.WORDS), tiny.SIZE)},
            "vocabulary_sha256 was ",
        ),
    ],
    ids=["settings", "augmentation", "start", "resizing", "words"],
)
def test_a_run_is_resumed_with_its_own_settings_only(trainee, scenes, copy, changed, difference):
    with pytest.raises(ValueError, match=f"began with other settings: {difference}"):
        train(trainee.restart(), scenes, copy, resume=True, **changed)
    assert load_vocabulary(copy / "vocabulary.txt", tiny.WORDS) == tiny.vocabulary()


def test_a_run_is_resumed_with_its_own_records_only(trainee, scenes, copy):
    """Another sentence, or another order."""
    other = replace(scenes[0], expression="the blue box")
    for first_two in ([other, scenes[1]], [scenes[1], scenes[0]]):
        with pytest.raises(ValueError, match="records_sha256 was '[0-9a-f]{64}' and is "):
            train(trainee.restart(), [*first_two, *scenes[2:]], copy, resume=True)


def test_a_run_is_resumed_with_its_own_model_only(scenes, copy):
    frozen = tiny.model()
    frozen.get_layer("backbone").trainable = False
    loop.compile_model(frozen, settings(copy))
    with pytest.raises(ValueError, match="trainable_weights was [0-9]+ and is [0-9]+"):
        train(frozen, scenes, copy, resume=True)

    wider = tiny.model(attention_dim=6)
    loop.compile_model(wider, settings(copy))
    with (
        warnings.catch_warnings(),
        pytest.raises(ValueError, match=r"weights\.h5 is damaged, or of another model"),
    ):
        warnings.simplefilter("ignore")  # Keras names each container that does not fit
        train(wider, scenes, copy, resume=True)


# --- a folder is one run's


def test_a_folder_with_a_model_and_no_run_is_not_overwritten(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"somebody's")
    for resume in (False, True):
        with pytest.raises(FileExistsError, match="holds a trained model and no checkpoint"):
            loop.check_run_dir(tmp_path, resume)


def test_a_folder_without_a_run_is_free(tmp_path):
    """Empty, not there, or of a run that was killed while it saved its first round."""
    (tmp_path / "killed/checkpoint").mkdir(parents=True)
    (tmp_path / "killed/model.keras").write_bytes(b"")
    for resume in (False, True):
        for folder in (tmp_path, tmp_path / "new", tmp_path / "killed"):
            loop.check_run_dir(folder, resume)


# --- no data


def test_a_mask_that_cannot_be_read_is_the_error_that_names_it(trainee, scenes, tmp_path):
    """As `Record.mask` raises it, and not as TensorFlow wraps what its pipeline meets."""
    bad = replace(scenes[3], segmentation=[[1, 2, 3]])
    with pytest.raises(ValueError, match="bad polygon: ref 3, sentence 3") as error:
        train(trainee.restart(), [*scenes[:3], bad, *scenes[4:]], tmp_path / "run")
    assert type(error.value) is ValueError and str(error.value).count("\n") == 0


# --- no number


def test_weights_that_are_no_numbers_are_not_saved(trainee, scenes, tmp_path):
    """The loss is finite in the only step of a round, but its update is not."""
    model = trainee.restart()
    velocity = next(v for v in model.optimizer.variables if "score_kernel_velocity" in v.path)
    velocity.assign(np.full(velocity.shape, np.nan))
    with pytest.raises(FloatingPointError, match=r"at step 0\. The last checkpoint is unharmed"):
        train(model, scenes, tmp_path / "run", steps_per_round=1)
    assert not (tmp_path / "run/checkpoint").exists()
    assert not (tmp_path / "run/model.keras").exists()
