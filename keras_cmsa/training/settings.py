"""Every setting of a training, with the paper's value as its default, and what it may be.

The command line makes its flags from the same fields; keras_cmsa/recipes has the numbers of a run.
"""

import inspect
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, get_args, get_origin

from keras_cmsa.convert.checkpoints import is_checkpoint
from keras_cmsa.data.order import RowOrder
from keras_cmsa.utils.messages import check_at_least, check_within

# Of a run but not of what it learns: another value resumes the same run.
PLACES = ("data_dir", "images", "run_dir", "licence")
# A model that training goes on from has its own.
OF_MODEL = (
    "tokenizer", "max_words", "min_count", "pieces", "image_size", "resizing", "system", "word_dim",
    "attention_dim", "fusion_dim", "backbone", "backbone_weights", "pretrain_steps",
    "pretrain_batch_size", "pretrain_learning_rate", "mixed_precision", "image_encoder",
    "word_encoder", "word_vectors", "existence",
)  # fmt: skip


def setting(default, text):
    """A field of `Settings` with the words that `--help` says of it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """The settings of one training. `keras-cmsa train unc --help` explains each.

    Raises:
        ValueError: if a value is not possible.
    """

    # Data
    data_dir: str | None = setting(
        None,
        "REFER root: DATASET/refs(OWNER).p, DATASET/instances.json, images/. Or another "
        "source of recipes/README.md, such as a table of your own (.csv, .jsonl) or what a label "
        "tool writes (docs/own_data.md). Without it RefShapes is drawn into data/.",
    )
    dataset: str = setting(
        "refcoco",
        "refcoco, refcoco+, refcocog, refclef, grefcoco or another folder in REFER's layout; "
        "refexp; referit; phrasecut. Data of your own need none.",
    )
    split_owner: str = setting(
        "unc", "Owner of the splits: unc, google, umd or berkeley; what stands in refs(OWNER).p."
    )
    images: str | None = setting(
        None,
        "Folder of the images, where they are not beside the file of a label tool; and for a folder "
        "in REFER's layout with another name.",
    )
    text: str | None = setting(
        None,
        "Field of a label tool's file that has the phrases, such as annotations.caption, "
        "annotations.attributes.NAME or categories.name. Found if there is one.",
    )
    one_each: bool = setting(
        False, "With a label tool's file: leave out phrases that several objects of an image have."
    )
    train_on: str = setting("train", "Split to train on.")
    validate_on: str = setting(
        "val",
        'Split that picks the best round. "train" shows whether a model can memorise a small '
        "sample; that split is then evaluated as well.",
    )
    exclude_images_of: tuple[str, ...] = setting(
        (),
        "Leave images out of the training that are held out elsewhere in data_dir: refcoco+, "
        "refcocog/umd, refcoco/unc/testA, all, ...",
    )
    augment: bool = setting(
        False, "Mirror, resize and relight training samples; the paper does not."
    )
    word_dropout: float = setting(
        0.0,
        "Probability with which each word of a training expression is left out, below 1. The model "
        "then also knows what a part of an expression refers to. Paper: 0.",
    )
    # Words
    tokenizer: Literal["words", "wordpiece"] = setting(
        "words",
        "wordpiece cuts words into pieces learnt from the training expressions, so that new words "
        "have a meaning too (needs keras-cmsa[wordpiece]); the paper has words.",
    )
    max_words: int = setting(20, "Words per expression N. Paper: 20.")
    min_count: int = setting(1, "Words that are rarer in the training expressions are [UNK]. Ours.")
    pieces: int = setting(4000, "Size of the vocabulary of word pieces. Ours.")
    # Image
    image_size: int = setting(
        320, "Side of the network's square input in pixels, a multiple of 8. Paper: 320."
    )
    resizing: Literal["pad", "stretch"] = setting(
        "pad",
        "How an image fills the square: pad keeps its aspect, as the authors' code does; stretch "
        "does not, as the paper's text says.",
    )
    # Model
    system: str = setting(
        "cmsa",
        "A system of the paper's tables, or cmsa_ordered, which also tells words by their place in "
        'the sentence: the paper\'s attention takes "circle left of the square" for "square left of '
        'the circle"; or cmsa_refined, which has a second round of attention and a decoder too.',
    )
    word_dim: int = setting(1000, "Length of a word vector. Paper: 1000.")
    attention_dim: int = setting(512, "Width of query, key and value. Paper: 512.")
    fusion_dim: int = setting(500, "Channels of the fused map. Paper: 500.")
    backbone: Literal["dilated_resnet101", "pyramid_resnet101", "vgg16", "small_resnet"] = setting(
        "dilated_resnet101", "The network below. Paper: ResNet-101, dilated."
    )
    backbone_weights: str = setting(
        "imagenet",
        "Where the backbone starts: imagenet, none, or the path of a weights file of Keras; for "
        "small_resnet none, or a backbone.keras that another run has left. The paper starts from "
        "DeepLab's weights, trained on COCO: dilated_resnet101 takes the path of their checkpoint "
        "of TensorFlow (docs/pretrained.md).",
    )
    pretrain_steps: int = setting(
        0,
        "Batches of images on which small_resnet first learns the classes of the objects in the "
        "training images. Needs data in REFER's layout.",
    )
    pretrain_batch_size: int = setting(16, "Images per batch of the pretraining.")
    pretrain_learning_rate: float = setting(2e-3, "Of Adam at the start of the pretraining.")
    image_encoder: str | None = setting(
        None,
        "A pretrained tower in the place of the backbone: a name of keras.applications, such as "
        "EfficientNetV2B0, a preset of KerasHub or the path of a Keras file (docs/pretrained.md); or "
        "cmsa_photos, the tower of the package's own preset.",
    )
    freeze_backbone: bool = setting(False, "Keep the backbone, or the tower, as it starts.")
    features: str | None = setting(
        None,
        "Folder that keeps what a frozen backbone or tower says of each image, so that it is asked "
        "once. Then `augment` mirrors scenes and does no more.",
    )
    map_dropout: float = setting(
        0.0,
        "With features: probability with which each of their channels is left out of a training "
        "sample, below 1. It helps where photos are few.",
    )
    word_encoder: str | None = setting(
        None,
        "A pretrained text encoder in the place of learnt words: a preset of KerasHub, such as "
        "all_minilm_l6_v2_en, or a folder in Hugging Face's form. It stays as it is.",
    )
    word_vectors: str | None = setting(
        None,
        "A file of word vectors in the text form of GloVe and fastText, in the place of learnt "
        "words. The model then knows words that training never shows.",
    )
    existence: bool = setting(
        False,
        "Also learn whether anything in the image fits the sentence, so that the model can say that "
        "nothing does: for cmsa, its forms and cmsa_refined. The paper has no such output.",
    )
    negatives: int = setting(
        1,
        "With existence: sentences that fit nothing, for each image of a batch. They are other images' "
        "sentences, and its own with a word exchanged. 0 takes those of the data alone.",
    )
    existence_weight: float = setting(0.2, "With existence: the weight of its loss. Ours.")
    start_from: str | None = setting(
        None,
        "Go on from a trained model: a preset's folder, or hf://user/name. Its system, sizes, words "
        "and resizing come with it.",
    )
    # Training
    steps: int = setting(
        100_000,
        "Batches in all: 100,000 of up to 8 expressions are about the 800,000 of the authors' "
        "code, which takes one at a time.",
    )
    epochs: float | None = setting(None, "Passes over the training expressions, instead of steps.")
    batch_size: int = setting(2, "Images per batch. Ours; the authors' code takes 1.")
    sentences_per_image: int = setting(
        4,
        "Expressions about each image of a batch at most. They share the image's work. Ours; the "
        "authors' code takes 1.",
    )
    steps_per_round: int = setting(
        2000, "Batches between two validations and checkpoints; a kill loses that many at most."
    )
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw",
        "muon takes fewer batches on RefShapes: it orthogonalises the updates of matrices. "
        "Paper: Adam.",
    )
    learning_rate: float = setting(2.5e-4, "At the start. Paper: 2.5e-4.")
    end_learning_rate: float = setting(1e-5, "At the end. Authors' code: 1e-5.")
    power: float = setting(0.9, "Of the polynomial decay. Paper: 0.9.")
    weight_decay: float = setting(
        5e-4, "Decoupled, on kernels only: a reading (docs/results.md). Paper: 5e-4."
    )
    dice_weight: float = setting(0.0, "Weight of a Dice term in the loss. Paper: none.")
    mixed_precision: Literal["float16", "bfloat16"] | None = setting(
        None, "Compute in this precision, keep weights in float32."
    )
    seed: int = setting(0, "Of weights and sample order.")
    # Run
    licence: str = setting("", "Notes on the licences of data and weights, for the model card.")
    run_dir: str = setting("runs/unc", "Folder of the run.")

    def __post_init__(self):
        check_values(self)

    def with_steps(self, images):
        """The same settings with `steps` in the place of `epochs`.

        Args:
            images: what identifies the image of each training expression, see `images_of`.
        """
        if self.epochs is None:
            return self
        rows = RowOrder(images, self.sentences_per_image).rows
        steps = max(1, round(self.epochs * rows / self.batch_size))
        return replace(self, steps=steps, epochs=None)

    def to_config(self):
        """What `config.json` records of them: JSON's types, without what a resume may change.

        Of `features` it says that there are some: a checkpoint then begins at the maps.
        """
        unused = (*PLACES, *OF_MODEL) if self.start_from else PLACES
        kept = {name: value for name, value in asdict(self).items() if name not in unused}
        if kept.pop("features"):
            kept["features"] = True
        kept = {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}
        return {name: str(v) if isinstance(v, Path) else v for name, v in kept.items()}


AT_LEAST_ONE = (
    "max_words", "min_count", "pieces", "image_size", "word_dim", "attention_dim", "fusion_dim",
    "steps", "batch_size", "sentences_per_image", "steps_per_round", "pretrain_batch_size",
)  # fmt: skip
POSITIVE = ("learning_rate", "power", "epochs", "pretrain_learning_rate")
AT_LEAST_ZERO = (
    "pretrain_steps", "end_learning_rate", "weight_decay", "dice_weight", "seed",
    "negatives", "existence_weight",
)  # fmt: skip


def check_values(settings):
    """Raises a `ValueError` that names a setting whose value is not possible."""
    for entry in fields(settings):
        value, choices = getattr(settings, entry.name), choices_of(entry.type)
        if choices and value not in choices:
            raise ValueError(
                f"`{entry.name}` must be one of {', '.join(map(str, choices))}. Received: {value!r}"
            )
    check_at_least(1, **{name: getattr(settings, name) for name in AT_LEAST_ONE})
    check_at_least(0, **{name: getattr(settings, name) for name in AT_LEAST_ZERO})
    for name in POSITIVE:
        value = getattr(settings, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be above 0 and finite. Received: {value}")
    check_within(0, 2**32 - 1, seed=settings.seed)
    if settings.end_learning_rate > settings.learning_rate:
        raise ValueError(
            f"`end_learning_rate` must be at most `learning_rate`, {settings.learning_rate}. "
            f"Received: {settings.end_learning_rate}"
        )
    for name in ("word_dropout", "map_dropout"):
        value = getattr(settings, name)
        if not 0 <= value < 1:
            raise ValueError(f"`{name}` must be from 0 to below 1. Received: {value}")
    if settings.image_size % 8:
        raise ValueError(f"`image_size` must be a multiple of 8. Received: {settings.image_size}")
    is_small, weights = settings.backbone == "small_resnet", settings.backbone_weights
    if is_small and weights == "imagenet":
        raise ValueError(
            "small_resnet has no published weights: `backbone_weights` must be none or a "
            "backbone.keras that another run has left. Received: imagenet"
        )
    if is_checkpoint(weights) and settings.backbone != "dilated_resnet101":
        raise ValueError(
            "a checkpoint of TensorFlow as `backbone_weights` is for dilated_resnet101. Received: "
            f"`backbone` {settings.backbone}, `backbone_weights` {weights}"
        )
    if settings.pretrain_steps and (not is_small or weights != "none"):
        raise ValueError(
            "`pretrain_steps` is for a small_resnet from random weights. Received: "
            f"`backbone` {settings.backbone}, `backbone_weights` {weights}"
        )
    starts = settings.pretrain_steps, settings.start_from, settings.image_encoder
    if settings.freeze_backbone and weights == "none" and not any(starts):
        raise ValueError(
            "`freeze_backbone` would keep random weights: give `backbone_weights`, "
            "`image_encoder` or `pretrain_steps`"
        )
    if settings.features and not (settings.freeze_backbone or settings.start_from):
        raise ValueError(
            "`features` are those of a backbone that stays as it is: give `freeze_backbone` too. "
            f"Received: `features` {settings.features}"
        )
    if settings.word_encoder and settings.word_vectors:
        raise ValueError("wanted `word_encoder` or `word_vectors`. Received: both")


def choices_of(kind):
    """The values that a setting of a type may have; empty if the type does not list them."""
    kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
    choices = [value for k in kinds if get_origin(k) is Literal for value in get_args(k)]
    return [*choices, None] if choices and len(kinds) > 1 else choices


def check_given(settings, given):
    """Raises a `ValueError` that names a setting that was given and would be ignored."""
    from keras_cmsa.data.sources import RELEASES, form_of
    from keras_cmsa.models.systems import SYSTEMS  # imports Keras, which `--help` does without

    if settings.system not in SYSTEMS:
        raise ValueError(
            f"`system` must be one of {', '.join(SYSTEMS)}. Received: {settings.system!r}"
        )
    built = inspect.signature(SYSTEMS[settings.system]).parameters
    attends = "attention_dim" in built and settings.system != "cmsa_w_none"
    is_own = settings.data_dir is not None and form_of(settings.data_dir) is not None
    has_owners = settings.dataset not in RELEASES and not is_own
    has_tower = settings.image_encoder is not None and "`image_encoder` takes its place"
    words = settings.word_encoder or settings.word_vectors
    has_words = words is not None and f"the words are those of {words}"
    learns_words = "word_encoder" not in built and f"{settings.system} learns its words"
    no_data = settings.data_dir is None and "RefShapes have theirs: give `data_dir`"
    needs_existence = not (settings.existence or settings.start_from) and "it needs `existence`"
    ignored = {
        "map_dropout": settings.features is None and "it needs `features`",
        "existence": "existence" not in built and f"{settings.system} has no such output",
        **dict.fromkeys(("negatives", "existence_weight"), needs_existence),
        **dict.fromkeys(("backbone", "backbone_weights", "pretrain_steps"), has_tower),
        **dict.fromkeys(("word_encoder", "word_vectors"), learns_words),
        "tokenizer": has_words,
        "word_dim": settings.system != "cmsa_refined" and has_words,
        "dataset": no_data or (is_own and "the data are one data set"),
        "split_owner": no_data or (not has_owners and "the splits of these data have no owner"),
        **dict.fromkeys(("images", "text", "one_each"), no_data),
        "pieces": has_words or (settings.tokenizer == "words" and "it needs `tokenizer` wordpiece"),
        "min_count": has_words
        or (settings.tokenizer == "wordpiece" and "it needs `tokenizer` words"),
        "steps": settings.epochs is not None and "`epochs` says how long to train",
        "attention_dim": not attends and f"{settings.system} attends to nothing",
        **dict.fromkeys(
            ("pretrain_batch_size", "pretrain_learning_rate"),
            not settings.pretrain_steps and "it needs `pretrain_steps`",
        ),
    }
    if settings.start_from is not None:
        ignored |= dict.fromkeys(OF_MODEL, "it comes with the model of `start_from`")
    for name, reason in ignored.items():
        if given.get(name) is not None and reason:
            raise ValueError(f"`{name}` would be ignored: {reason}")
