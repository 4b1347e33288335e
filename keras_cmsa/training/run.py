"""A run from its settings: data, model, training, evaluation, pictures."""

import contextlib
import sys
from pathlib import Path
from typing import NamedTuple

import keras

from keras_cmsa.convert.checkpoints import is_checkpoint
from keras_cmsa.convert.deeplab import load_deeplab
from keras_cmsa.data.augment import layers_of_light_and_scale
from keras_cmsa.data.leakage import held_out_images, remove_held_out
from keras_cmsa.data.objects import objects_of
from keras_cmsa.data.readers.refer import Instances, read_instances
from keras_cmsa.data.record import Record, images_of
from keras_cmsa.data.ref_shapes import write_ref_shapes
from keras_cmsa.data.ref_shapes.layout import DATASET, SPLIT_OWNER
from keras_cmsa.data.sources import RELEASES, form_of, read_records
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.report import print_metrics
from keras_cmsa.evaluation.scores import metrics_of, write_scores
from keras_cmsa.explain.explanations import Explainer
from keras_cmsa.explain.figures import write_figures
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.models import backbones
from keras_cmsa.models.image_encoder import image_encoder
from keras_cmsa.models.inputs_and_outputs import check_one_side, split_at_maps
from keras_cmsa.models.systems import build_system
from keras_cmsa.models.word_encoder import static_vectors, word_encoder
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.preprocessing.word_pieces import WordPieces
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.presets.files import CONFIG, read_config
from keras_cmsa.presets.hub import PHOTOS
from keras_cmsa.presets.preset import Preset, load_preset, save_model, write_config
from keras_cmsa.presets.reference import write_reference
from keras_cmsa.presets.safe_loading import load_keras
from keras_cmsa.training.callbacks import Checkpoint
from keras_cmsa.training.devices import ONE
from keras_cmsa.training.distribution import is_lead, join_processes
from keras_cmsa.training.loop import compile_model, counts, own_run_dir, train_here
from keras_cmsa.training.pretraining import pretrain

BACKBONE = "backbone.keras"
REF_SHAPES = Path("data/ref_shapes")  # drawn unless they are there
PROFILE, GENERALISED = "strict", "gres"  # the second where a sentence has no or several targets
HELD_OUT = ("val", "testA", "testB", "testC", "test")


def run_training(settings, resume=False, devices=ONE):
    """Trains from settings, picks the best round on a held-out split, and evaluates every split.

    Args:
        settings: `Settings`.
        resume: resume the run in `run_dir`.
        devices: `Devices` to train on. The first process evaluates, on one device.

    Returns:
        `Path` of the run, a preset with its records beside it.

    Raises:
        FileExistsError, FileNotFoundError, FloatingPointError, ValueError: as `train`, or if the
            data cannot be read or have not the splits that the settings name.
        ConnectionError, ValueError: as `join_processes`.
        ModuleNotFoundError: if images are to be augmented and keras-cv is not installed.
    """
    if settings.augment and not settings.features:
        layers_of_light_and_scale()  # so that a want of keras-cv shows before minutes of work
    with contextlib.ExitStack() as stack:
        with join_processes(devices, settings.batch_size):
            # Before any work, and until the last picture is written.
            stack.enter_context(own_run_dir(settings.run_dir, resume))
            data = read_data(settings)
            train_system(settings, data, resume)
            reports = is_lead()
        if reports:
            splits = [s for s in data.records if s in {settings.validate_on, *HELD_OUT}]
            report(
                settings.run_dir,
                {split: data.records[split] for split in splits if data.records[split]},
            )
    return Path(settings.run_dir)


def train_system(settings, data, resume=False, verbose="auto"):
    """The training of `run_training` in its `own_run_dir`, which then has the best round as a preset.

    Args:
        settings: `Settings`.
        data: `Data`.
        resume: resume the run in `run_dir`.
        verbose: as in `keras.Model.fit`.
    """
    keras.utils.set_random_seed(settings.seed)
    training, validation = (data.records[s] for s in (settings.train_on, settings.validate_on))
    settings = settings.with_steps(images_of(training))
    facts = {"data": {"name": data.name, "counts": counts(data.records)}}
    with precision(settings.mixed_precision):
        if settings.start_from is None:
            model, preprocessor = new_model(settings, data, training)
            facts["starting_weights"] = starting_weights(settings)
        else:
            model, preprocessor, before = load_to_train(settings)
            facts["starting_weights"] = describe_start(settings.start_from, before)
            facts["licence"] = before["licence"]
            facts |= {"existence": before["existence"]} if "existence" in before else {}
        compile_model(model, settings)
        preset = Preset(model, preprocessor, facts)
        train_here(preset, training, validation, settings, resume, verbose)


