"""Training: loss, decay and schedule by their definitions, and runs that end as if never killed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import literal
import numpy as np
import pytest
import tiny

pytestmark = pytest.mark.keras

# Rounds of 3, 3 and 1 steps, over passes of 3 and a third batches.
STEPS, BATCH, ROUND, TRAINING, VALIDATION = 7, 3, 3, 10, 4
RATE = 0.05


def to_numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def compiled_model(keras):
    from keras_cmsa.training import compile_model

    keras.utils.set_random_seed(7)
    model = tiny.model(attention="word")  # the quickest to compile that has every kind of weight
    compile_model(model, STEPS, RATE)
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


class Trainee:
    """One model for all runs, which spares compiling it again for each, put back before each."""

    def __init__(self, model):
        self.model = model
        self.variables = [*model.variables, *model.optimizer.variables]
        self.start = self.state()

    def state(self):
        """Weights, statistics and the optimizer's variables."""
        return [to_numpy(v.value).copy() for v in self.variables]

    def restart(self):
        for variable, value in zip(self.variables, self.start):
            variable.assign(value)
        return self.model

    def scramble(self):
        """A model that has learnt something else, for resuming into."""
        rng = np.random.default_rng(0)
        for variable in self.variables:
            variable.assign(rng.integers(1, 5, variable.shape))
        return self.model


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return tiny.records(tmp_path_factory.mktemp("scenes"), TRAINING + VALIDATION)


@pytest.fixture(scope="module")
def trainee():
    import keras

    return Trainee(compiled_model(keras))


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
    assert len(state) > 100
    for variable, value, wanted in zip(trainee.variables, trainee.state(), state):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6, err_msg=variable.path)
    rows, wanted_rows = history(run_dir), history(whole_dir)
    assert len(rows) == len(wanted_rows)
    for row, wanted in zip(rows, wanted_rows):
        assert row == pytest.approx(wanted, rel=1e-5, abs=1e-6)


# --- loss, decay, schedule


def test_loss_is_equation_7(seeded, trainee):
    model = trainee.restart()
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


def test_dice_loss_is_added_per_sample(seeded):
    """Of a mask that is there, and of an empty one."""
    from keras_cmsa.losses import MaskLoss

    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 3, 3, 1)).astype("float32")
    mask = np.stack([np.eye(3), np.zeros((3, 3))])[..., None].astype("float32")
    wanted = []
    for y, p in zip(mask, literal.sigmoid(logits.astype("float64"))):
        dice = (2 * np.sum(p * y) + 1) / (np.sum(p) + np.sum(y) + 1)
        wanted.append(literal.cross_entropy(y, p) + 0.7 * (1 - dice))
    loss = float(MaskLoss(0.7)(mask, seeded.ops.convert_to_tensor(logits)))
    assert loss == pytest.approx(np.mean(wanted), rel=1e-6)


def test_weight_decay_is_decoupled_and_of_kernels_only(seeded):
    """A step without a gradient shrinks kernels by rate * decay and leaves all else as it is."""
    from keras_cmsa.training import compile_model

    model = tiny.model(word_positions=True)
    for weight in model.trainable_weights:
        weight.assign(np.ones(weight.shape))
    compile_model(model, steps=10, learning_rate=0.1, weight_decay=0.25)
    after = step_without_gradient(model)
    left_alone = {path for path in after if path.endswith(("bias", "gamma", "beta", "embeddings"))}
    left_alone.add("word_positions/vectors")
    assert len(left_alone) > 10 and len(after) - len(left_alone) > 20
    for path, value in after.items():
        wanted = 1.0 if path in left_alone else 1 - 0.1 * 0.25
        np.testing.assert_allclose(value, wanted, rtol=1e-6, err_msg=path)


