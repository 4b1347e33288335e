"""Callbacks on their own: what is saved when, what stops a training, what is written down."""

import io

import numpy as np
import pytest
import tiny
from command import read_rows
from PIL import Image

from keras_cmsa.data.order import RowOrder
from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.training.callbacks import Checkpoint, History, StopOnNaN, tensorboard

pytestmark = pytest.mark.keras


@pytest.fixture
def model(seeded):
    """A weight that tells one state from another."""
    model = seeded.Sequential([seeded.Input((1,)), seeded.layers.Dense(1, use_bias=False)])
    model.compile(seeded.optimizers.SGD(0.25), "mse")
    return model


def end_round(callback, model, number, value, score=0.0):
    """Ends round `number` with the model's weight at a value and a score of validation."""
    model.set_weights([np.array([[value]], "float32")])
    callback.set_model(model)
    callback.on_epoch_end(number - 1, {"val_overall_iou": score, "loss": value})


def weight_of(model):
    return float(model.get_weights()[0][0, 0])


def test_the_last_state_and_the_best_model_are_kept(seeded, model, tmp_path):
    """Of rounds with scores 0.3, 0.5, 0.5 and 0.2 the second is the best."""
    checkpoint = Checkpoint(tmp_path)
    assert not checkpoint.exists()
    for number, score in enumerate((0.3, 0.5, 0.5, 0.2), start=1):
        end_round(checkpoint, model, number, float(number), score)
    assert weight_of(seeded.saving.load_model(tmp_path / "model.keras")) == 2.0
    assert [path.name for path in (tmp_path / "checkpoint").glob("*.h5")] == [
        "round-00004.weights.h5"
    ]
    model.set_weights([np.array([[9.0]])])
    later = Checkpoint(tmp_path)
    assert later.exists() and later.restore(model) == 4
    assert weight_of(model) == 4.0 and later.best == 0.5
    end_round(later, model, 5, 5.0, 0.4)  # no better than what was before it was resumed
    assert weight_of(seeded.saving.load_model(tmp_path / "model.keras")) == 2.0


def kill(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["save_model", "save_weights", "dump"])
def test_a_kill_while_saving_leaves_the_state_before(model, tmp_path, monkeypatch, step):
    """Before the model, the weights or the note of which weights count."""
    end_round(Checkpoint(tmp_path), model, 1, 1.0, 0.0)
    assert (tmp_path / "model.keras").exists()  # although the round found nothing
    whose = {
        "save_model": "keras_cmsa.training.callbacks.save_model",
        "save_weights": "keras.Model.save_weights",
        "dump": "keras_cmsa.training.callbacks.json.dump",
    }
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(whose[step], kill)
        end_round(Checkpoint(tmp_path), model, 2, 2.0, 0.4)
    later = Checkpoint(tmp_path)
    assert later.restore(model) == 1
    assert weight_of(model) == 1.0 and later.best == 0.0
    # What it left half written does not matter to the round that is done again.
    again = tmp_path / "checkpoint/round-00002.weights.h5"
    again.write_bytes(b"half")
    end_round(later, model, 2, 2.0, 0.4)
    assert Checkpoint(tmp_path).restore(model) == 2 and weight_of(model) == 2.0
    assert [*again.parent.glob("*.h5")] == [again]


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    """It names the batch of the step, also of a run that was resumed at step 5."""
    records = tiny.records(tmp_path, 9)
    stop = StopOnNaN(RecordBatches(records, tiny.preprocessor(), 2, seed=3, first_batch=5))
    for step in range(2):
        stop.on_train_batch_end(step, {"loss": 0.5})
    stop.on_epoch_end(0, {"val_loss": 1e9})
    with pytest.raises(FloatingPointError, match="The loss is inf at step 7") as error:
        stop.on_train_batch_end(2, {"loss": np.inf})
    rows = RowOrder(range(9), seed=3)[14:16]
    named = "\n  ".join(records[i].describe() for (i,) in rows)
    assert str(error.value).endswith(f"The batch was:\n  {named}")
    with pytest.raises(FloatingPointError, match=r"is nan at step 7\b.* lower `learning_rate`"):
        stop.on_epoch_end(0, {"val_loss": np.nan})


