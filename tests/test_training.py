"""Training: loss, decay and schedule by their definitions, and runs that end as if never killed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import literal
import numpy as np
import pytest
import tiny

pytestmark = pytest.mark.keras

# Rounds of 3, 3 and 1 steps, over passes of 3 and a third batches.
STEPS, BATCH, ROUND, TRAINING, VALIDATION = 7, 3, 3, 10, 4
RATE = 0.02


def to_numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def compiled_model(keras, seed=7, learning_rate=RATE):
    from keras_cmsa.training import compile_model

    keras.utils.set_random_seed(seed)
    model = tiny.model()
    compile_model(model, STEPS, learning_rate)
    return model


def train(model, scenes, run_dir, **options):
    from keras_cmsa import training

    training_records, validation = scenes[:TRAINING], scenes[TRAINING:]
    arguments = {"steps": STEPS, "batch_size": BATCH, "steps_per_round": ROUND, "verbose": 0}
    return training.train(
        model, tiny.vocabulary(), training_records, validation, run_dir, **{**arguments, **options}
    )


def history(run_dir):
    with open(run_dir / "history.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return {v.path: to_numpy(v.value) for v in variables if "metric" not in v.path}


def assert_same_run(model, run_dir, other, other_dir):
    """Weights, statistics, optimizer and history."""
    ours, theirs = state(model), state(other)
    assert len(ours) == len(theirs) > 60
    for (path, value), wanted in zip(ours.items(), theirs.values()):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6, err_msg=path)
    rows, wanted_rows = history(run_dir), history(other_dir)
    assert len(rows) == len(wanted_rows)
    for row, wanted in zip(rows, wanted_rows):
        assert row == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return tiny.records(tmp_path_factory.mktemp("scenes"), TRAINING + VALIDATION)


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """A run that nothing interrupted: its model and folder."""
    import keras

    run_dir = tmp_path_factory.mktemp("whole") / "run"
    model = compiled_model(keras)
    train(model, scenes, run_dir)
    return model, run_dir


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the whole run's folder."""
    return Path(shutil.copytree(whole[1], tmp_path / "copy"))


# --- loss, decay, schedule


def test_loss_is_equation_7(seeded):
    model = compiled_model(seeded)
    rng = np.random.default_rng(0)
    shape = (3, tiny.SIZE, tiny.SIZE, 1)
    mask = (rng.random(shape) < 0.4).astype("float32")
    logits = rng.normal(scale=3, size=shape).astype("float32")
    loss = float(model.compute_loss(y=mask, y_pred=seeded.ops.convert_to_tensor(logits)))
    wanted = literal.cross_entropy(mask, literal.sigmoid(logits.astype("float64")))
    assert loss == pytest.approx(wanted, rel=1e-6)
    far = np.where(mask > 0, 1e4, -1e4).astype("float32")
    for sign, wanted in ((1, 0.0), (-1, 1e4)):
        far_loss = model.compute_loss(y=mask, y_pred=seeded.ops.convert_to_tensor(sign * far))
        assert float(far_loss) == pytest.approx(wanted)


def test_weight_decay_is_decoupled_and_of_kernels_only(seeded):
    """A step without a gradient shrinks kernels by rate * decay and leaves all else as it is."""
    from keras_cmsa.training import compile_model

    model = tiny.model(word_positions=True)
    for weight in model.trainable_weights:
        weight.assign(np.ones(weight.shape))
    compile_model(model, steps=10, learning_rate=0.1, weight_decay=0.25)
    weights = model.trainable_weights
    model.optimizer.apply([seeded.ops.zeros_like(w) for w in weights], weights)
    after = {w.path: to_numpy(w.value) for w in weights}
    left_alone = {path for path in after if path.endswith(("bias", "gamma", "beta", "embeddings"))}
    left_alone.add("word_positions/vectors")
    assert len(left_alone) > 10 and len(after) - len(left_alone) > 20
    for path, value in after.items():
        wanted = 1.0 if path in left_alone else 1 - 0.1 * 0.25
        np.testing.assert_allclose(value, wanted, rtol=1e-6, err_msg=path)


def test_schedule_and_defaults_are_the_papers(seeded):
    from keras_cmsa.training import compile_model

    model = tiny.model()
    compile_model(model, steps=1000)
    optimizer = model.optimizer
    assert type(optimizer) is seeded.optimizers.AdamW
    assert optimizer.weight_decay == 5e-4
    for step in (0, 1, 500, 999, 1000, 5000):
        optimizer.iterations.assign(step)
        wanted = 1e-5 + (2.5e-4 - 1e-5) * (1 - min(step, 1000) / 1000) ** 0.9
        assert float(optimizer.learning_rate) == pytest.approx(wanted, rel=1e-4)