def step_without_gradient(model):
    """Trainable weights after an update with gradients of 0: `{path: value}`."""
    import keras

    weights, optimizer = model.trainable_weights, model.optimizer
    nothing = [np.zeros(w.shape, "float32") for w in weights]
    if keras.backend.backend() == "jax":  # which would compile each operation for each shape
        import jax

        state = [[v.value for v in variables] for variables in (optimizer.variables, weights)]
        after, _ = jax.jit(optimizer.stateless_apply)(state[0], nothing, state[1])
    else:
        optimizer.apply([keras.ops.convert_to_tensor(x) for x in nothing], weights)
        after = [w.value for w in weights]
    return {w.path: to_numpy(value) for w, value in zip(weights, after)}


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


def test_the_model_kept_is_the_best_on_validation(seeded, whole, scenes):
    """Its overall IoU, counted afresh in NumPy, is the highest of the history."""
    from keras_cmsa.data.pipeline import RecordBatches

    run_dir, _ = whole
    best = seeded.saving.load_model(run_dir / "model.keras")
    inputs, masks = RecordBatches(scenes[TRAINING:], tiny.vocabulary(), tiny.SIZE, VALIDATION)[0]
    found = best.predict_on_batch(inputs) > 0
    iou = np.sum(found & (masks > 0)) / np.sum(found | (masks > 0))
    values = [row["val_overall_iou"] for row in history(run_dir)]
    assert iou == pytest.approx(max(values), rel=1e-5)
    assert min(values) < max(values)


def test_what_a_run_leaves(whole):
    from keras_cmsa.text import Vocabulary

    run_dir, _ = whole
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

    run_dir, _ = whole
    tags = {}
    for folder in ("train", "validation", "examples"):
        events = EventAccumulator(str(run_dir / "tensorboard" / folder))
        events.Reload()
        tags[folder] = {
            event.step for tag in events.Tags()["tensors"] for event in events.Tensors(tag)
        }
        names = events.Tags()["tensors"]
        assert ("validation" if folder == "examples" else "epoch_overall_iou") in names
    assert set(tags) == {"train", "validation", "examples"}
    assert all({0, 1, 2} <= steps for steps in tags.values())