@contextlib.contextmanager
def precision(name):
    """Makes mixed precision of this name that of all models which are built within."""
    before = keras.config.dtype_policy()
    if name:
        keras.config.set_dtype_policy(f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def new_model(settings, data, training):
    """A model of random weights on the backbone of the settings, and its `Preprocessor`."""
    vocabulary, words = make_words(settings, training)
    model = build_system(
        settings.system,
        len(vocabulary),
        image_size=settings.image_size,
        backbone=make_backbone(settings, data, training),
        max_words=settings.max_words,
        word_dim=settings.word_dim,
        attention_dim=settings.attention_dim,
        fusion_dim=settings.fusion_dim,
        existence=settings.existence,
        **words,
    )
    return model, Preprocessor(vocabulary, settings.image_size, settings.resizing)


def load_to_train(settings):
    """The `Preset` that the settings start from; what was frozen in it stays frozen.

    Raises:
        FileNotFoundError, OSError, ValueError: as `load_preset`, or if it cannot be trained.
    """
    preset = load_preset(settings.start_from)
    if not preset.model.trainable_weights:
        raise ValueError(
            f"{settings.start_from} cannot be trained: wanted a preset, as training leaves it. "
            "Received: a model without trainable weights, as an exported version is"
        )
    if settings.freeze_backbone:
        split_at_maps(preset.model)[0].trainable = False
    return preset


def describe_start(source, config):
    """A model that training goes on from, in words."""
    name = source if "://" in str(source) else Path(source).name
    return (
        f"the preset {name}: {config['system']}, trained on {config['data']['name']} from "
        f"{config['starting_weights']}"
    )


class Data(NamedTuple):
    """The records of a run.

    Attributes:
        name: what the data are, for people.
        records: `{split: [Record, ...]}`.
        instances: all annotated objects, where a backbone is to learn their classes.
    """

    name: str
    records: dict[str, list[Record]]
    instances: Instances | None = None


def read_data(settings):
    """Reads the data that the settings name; draws RefShapes if they name none.

    Says which training images are held out elsewhere, or removes them.

    Raises:
        FileNotFoundError, ValueError: as `read_records`, or if a split is not there.
    """
    if settings.data_dir is None:
        root, dataset, split_owner = write_ref_shapes(REF_SHAPES), DATASET, SPLIT_OWNER
        name = "RefShapes"
    else:
        root, dataset, split_owner = Path(settings.data_dir), settings.dataset, settings.split_owner
        # Only REFER's layout has splits of several owners.
        whose = dataset if dataset in RELEASES else f"{dataset} ({split_owner})"
        name = root.name if form_of(root) else whose
    print(f"Reading {root if name == root.name else f'{name} in {root}'}", file=sys.stderr)
    instances = read_instances(root, dataset) if settings.pretrain_steps else None
    own = {"text": settings.text, "one_each": settings.one_each, "images": settings.images}
    records = read_records(root, dataset, split_owner, instances=instances, **own)
    if dataset == "referit" and settings.train_on == "trainval":  # joined from two splits
        records |= read_records(root, dataset, splits=["trainval"])
    for argument in ("train_on", "validate_on"):
        split = getattr(settings, argument)
        if not records.get(split):
            others = ", ".join(split for split in records if records[split])
            raise ValueError(
                f"{root} has no split {split!r}; there is: {others or 'none'}. Set some images apart "
                f"as that split, or give one that is there as `{argument}`"
            )
    held_out = held_out_images(root, dataset, split_owner, records, settings.train_on)
    training = remove_held_out(records[settings.train_on], held_out, settings.exclude_images_of)
    if not training:
        raise ValueError(
            f"wanted images to train on. Received: {settings.train_on!r} of {root}, all of whose images "
            f"are held out by `exclude_images_of` {' '.join(settings.exclude_images_of)}"
        )
    return Data(name, records | {settings.train_on: training}, instances)


def make_words(settings, records):
    """The vocabulary of the settings, and the arguments of the system that its words bring.

    Returns:
        `(vocabulary, {"word_encoder": layer})`; the dict is empty where words are learnt.
    """
    expressions = [record.expression for record in records]
    if settings.word_encoder:
        encoder, vocabulary = word_encoder(settings.word_encoder, max_words=settings.max_words)
    elif settings.word_vectors:
        words = {word for expression in expressions for word in split_words(expression)}
        encoder, vocabulary = static_vectors(
            settings.word_vectors, words, max_words=settings.max_words
        )
    elif settings.tokenizer == "wordpiece":
        return WordPieces.build(expressions, settings.pieces, settings.max_words), {}
    else:
        return Vocabulary.build(expressions, settings.min_count, settings.max_words), {}
    return vocabulary, {"word_encoder": encoder}


def make_backbone(settings, data, records):
    """The backbone of the settings, pretrained if they say so; the finer maps are `cmsa_refined`'s."""
    weights = None if settings.backbone_weights == "none" else settings.backbone_weights
    if settings.image_encoder:
        backbone = make_tower(settings)
    elif is_checkpoint(weights):
        backbone = load_deeplab(weights, settings.image_size)
    elif settings.backbone != "small_resnet":
        backbone = getattr(backbones, settings.backbone)(settings.image_size, weights)
    elif weights:
        backbone = load_keras(weights)
        check_one_side(backbone.outputs, finer=True)
    elif settings.pretrain_steps:
        backbone = pretrained_backbone(settings, data, records)
    else:
        backbone = backbones.small_resnet(settings.image_size, finer=True)
    has_finer = settings.image_encoder or settings.backbone == "small_resnet"
    if has_finer and settings.system != "cmsa_refined":
        backbone = keras.Model(backbone.inputs, backbone.outputs[:3], name=backbone.name)
    if settings.freeze_backbone:
        backbone.trainable = False
    return backbone


def make_tower(settings):
    """The pretrained tower of the settings, with the finer maps that it has."""
    source = settings.image_encoder
    if source == PHOTOS:
        source = load_preset(source).model.get_layer("backbone")
    elif source.endswith(".keras"):
        source = load_keras(source)
    return image_encoder(
        source, settings.image_size, finer=None, trainable=not settings.freeze_backbone
    )


def pretrained_backbone(settings, data, records):
    """A small backbone after its pretraining, which the run folder keeps for other runs."""
    backbone = backbones.small_resnet(settings.image_size, finer=True)
    run_dir = Path(settings.run_dir)
    if Checkpoint(run_dir).exists():
        return backbone  # the checkpoint has its weights
    pretrain(backbone, objects_of(data.instances, records), settings)
    if is_lead():
        run_dir.mkdir(parents=True, exist_ok=True)
        save_model(backbone, run_dir / BACKBONE)
    return backbone


def starting_weights(settings):
    """What a model's weights are before training, in words."""
    rest = f"random (seed {settings.seed})"
    if words := settings.word_encoder or settings.word_vectors:
        rest = f"{rest} but for the words of {Path(words).name}"
    if settings.image_encoder:
        return f"image encoder {Path(settings.image_encoder).name}, the rest {rest}"
    if settings.pretrain_steps:
        return f"backbone after {settings.pretrain_steps} steps on its images' classes, the rest {rest}"
    if settings.backbone_weights != "none":
        return f"backbone {Path(settings.backbone_weights).name}, the rest {rest}"
    return rest


def report(run_dir, records):
    """Evaluates the best model of a run on some splits; writes numbers and pictures.

    Args:
        run_dir: folder of the run.
        records: `{split: [Record, ...]}`.
    """
    run_dir = Path(run_dir)
    predictor = Predictor.from_preset(run_dir)
    write_reference(run_dir, predictor)
    has_one = all(record.targets == 1 for split in records.values() for record in split)
    profile = PROFILE if has_one else GENERALISED
    scores = {
        split: evaluate(predictor, split_records, profile=profile, title=f"evaluating {split}")
        for split, split_records in records.items()
    }
    config = read_config(run_dir)
    config["metrics"] = metrics_of(scores, profile, config["starting_weights"])
    write_scores(run_dir, scores)
    write_config(run_dir, config)
    explain = Explainer(predictor)
    for split, split_scores in scores.items():
        write_figures(run_dir, split, predictor, explain, split_scores)
    print_metrics(config["metrics"], run_dir / CONFIG)
