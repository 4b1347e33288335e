"""A training on `model.fit`: resumable after a kill, and tied to the settings it began with."""

import contextlib
import functools
import hashlib
import warnings
from pathlib import Path

import keras

from keras_cmsa.data.augment import Augmentation
from keras_cmsa.data.negatives import Negatives
from keras_cmsa.data.pipeline import RecordBatches, plain_faults
from keras_cmsa.data.record import count
from keras_cmsa.models.existence import EXISTS, has_existence
from keras_cmsa.models.inputs_and_outputs import computed_in, split_at_maps
from keras_cmsa.presets.files import (
    LICENCE,
    MODEL,
    UNKNOWN,
    VOCABULARY,
    read_config,
    threshold_in,
)
from keras_cmsa.presets.preset import make_config, write_config
from keras_cmsa.training.callbacks import PROGRESS, Checkpoint, History, StopOnNaN, tensorboard
from keras_cmsa.training.distribution import is_lead, process_part
from keras_cmsa.training.features import FeatureBatches, ImageFeatures
from keras_cmsa.training.losses import ExistenceLoss, MaskLoss
from keras_cmsa.training.metrics import MeanSampleIoU, OverallIoU, PrecisionAt
from keras_cmsa.training.optimizers import make_optimizer
from keras_cmsa.training.refit import refit
from keras_cmsa.utils.files import remove_left
from keras_cmsa.utils.locks import locked
from keras_cmsa.utils.memory import keep_freed_memory
from keras_cmsa.utils.messages import differences

# What decides the result of a run; another value is another run.
DECISIVE = ("system", "preprocessor", "data", "starting_weights", "training", "trainable_weights")
# Of a model's `config.json`, what no longer holds once it is trained on.
OUTDATED = ("metrics", "existence", "parameters", "attention_levels", "export")


def compile_model(model, settings):
    """Compiles a model with the paper's loss, optimizer and schedule, and its measures.

    Args:
        model: from `image` and `words` to logits.
        settings: `Settings`, of which `dice_weight`, `existence_weight` and those of
            `make_optimizer` count here.
    """
    loss = MaskLoss(settings.dice_weight)
    measures = [OverallIoU(), MeanSampleIoU(), *map(PrecisionAt, (0.5, 0.7, 0.9))]
    parts = {"loss": loss, "weighted_metrics": measures}
    if has_existence(model):
        parts = {
            "loss": {"logits": loss, EXISTS: ExistenceLoss()},
            "loss_weights": {"logits": 1.0, EXISTS: settings.existence_weight},
            "weighted_metrics": {"logits": measures, EXISTS: [keras.metrics.AUC(name="auc")]},
        }
    model.compile(make_optimizer(model, settings), **parts)
    # Keras would build it within the first step, which TensorFlow would then trace twice.
    model.optimizer.build(model.trainable_variables)


def train(preset, training, validation, settings, resume=False, verbose="auto"):
    """Trains a compiled model with `model.fit` and leaves the best one in a preset.

    The training is cut into rounds (Keras' epochs): after each the model is validated and the
    whole state saved, so a kill loses the current round and no more. What a batch holds follows
    from its number, so a resumed run sees what an uninterrupted one would have seen. Of several
    processes (see `distribution`) the first alone prints and writes. From then on the process keeps the
    memory that it frees, see `keep_freed_memory`.

    Args:
        preset: `Preset` of the model, compiled (see `compile_model`), its `Preprocessor`, and what
            else `config.json` shall say, such as `starting_weights` and `data`; see `make_config`.
        training: list of `Record`.
        validation: list of `Record`; the best model is the one with the highest overall IoU here,
            at the network's size.
        settings: the `Settings` it was compiled with. `run_dir` becomes the preset, with
            `history.csv`, `tensorboard/` (where TensorFlow is installed) and `checkpoint/` in it.
        resume: resume the run in `run_dir`; where there is none, start one.
        verbose: as in `keras.Model.fit`.

    Returns:
        `Path` of the preset.

    Raises:
        FileExistsError: if `run_dir` holds a run or a model and `resume` is false.
        FloatingPointError: if the loss is not a number; names the batch and its expressions.
        ValueError: if the run in `run_dir` began with other settings, another training works in it,
            or a file cannot be read.
    """
    with own_run_dir(settings.run_dir, resume):
        return train_here(preset, training, validation, settings, resume, verbose)