# --- a run


def test_a_run_takes_the_steps_asked_for(whole):
    """Also when they are no whole number of rounds."""
    model, run_dir = whole
    assert int(model.optimizer.iterations) == STEPS
    rows = history(run_dir)
    assert [row["round"] for row in rows] == [1, 2, 3]
    rates = [1e-5 + (RATE - 1e-5) * (1 - step / STEPS) ** 0.9 for step in (3, 6, 7)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates, rel=1e-4)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {"overall_iou", "val_overall_iou", "val_mean_iou", "val_prec@0.5"} < set(rows[0])
    progress = json.loads((run_dir / "checkpoint/progress.json").read_text())
    assert progress["rounds"] == 3


def test_the_model_kept_is_the_best_on_validation(seeded, whole, scenes):
    """Its overall IoU, counted afresh in NumPy, is the highest of the history."""
    from keras_cmsa.data.pipeline import RecordBatches

    _, run_dir = whole
    best = seeded.saving.load_model(run_dir / "model.keras")
    inputs, masks = RecordBatches(scenes[TRAINING:], tiny.vocabulary(), tiny.SIZE, VALIDATION)[0]
    found = to_numpy(best(inputs, training=False)) > 0
    iou = np.sum(found & (masks > 0)) / np.sum(found | (masks > 0))
    values = [row["val_overall_iou"] for row in history(run_dir)]
    assert iou == pytest.approx(max(values), rel=1e-5)
    assert min(values) < max(values)


def test_what_a_run_leaves(whole):
    from keras_cmsa.text import Vocabulary

    _, run_dir = whole
    assert Vocabulary.load(run_dir / "vocabulary.txt", tiny.WORDS) == tiny.vocabulary()
    files = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    assert {file for file in files if not file.startswith("tensorboard")} == {
        "model.keras",
        "vocabulary.txt",
        "history.csv",
        "checkpoint/progress.json",
        "checkpoint/round-00003.weights.h5",
    }


def test_tensorboard_has_measures_and_example_masks(whole):
    pytest.importorskip("tensorflow")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, run_dir = whole
    tags = {}
    for folder in ("train", "validation", "examples"):
        events = EventAccumulator(str(run_dir / "tensorboard" / folder))
        events.Reload()
        tags[folder] = {event.step for tag in events.Tags()["tensors"] for event in events.Tensors(tag)}
        names = events.Tags()["tensors"]
        assert ("validation" if folder == "examples" else "epoch_overall_iou") in names
    assert set(tags) == {"train", "validation", "examples"}
    assert all({0, 1, 2} <= steps for steps in tags.values())


# --- killed and resumed


def test_a_killed_run_goes_on_as_if_nothing_had_happened(seeded, whole, scenes, tmp_path, capsys):
    """SIGKILL in the middle of the second round, then another process."""
    run_dir = tmp_path / "run"
    script = f"""
import os, signal, keras
from keras_cmsa import training
import test_training, tiny

before = training.StopOnNaN.on_train_batch_end
def kill_at_step_5(self, batch, logs=None):
    before(self, batch, logs)
    if self.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

training.StopOnNaN.on_train_batch_end = kill_at_step_5
scenes = tiny.records({str(scenes[0].image_path.parent)!r}, {TRAINING + VALIDATION})
test_training.train(test_training.compiled_model(keras), scenes, {str(run_dir)!r})
"""
    killed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env={**os.environ, "KERAS_BACKEND": seeded.backend.backend()},
        stderr=subprocess.PIPE,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(history(run_dir)) == 1

    model = compiled_model(seeded, seed=99)
    best = train(model, scenes, run_dir, resume=True)
    assert f"Resuming {run_dir} at step 3 (round 1), best val_overall_iou" in capsys.readouterr().out
    assert best == run_dir / "model.keras"
    assert_same_run(model, run_dir, *whole)


def test_a_run_killed_in_its_first_round_starts_again(
    seeded, whole, scenes, tmp_path, monkeypatch, capsys
):
    from keras_cmsa import training

    def interrupt(*_):
        raise KeyboardInterrupt

    run_dir = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.StopOnNaN, "on_train_batch_end", interrupt)
        train(compiled_model(seeded), scenes, run_dir)
    model = compiled_model(seeded)
    train(model, scenes, run_dir, resume=True)
    assert f"Nothing to resume in {run_dir}: starting at step 0" in capsys.readouterr().out
    assert_same_run(model, run_dir, *whole)


