"""The paper's training settings on `model.fit`, resumable after a kill, with a record of the run."""

import csv
import importlib.util
import json
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_cmsa.data.pipeline import RecordBatches, fastest
from keras_cmsa.files import replaced
from keras_cmsa.losses import MaskLoss
from keras_cmsa.metrics import MeanIoU, OverallIoU, PrecisionAt
from keras_cmsa.text import Vocabulary

BEST_MODEL = "model.keras"
WORDS = "vocabulary.txt"
PROGRESS = "progress.json"


def compile_model(
    model,
    steps,
    learning_rate=2.5e-4,
    end_learning_rate=1e-5,
    power=0.9,
    weight_decay=5e-4,
    dice_weight=0.0,
    jit_compile="auto",
):
    """Compiles a model with the paper's loss, optimizer and schedule, and its measures.

    Args:
        model: from `image` and `words` to logits.
        steps: of the whole training; the polynomial decay ends there.
        learning_rate: of Adam at the start. Paper: 2.5e-4.
        end_learning_rate: at the end. Authors' code: 1e-5.
        power: of the polynomial. Paper: 0.9.
        weight_decay: decoupled, on kernels only. Paper: 5e-4, as an L2 term in a loss summed over
            pixels; in the mean over pixels that a batch of any size wants it would drown the loss.
        dice_weight: see `MaskLoss`. Paper: none.
        jit_compile: as in `keras.Model.compile`.
    """
    schedule = keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, end_learning_rate, power
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(
        var_list=[w for w in model.trainable_weights if not w.path.endswith("kernel")]
    )
    model.compile(
        optimizer,
        loss=MaskLoss(dice_weight),
        metrics=[OverallIoU(), MeanIoU(), *(PrecisionAt(x) for x in (0.5, 0.7, 0.9))],
        jit_compile=jit_compile,
    )
    # Else Keras does so within the first step, which TensorFlow then traces twice.
    model.optimizer.build(model.trainable_variables)


def train(
    model,
    vocabulary,
    training,
    validation,
    run_dir,
    steps,
    batch_size,
    steps_per_round=1000,
    seed=0,
    resume=False,
    fit="pad",
    augmentation=None,
    verbose="auto",
):
    """Trains a compiled model with `model.fit` and leaves the best one in `run_dir`.

    The training is cut into rounds (Keras' epochs): after each the model is validated and the
    whole state saved, so a kill loses the round under way and no more. What a batch holds follows
    from its number, so a resumed run sees what an uninterrupted one would have seen.

    Args:
        model: compiled, see `compile_model`.
        vocabulary: `Vocabulary`.
        training: list of `Record`.
        validation: list of `Record`; the best model is the one with the highest overall IoU here,
            at the network's size.
        run_dir: folder for `model.keras` (the best), `vocabulary.txt`, `history.csv`,
            `tensorboard/` (where TensorFlow is installed) and `checkpoint/`.
        steps: batches in all.
        batch_size: expressions per batch.
        steps_per_round: batches between two validations and checkpoints; the last round has the
            rest.
        seed: of the order of samples.
        resume: go on from the checkpoint in `run_dir`, if there is one.
        fit: `"pad"` or `"stretch"`.
        augmentation: `keras_cmsa.data.augment.Augmentation`, or None for samples as they are.
        verbose: as in `keras.Model.fit`.

    Returns:
        Path of the best model.

    Raises:
        FileExistsError: if `run_dir` holds a run and `resume` is false.
        FloatingPointError: if the loss is not a number; names the batch and its expressions.
        ValueError: if a checkpoint does not fit the model, the vocabulary or the settings, or a
            file cannot be read.
    """
    run_dir = Path(run_dir)
    settings = {
        "steps": steps,
        "steps_per_round": steps_per_round,
        "batch_size": batch_size,
        "samples": len(training),
        "seed": seed,
        "fit": fit,
        # A backbone that stood still has no state of the optimizer to go on from.
        "trainable_weights": len(model.trainable_weights),
    }
    checkpoint = Checkpoint(run_dir, settings)
    if checkpoint.exists() and not resume:
        raise FileExistsError(
            f"{run_dir} holds a training run already: give --resume to go on with it, another "
            "--run-dir, or delete it"
        )
    if checkpoint.exists() and Vocabulary.load(run_dir / WORDS) != vocabulary:
        raise ValueError(
            f"The run in {run_dir} has another vocabulary ({WORDS}) than the one given: its word "
            "vectors would be read as other words'. Is it the same data set?"
        )
    first_round = checkpoint.restore(model) if resume else 0
    first_step = first_round * steps_per_round
    if first_step >= steps:
        return run_dir / BEST_MODEL
    run_dir.mkdir(parents=True, exist_ok=True)
    vocabulary.save(run_dir / WORDS)

    size = model.input["image"].shape[1]
    batches = RecordBatches(
        training,
        vocabulary,
        size,
        batch_size,
        seed=seed,
        batches=steps - first_step,
        first_batch=first_step,
        fit=fit,
        augmentation=augmentation,
    )
    held_out = RecordBatches(validation, vocabulary, size, batch_size, fit=fit)
    with warnings.catch_warnings():
        # The last round may be shorter than the others.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        model.fit(
            fastest(batches),
            validation_data=fastest(held_out),
            initial_epoch=first_round,
            epochs=-(-steps // steps_per_round),
            steps_per_epoch=min(steps, steps_per_round),
            shuffle=False,  # RecordBatches shuffles samples; this would shuffle batches
            callbacks=[
                StopOnNaN(batches),
                History(run_dir / "history.csv", first_round),
                *tensorboard(run_dir / "tensorboard", held_out),
                checkpoint,
            ],
            verbose=verbose,
        )
    return run_dir / BEST_MODEL