@contextlib.contextmanager
def own_run_dir(run_dir, resume):
    """Keeps other trainings out of a run's folder, from its first file to its last.

    Raises:
        FileExistsError: as `check_run_dir`.
        ValueError: if another training works in it.
    """
    run_dir = Path(run_dir)
    check_run_dir(run_dir, resume)
    if not is_lead():
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir / ".lock", f"another training works in {run_dir}"):
        check_run_dir(run_dir, resume)  # again: another may have ended meanwhile
        remove_left(run_dir)
        remove_left(run_dir / PROGRESS.parent)
        yield


def train_here(preset, training, validation, settings, resume, verbose):
    """`train` in a folder that is this process' own already."""
    keep_freed_memory()
    model, run_dir = preset.model, Path(settings.run_dir)
    config = config_of_run(preset, training, validation, settings)
    monitor = "val_logits_overall_iou" if has_existence(model) else "val_overall_iou"
    checkpoint, first_round = Checkpoint(run_dir, monitor, whole=model), 0
    if checkpoint.exists():
        check_same_run(read_config(run_dir), config, run_dir)
    image_model = features = None
    if settings.features:
        if process_part() is not None:
            raise ValueError("wanted `features` or `devices`. Received: both")
        image_model, model = split_at_maps(model)
        compile_model(model, settings)
    if checkpoint.exists():
        first_round = checkpoint.restore(model)
        step = min(first_round * settings.steps_per_round, settings.steps)
        if is_lead():
            print(
                f"Resuming {run_dir} at step {step} (round {first_round}), "
                f"best {checkpoint.monitor} so far {checkpoint.best:.4f}"
            )
    elif resume and is_lead():
        print(f"Nothing to resume in {run_dir}: starting at step 0")
    if image_model is not None:  # with the weights that a checkpoint brought back
        features = ImageFeatures(settings.features, image_model, preset.preprocessor)
        mirrored = training if settings.augment else []
        features.add_images([*training, *validation], mirrored, title="Features")
    first_step = first_round * settings.steps_per_round
    batches = make_batches(preset, training, validation, settings, first_step, features)
    if first_step < settings.steps:
        if is_lead():
            # Before the first step and together, since one means nothing without the other.
            preset.preprocessor.vocabulary.save(run_dir / VOCABULARY)
            write_config(run_dir, config)
        fit(model, batches, settings, checkpoint, first_round, verbose)
    if has_existence(model) and is_lead() and "existence" not in read_config(run_dir):
        held_out = batches[1]
        held_out.part = None  # this process asks about all of them
        refit(run_dir, held_out, threshold_in(preset.config))
    return run_dir


def make_batches(preset, training, validation, settings, first_step, features=None):
    """The `RecordBatches` of the steps that are still to be done, and those of the validation.

    They have the maps of the images in their place where `features` are given.
    """
    preprocessor = preset.preprocessor
    sizes = settings.batch_size, settings.sentences_per_image
    make = functools.partial(FeatureBatches, features=features) if features else RecordBatches
    of_training = {"map_dropout": settings.map_dropout} if features else {}
    negatives, negatives_held_out = (
        Negatives(records, settings.negatives) if has_existence(preset.model) else None
        for records in (training, validation)
    )
    batches = make(
        training,
        preprocessor,
        *sizes,
        seed=settings.seed,
        batches=settings.steps - first_step,
        first_batch=first_step,
        augmentation=Augmentation(seed=settings.seed) if settings.augment else None,
        word_dropout=settings.word_dropout,
        negatives=negatives,
        part=process_part(),
        **of_training,
    )
    held_out = {"negatives": negatives_held_out, "part": process_part()}
    return batches, make(validation, preprocessor, *sizes, **held_out)