def test_a_line_of_measures_per_round(model, tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for number in (1, 2, 3):
        end_round(history, model, number, number / 2, score=number / 10)
    wanted = [
        {
            "round": str(n),
            "learning_rate": "0.25",
            "val_overall_iou": str(n / 10),
            "loss": str(n / 2),
        }
        for n in (1, 2, 3)
    ]
    assert read_rows(path) == wanted
    # Resumed after the second round: what came after it is gone.
    end_round(History(path, first_round=2), model, 3, 7.0, score=0.3)
    assert read_rows(path) == [*wanted[:2], {**wanted[2], "loss": "7.0"}]
    # A run of its own in the same place begins anew.
    end_round(History(path), model, 1, 0.5, score=0.1)
    assert read_rows(path) == wanted[:1]
    # So does one whose file is gone.
    path.unlink()
    end_round(History(path, first_round=1), model, 2, 7.0)
    assert [row["round"] for row in read_rows(path)] == ["2"]


def test_tensorboard_shows_image_truth_and_answer(seeded, tmp_path):
    """Side by side; a round draws them once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = tiny.records(tmp_path, 3)
    batches = RecordBatches(records, tiny.preprocessor(), 3)
    model = tiny.model(attention="none")
    board, drawing = tensorboard(tmp_path / "board", batches, examples=2)
    for callback in (board, drawing):
        callback.set_model(model)
    drawing.on_epoch_end(4, {})
    events = EventAccumulator(str(tmp_path / "board/examples"))
    events.Reload()
    (event,) = events.Tensors("validation")
    width, height, *pictures = event.tensor_proto.string_val
    assert event.step == 4 and (int(width), int(height)) == (3 * tiny.SIZE, tiny.SIZE)
    assert len(pictures) == 2
    inputs, masks, _ = batches[0]
    with Image.open(io.BytesIO(pictures[0])) as picture:
        drawn = np.asarray(picture.convert("RGB"), float)
    image, truth, _ = np.split(drawn, 3, axis=1)
    np.testing.assert_allclose(image, inputs["image"][0], atol=1.01)
    np.testing.assert_array_equal(truth[..., 0], 255 * masks[0, 0, ..., 0])


def test_without_tensorflow_there_is_no_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert tensorboard(tmp_path, None) == []


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"rounds": 1, "best": 0.3, "state": "x.h5"}'])
def test_a_damaged_checkpoint_is_named(model, tmp_path, damage):
    """Its note, the file that the note names, or the weights."""
    end_round(Checkpoint(tmp_path), model, 1, 1.0, 0.3)
    weights = tmp_path / "checkpoint/round-00001.weights.h5"
    content = weights.read_bytes()
    weights.write_bytes(content[:-500])
    with pytest.raises(ValueError, match=r"round-00001\.weights\.h5 is damaged, or of another mod"):
        Checkpoint(tmp_path).restore(model)
    weights.write_bytes(content)
    (tmp_path / "checkpoint/progress.json").write_text(damage)
    named = "x.h5" if "x.h5" in damage else "progress.json"
    with pytest.raises(ValueError, match=rf"{named} is damaged, .* again in another `run_dir`$"):
        Checkpoint(tmp_path).restore(model)


def test_the_optimizer_is_in_the_checkpoint_and_not_in_the_preset(seeded, tmp_path):
    """Muon's and Adam's part of it; the model goes on with it."""
    model = seeded.Sequential([seeded.Input((50,)), seeded.layers.Dense(400)])
    model.compile("muon", "mse")
    model.optimizer.build(model.trainable_variables)
    optimizer, variables = model.optimizer, [*model.variables, *model.optimizer.variables]
    for value, variable in enumerate(variables, 2):
        variable.assign(variable * 0 + value)
    checkpoint = Checkpoint(tmp_path)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0, {"val_overall_iou": 0.5})
    bytes_of = 4 * sum(weight.size for weight in model.get_weights())
    assert (tmp_path / "model.keras").stat().st_size < 1.5 * bytes_of
    assert model.optimizer is optimizer and model.compiled
    loaded = seeded.saving.load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    np.testing.assert_array_equal(loaded.get_weights()[0], 2)
    for variable in variables:
        variable.assign(variable * 0)
    assert checkpoint.restore(model) == 1
    for value, variable in enumerate(variables, 2):
        np.testing.assert_array_equal(tiny.to_numpy(variable.value), value)