# --- killed and resumed


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    seeded, trainee, whole, scenes, tmp_path, capsys
):
    """SIGKILL in the middle of the second round, and then another process."""
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
scenes = tiny.records({str(tmp_path)!r}, {TRAINING + VALIDATION})
test_training.train(test_training.compiled_model(keras), scenes, {str(run_dir)!r})
"""
    killed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env={**os.environ, "KERAS_BACKEND": seeded.backend.backend()},
        stderr=subprocess.PIPE,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(history(run_dir)) == 1

    best = train(trainee.scramble(), scenes, run_dir, resume=True)
    printed = capsys.readouterr().out
    assert f"Resuming {run_dir} at step 3 (round 1), best val_overall_iou" in printed
    assert best == run_dir / "model.keras"
    assert_same_run(trainee, run_dir, whole)


def test_a_run_killed_in_its_first_round_starts_again(
    trainee, whole, scenes, tmp_path, monkeypatch, capsys
):
    from keras_cmsa import training

    def interrupt(self, batch, logs=None):
        raise KeyboardInterrupt

    run_dir = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.StopOnNaN, "on_train_batch_end", interrupt)
        train(trainee.restart(), scenes, run_dir)
    train(trainee.restart(), scenes, run_dir, resume=True)
    assert f"Nothing to resume in {run_dir}: starting at step 0" in capsys.readouterr().out
    assert_same_run(trainee, run_dir, whole)


def test_what_a_kill_leaves_half_written_does_not_matter(
    trainee, whole, scenes, tmp_path, monkeypatch
):
    """Killed while saving the last round: what counts is the state that progress.json names."""
    from keras_cmsa import training

    run_dir = tmp_path / "run"
    checkpoint = run_dir / "checkpoint"
    save = training.Checkpoint.on_epoch_end

    def save_half(self, epoch, logs=None):
        if epoch < 2:
            return save(self, epoch, logs)
        halves = ("round-00003.weights.h5", "round-00001.weights.h5", "progress.json.partial")
        for path in [*(checkpoint / x for x in halves), run_dir / "partial-model.keras"]:
            path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.Checkpoint, "on_epoch_end", save_half)
        train(trainee.restart(), scenes, run_dir)
    assert len(history(run_dir)) == 3  # a line more than there are rounds that count
    train(trainee.scramble(), scenes, run_dir, resume=True)
    assert_same_run(trainee, run_dir, whole)
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "progress.json",
        "round-00003.weights.h5",
    ]


def test_a_finished_run_is_left_as_it_is(trainee, scenes, copy):
    def contents():
        return {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    before = contents()
    assert train(trainee.scramble(), scenes, copy, resume=True) == copy / "model.keras"
    assert contents() == before


def test_a_run_is_not_overwritten(trainee, scenes, copy):
    before = sorted(path.stat().st_mtime_ns for path in copy.rglob("*"))
    with pytest.raises(FileExistsError, match="holds a training run already: give --resume"):
        train(trainee.restart(), scenes, copy)
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
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_goes_on_with_its_own_settings_only(trainee, scenes, copy, change, message):
    with pytest.raises(ValueError, match=message):
        train(trainee.restart(), scenes, copy, resume=True, **change)


def test_a_run_goes_on_with_its_own_words_and_model_only(seeded, trainee, scenes, copy):
    from keras_cmsa import training
    from keras_cmsa.text import Vocabulary

    words = tiny.vocabulary().words[2:]
    other = Vocabulary([*words[1:], words[0]], tiny.WORDS)
    arguments = (scenes[:TRAINING], scenes[TRAINING:], copy, STEPS, BATCH, ROUND)
    with pytest.raises(ValueError, match="has another vocabulary"):
        training.train(trainee.restart(), other, *arguments, resume=True)
    assert Vocabulary.load(copy / "vocabulary.txt", tiny.WORDS) == tiny.vocabulary()

    frozen = tiny.model()
    frozen.get_layer("backbone").trainable = False
    training.compile_model(frozen, STEPS)
    with pytest.raises(ValueError, match="'trainable_weights': [0-9]+.* Received: "):
        training.train(frozen, tiny.vocabulary(), *arguments, resume=True)

    wider = tiny.model(attention_dim=6)
    training.compile_model(wider, STEPS)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="could not be loaded"):
        warnings.simplefilter("ignore")  # Keras names each container that does not fit
        training.train(wider, tiny.vocabulary(), *arguments, resume=True)


# --- no number


def test_a_loss_that_is_no_number_names_its_batch(trainee, scenes, tmp_path):
    """A word is poisoned: training stops at the first batch that has it."""
    from keras_cmsa.data.pipeline import SampleOrder

    def batches(seed):
        order = SampleOrder(TRAINING, seed)
        return [[scenes[i] for i in order[k : k + BATCH]] for k in range(0, STEPS * BATCH, BATCH)]

    def first_blue(seed):
        return [any("blue" in x.expression for x in b) for b in batches(seed)].index(True)

    seed = next(seed for seed in range(99) if first_blue(seed) == 2)
    model = trainee.restart()
    table = model.get_layer("word_vectors").embeddings
    values = to_numpy(table).copy()
    values[tiny.vocabulary().words.index("blue")] = np.nan
    table.assign(values)
    with pytest.raises(FloatingPointError, match="The loss is nan at step 2") as error:
        train(model, scenes, tmp_path / "run", seed=seed)
    named = str(error.value).split("The batch was:\n")[1].splitlines()
    assert [line.strip() for line in named] == [record.describe() for record in batches(seed)[2]]


def test_weights_that_are_no_numbers_are_not_saved(trainee, scenes, tmp_path):
    """The loss is finite in the only step of a round, but its update is not."""
    model = trainee.restart()
    velocity = next(v for v in model.optimizer.variables if "score_kernel_velocity" in v.path)
    velocity.assign(np.full(velocity.shape, np.nan))
    with pytest.raises(FloatingPointError, match=r"at step 0\. The last checkpoint is unharmed"):
        train(model, scenes, tmp_path / "run", steps_per_round=1)
    assert not (tmp_path / "run/checkpoint").exists()
    assert not (tmp_path / "run/model.keras").exists()