def fit(model, batches, settings, checkpoint, first_round, verbose):
    """The rounds that are still to be done, on batches as `make_batches` gives them."""
    (batches, held_out), run_dir, part = batches, checkpoint.run_dir, process_part()
    callbacks = [StopOnNaN(batches), History(run_dir / "history.csv", first_round)]
    if not isinstance(batches, FeatureBatches) and (not part or part[1] == 1):
        # It computes with the model, in which all processes would have to take part.
        callbacks += tensorboard(run_dir / "tensorboard", held_out)
    if is_lead():
        callbacks.append(checkpoint)
    with warnings.catch_warnings(), plain_faults(batches, held_out):
        # The last round may be shorter than the others.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        model.fit(
            batches,
            validation_data=held_out,
            initial_epoch=first_round,
            epochs=-(-settings.steps // settings.steps_per_round),
            steps_per_epoch=min(settings.steps, settings.steps_per_round),
            shuffle=False,  # RecordBatches shuffles samples; this would shuffle batches
            callbacks=callbacks,
            verbose=verbose if is_lead() else 0,
        )


def check_run_dir(run_dir, resume):
    """Raises a `FileExistsError` if a folder holds what a new run would overwrite."""
    run_dir = Path(run_dir)
    checkpoint = Checkpoint(run_dir)
    if checkpoint.exists() and not resume:
        raise FileExistsError(
            f"{run_dir} holds a training run already: give `resume=True` to go on with it, another "
            "`run_dir`, or delete it"
        )
    if (run_dir / MODEL).exists() and not checkpoint.folder.exists():
        raise FileExistsError(
            f"{run_dir} holds a trained model and no checkpoint to resume from: give another "
            "`run_dir`, or delete it"
        )


def config_of_run(preset, training, validation, settings):
    """The `config.json` of a run before it has results."""
    data = {"name": UNKNOWN, "counts": counts({"train": training, "val": validation})}
    dtype = computed_in(preset.model)
    facts = {
        "data": data,
        "starting_weights": UNKNOWN,
        "licence": LICENCE,
        **{name: fact for name, fact in preset.config.items() if name not in OUTDATED},
        "training": settings.to_config()
        | {"mixed_precision": None if dtype == "float32" else dtype},
        # A frozen backbone has no optimizer state to resume.
        "trainable_weights": len(preset.model.trainable_weights),
    }
    facts["licence"] = settings.licence or facts["licence"]
    facts["data"] = {**facts["data"], "records_sha256": checksum([*training, *validation])}
    return make_config(preset.model.name, preset.preprocessor, **facts)


def counts(records):
    """What `config.json` says of each split, for `{split: [Record, ...]}`."""
    numbers = {split: count(of_split) for split, of_split in records.items()}
    return {
        split: {"refs": refs, "expressions": expressions, "images": images}
        for split, (refs, expressions, images) in numbers.items()
    }


def checksum(records):
    """A checksum of which records these are, in their order."""
    digest = hashlib.sha256()
    for r in records:
        key = r.split, r.image_id, r.ref_id, r.sentence_id, r.expression, r.height, r.width
        digest.update(repr(key).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def check_same_run(before, now, run_dir):
    """Raises a `ValueError` that names every decisive setting in which two configurations differ."""
    changes = []
    for key in DECISIVE:
        old, new = before.get(key), now.get(key)
        both_are_groups = isinstance(old, dict) and isinstance(new, dict)
        changes += differences(old, new) if both_are_groups else differences({key: old}, {key: new})
    if changes:
        raise ValueError(
            f"The run in {run_dir} began with other settings: {'; '.join(changes)}. Resume it "
            "with its own, or give another `run_dir`"
        )