def is_begun(run_dir):
    """Whether a run folder holds a state to resume from."""
    return (Path(run_dir) / "checkpoint" / PROGRESS).exists()


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state after each round, and the model whenever validation is at its best.

    `checkpoint/round-<n>.weights.h5` holds weights and optimizer; `progress.json`, renamed into
    place last, says which of them counts, so a kill at any moment leaves a state that loads. It
    also holds the `settings` that order and schedule follow from: a run goes on under the same.
    """

    def __init__(self, run_dir, settings, monitor="val_overall_iou"):
        super().__init__()
        self.run_dir = Path(run_dir)
        self.folder = self.run_dir / "checkpoint"
        self.settings = settings
        self.monitor = monitor
        self.best = -1.0

    def exists(self):
        return is_begun(self.run_dir)

    def restore(self, model):
        """Loads the state and returns the number of rounds done; says from where it goes on."""
        if not self.exists():
            print(f"Nothing to resume in {self.run_dir}: starting at step 0")
            return 0
        progress = json.loads((self.folder / PROGRESS).read_text())
        if progress["settings"] != self.settings:
            raise ValueError(
                f"The run in {self.run_dir} goes on with the settings it began with: "
                f"{progress['settings']}. Received: {self.settings}"
            )
        model.load_weights(self.folder / progress["state"])
        self.best = progress["best"]
        rounds = progress["rounds"]
        step = min(rounds * self.settings["steps_per_round"], self.settings["steps"])
        print(
            f"Resuming {self.run_dir} at step {step} (round {rounds}), "
            f"best {self.monitor} so far {self.best:.4f}"
        )
        return rounds

    def on_epoch_end(self, epoch, logs=None):
        score = float(logs[self.monitor])
        if score > self.best:
            self.best = score
            partial = self.run_dir / f"partial-{BEST_MODEL}"
            self.model.save(partial)
            partial.replace(self.run_dir / BEST_MODEL)
        self.folder.mkdir(exist_ok=True)
        state = f"round-{epoch + 1:05d}.weights.h5"
        self.model.save_weights(self.folder / state, overwrite=True)
        progress = {
            "rounds": epoch + 1,
            "settings": self.settings,
            "best": self.best,
            "state": state,
        }
        with replaced(self.folder / PROGRESS) as file:
            json.dump(progress, file, indent=1)
        for old in self.folder.glob("round-*.weights.h5"):
            if old.name != state:
                old.unlink()


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no longer a number, and names the batch that did it."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self.step = 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.check(float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        # The last update of a round shows in the validation only, which comes before the checkpoint.
        self.check(float(logs["val_loss"]))

    def check(self, loss):
        if np.isfinite(loss):
            return
        samples = self.batches.samples(self.step - 1)
        named = "\n  ".join(self.batches.records[i].describe() for i in samples)
        raise FloatingPointError(
            f"The loss is {loss} at step "
            f"{self.batches.first_batch + self.step - 1}. The last checkpoint is unharmed: resume "
            f"from it with a lower learning rate. The batch was:\n  {named}"
        )


class History(keras.callbacks.Callback):
    """One line of measures per round in a CSV; on resuming, lines of rounds to come are dropped."""

    def __init__(self, path, first_round=0):
        super().__init__()
        self.path = path
        self.rows = []
        if first_round and path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))[:first_round]

    def on_epoch_end(self, epoch, logs=None):
        rate = self.model.optimizer.learning_rate
        self.rows.append({"round": epoch + 1, "learning_rate": float(rate), **logs})
        with replaced(self.path) as file:
            writer = csv.DictWriter(file, self.rows[-1])
            writer.writeheader()
            writer.writerows(self.rows)


def tensorboard(folder, batches, examples=6):
    """Callbacks for TensorBoard: the measures, and masks of a few validation examples."""
    if not importlib.util.find_spec("tensorflow"):
        return []
    import tensorflow as tf

    inputs, masks = batches[0]
    inputs = {name: value[:examples] for name, value in inputs.items()}
    masks = masks[:examples]
    writer = tf.summary.create_file_writer(str(folder / "examples"))

    def write_masks(epoch, logs=None):
        logits = np.asarray(board.model.predict_on_batch(inputs))
        # Image, ground truth and prediction side by side.
        rows = [
            inputs["image"] / 255,
            *(np.repeat(x, 3, axis=-1) for x in (masks, 1 / (1 + np.exp(-logits)))),
        ]
        with writer.as_default():
            tf.summary.image("validation", np.concatenate(rows, axis=2), epoch, examples)

    board = keras.callbacks.TensorBoard(folder, write_graph=False, profile_batch=0)
    return [board, keras.callbacks.LambdaCallback(on_epoch_end=write_masks)]
