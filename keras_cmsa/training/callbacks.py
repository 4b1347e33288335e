"""What happens beside the steps of a training: checkpoints, history, TensorBoard, a stop at NaN."""

import importlib.util
import json
import os
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit

from keras_cmsa.presets.files import MODEL
from keras_cmsa.presets.preset import save_model
from keras_cmsa.training.distribution import is_lead, without_distribution
from keras_cmsa.utils.csv_files import read_rows, write_rows
from keras_cmsa.utils.files import replaced

PROGRESS = Path("checkpoint/progress.json")


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state after each round, and the model whenever validation is at its best.

    `checkpoint/round-<n>.weights.h5` holds weights and optimizer. `progress.json`, renamed into
    place last, says which of them counts, so a kill at any moment leaves a state that loads.

    Args:
        run_dir: `Path` of the run.
        monitor: the measure whose largest value is the best.
        whole: the model to save; `None`: the one that is trained. It differs where that one begins
            at the maps of a frozen backbone.
    """

    def __init__(self, run_dir, monitor="val_overall_iou", whole=None):
        super().__init__()
        self.whole = whole
        self.run_dir = run_dir
        self.folder = (run_dir / PROGRESS).parent
        self.monitor = monitor
        self.best = -1.0

    def exists(self):
        return (self.run_dir / PROGRESS).exists()

    def restore(self, model):
        """Loads the state and returns the number of rounds done.

        Raises:
            ValueError: if a file of it is damaged, or of another model.
        """
        path = self.run_dir / PROGRESS
        try:
            progress = json.loads(path.read_bytes())
            rounds, self.best = int(progress["rounds"]), float(progress["best"])
            path = self.folder / progress["state"]
            model.load_weights(path)
        # A broken part of either file makes an error of any kind.
        except Exception as error:
            reason = str(error).strip().split("\n")[0][:200]
            raise ValueError(
                f"{path} is damaged, or of another model, so the run in {self.run_dir} cannot be "
                f"resumed ({type(error).__name__}: {reason}). Its best round is in {MODEL}; start "
                "again in another `run_dir`"
            ) from error
        return rounds

    @without_distribution()
    def on_epoch_end(self, epoch, logs=None):
        # Before the model: a kill in the first round then leaves a run, not somebody's model.
        self.folder.mkdir(exist_ok=True)
        score = float(logs[self.monitor])
        if score > self.best:
            self.best = score
            save_model(self.whole or self.model, self.run_dir / MODEL)
        state = f"round-{epoch + 1:05d}.weights.h5"
        self.model.save_weights(self.folder / state, overwrite=True)
        with open(self.folder / state, "rb+") as file:
            os.fsync(file.fileno())  # before the one of the round before goes
        with replaced(self.run_dir / PROGRESS) as file:
            json.dump({"rounds": epoch + 1, "best": self.best, "state": state}, file, indent=1)
        for old in self.folder.glob("round-*.weights.h5"):
            if old.name != state:
                old.unlink()


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no longer a number, and names the batch that did it.

    Args:
        batches: the `RecordBatches` of the training.
    """

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
        rows = self.batches.rows(self.step - 1)
        named = "\n  ".join(r.describe() for row in rows for r in self.batches.records_of(row))
        raise FloatingPointError(
            f"The loss is {loss} at step {self.batches.first_batch + self.step - 1}. The last "
            "checkpoint is unharmed; start another run with a lower `learning_rate`. The batch "
            f"was:\n  {named}"
        )


class History(keras.callbacks.Callback):
    """One line of measures per round in a CSV; on resuming, lines of later rounds are dropped.

    Of several processes all compute the learning rate, and the first writes.

    Args:
        path: `Path` of the file.
        first_round: number of rounds done before.

    Raises:
        ValueError: if the file of these rounds is no such CSV any more.
    """

    def __init__(self, path, first_round=0):
        super().__init__()
        self.path = path
        self.rows = []
        if first_round and path.exists():
            self.rows = [row for _, row in read_rows(path, ("round",))][:first_round]

    def on_epoch_end(self, epoch, logs=None):
        rate = self.model.optimizer.learning_rate
        self.rows.append({"round": epoch + 1, "learning_rate": float(rate), **logs})
        if not is_lead():
            return
        columns = list(dict.fromkeys(name for row in reversed(self.rows) for name in row))
        with replaced(self.path) as file:
            write_rows(file, [columns, *([row.get(c, "") for c in columns] for row in self.rows)])


def tensorboard(folder, batches, examples=6):
    """Callbacks for TensorBoard: the measures, and masks of a few validation examples.

    Args:
        folder: `Path` to write to.
        batches: the `RecordBatches` of the validation.
        examples: how many.

    Returns:
        List of callbacks; empty where TensorFlow is not installed.
    """
    if not importlib.util.find_spec("tensorflow"):
        return []
    import tensorflow as tf

    inputs, masks, _ = batches[0]
    # The first expression about each image.
    inputs = {"image": inputs["image"][:examples], "words": inputs["words"][:examples, :1]}
    masks = (masks["logits"] if isinstance(masks, dict) else masks)[:examples, 0]
    writer = tf.summary.create_file_writer(str(Path(folder) / "examples"))

    def write_masks(epoch, logs=None):
        outputs = board.model.predict_on_batch(inputs)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        logits = np.asarray(logits)[:, 0]
        # Image, ground truth and prediction side by side.
        rows = [
            inputs["image"] / 255,
            *(np.repeat(x, 3, axis=-1) for x in (masks, expit(logits))),
        ]
        with writer.as_default():
            tf.summary.image("validation", np.concatenate(rows, axis=2), epoch, examples)

    board = keras.callbacks.TensorBoard(folder, write_graph=False, profile_batch=0)
    return [board, keras.callbacks.LambdaCallback(on_epoch_end=write_masks)]