def test_what_a_kill_leaves_half_written_does_not_matter(seeded, whole, scenes, copy, capsys):
    """Killed while saving: the state that counts is the one that progress.json names."""
    checkpoint = copy / "checkpoint"
    for name in ("round-00009.weights.h5", "round-00004.weights.h5", "progress.json.partial"):
        (checkpoint / name).write_bytes(b"half")
    (copy / "partial-model.keras").write_bytes(b"half")
    (copy / "history.csv.partial").write_bytes(b"half")
    with open(copy / "history.csv", "a") as file:
        file.write(file_line_of_a_round_not_saved(copy))
    model = compiled_model(seeded, seed=99)
    train(model, scenes, copy, resume=True)
    assert "at step 7 (round 3)" in capsys.readouterr().out
    assert {k: v.tolist() for k, v in state(model).items()} == {
        k: v.tolist() for k, v in state(whole[0]).items()
    }


def file_line_of_a_round_not_saved(run_dir):
    last = (run_dir / "history.csv").read_text().splitlines()[-1]
    return last.replace("3,", "4,", 1) + "\n"


def test_a_finished_run_is_left_as_it_is(seeded, scenes, copy):
    def contents():
        return {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    before = contents()
    assert train(compiled_model(seeded), scenes, copy, resume=True) == copy / "model.keras"
    assert contents() == before


def test_a_run_is_not_overwritten(seeded, scenes, copy):
    before = sorted(path.stat().st_mtime_ns for path in copy.rglob("*"))
    with pytest.raises(FileExistsError, match="holds a training run already: give --resume"):
        train(compiled_model(seeded), scenes, copy)
    assert sorted(path.stat().st_mtime_ns for path in copy.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 9}, "'steps': 7,.* Received: .*'steps': 9"),
        ({"steps_per_round": 2}, "'steps_per_round': 3.* Received: .*'steps_per_round': 2"),
        ({"batch_size": 2}, "'batch_size': 3.* Received: .*'batch_size': 2"),
        ({"seed": 1}, "'seed': 0.* Received: .*'seed': 1"),
        ({"fit": "stretch"}, "'fit': 'pad'.* Received: .*'fit': 'stretch'"),
    ],
)
def test_a_run_goes_on_with_its_own_settings_only(seeded, scenes, copy, change, message):
    with pytest.raises(ValueError, match=message):
        train(compiled_model(seeded), scenes, copy, resume=True, **change)


def test_a_run_goes_on_with_its_own_words_and_model_only(seeded, scenes, copy):
    from keras_cmsa import training
    from keras_cmsa.text import Vocabulary

    words = tiny.vocabulary().words[2:]
    other = Vocabulary([*words[1:], words[0]], tiny.WORDS)
    arguments = (scenes[:TRAINING], scenes[TRAINING:], copy, STEPS, BATCH, ROUND)
    with pytest.raises(ValueError, match="has another vocabulary"):
        training.train(compiled_model(seeded), other, *arguments, resume=True)
    assert Vocabulary.load(copy / "vocabulary.txt", tiny.WORDS) == tiny.vocabulary()

    wider = tiny.model(attention_dim=6)
    training.compile_model(wider, STEPS)
    with pytest.raises(ValueError, match=r"shape"):
        training.train(wider, tiny.vocabulary(), *arguments, resume=True)


# --- no number


def test_a_loss_that_is_no_number_names_its_batch(seeded, scenes, tmp_path):
    """The word "blue" is poisoned: training stops at the first batch that has it."""
    from keras_cmsa.data.pipeline import SampleOrder

    order = SampleOrder(TRAINING, 3)
    batches = [[scenes[i] for i in order[k : k + BATCH]] for k in range(0, STEPS * BATCH, BATCH)]
    blue = [any("blue" in record.expression for record in batch) for batch in batches]
    step = blue.index(True)
    assert step == 1  # not the first batch
    model = compiled_model(seeded)
    table = model.get_layer("word_vectors").embeddings
    values = to_numpy(table).copy()
    values[tiny.vocabulary().words.index("blue")] = np.nan
    table.assign(values)
    with pytest.raises(FloatingPointError, match=f"The loss is nan at step {step}") as error:
        train(model, scenes, tmp_path / "run", seed=3)
    named = str(error.value).split("The batch was:\n")[1].splitlines()
    assert [line.strip() for line in named] == [record.describe() for record in batches[step]]


def test_weights_that_are_no_numbers_are_not_saved(seeded, scenes, tmp_path):
    """The loss is finite in the last step of a round, but its update is not."""
    model = compiled_model(seeded, learning_rate=1e38)
    with pytest.raises(FloatingPointError, match=r"at step 0\. The last checkpoint is unharmed"):
        train(model, scenes, tmp_path / "run", steps_per_round=1)
    assert not (tmp_path / "run/checkpoint").exists()
    assert not (tmp_path / "run/model.keras").exists()
