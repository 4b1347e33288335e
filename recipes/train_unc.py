"""CMSA on UNC (RefCOCO).

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 58.32 val,
60.61 testA, 55.09 testB. ImageNet weights, which this recipe starts from, can be expected to end
lower; the run's metrics.json names what it started from.

    python recipes/train_unc.py --data-dir REFER_ROOT           paper size, for a GPU
    python recipes/train_unc.py --data-dir REFER_ROOT --small   small model, for two CPU cores
    python recipes/train_unc.py --small                         the same on RefShapes, minutes

Without --data-dir it writes RefShapes to data/ref_shapes and trains on that.
"""

from pathlib import Path
from typing import Literal

import cyclopts
import keras
from rich.console import Console
from rich.table import Table

from keras_cmsa.backbones import dilated_resnet101, small_resnet
from keras_cmsa.data.augment import Augmentation
from keras_cmsa.data.leakage import guard, held_out_images
from keras_cmsa.data.objects import read_objects
from keras_cmsa.data.ref_shapes import write_ref_shapes
from keras_cmsa.data.ref_shapes.layout import LAYOUTS
from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation import evaluate, write_results
from keras_cmsa.figures import write_figures
from keras_cmsa.predictor import Predictor
from keras_cmsa.pretraining import pretrain
from keras_cmsa.systems import build_system
from keras_cmsa.text import Vocabulary, WordPieces
from keras_cmsa.training import compile_model, is_begun, train
from keras_cmsa.visualize import draw_examples, find_examples

# The paper's settings.
IMAGE_SIZE = 320  # Sec. 4.1
PAPER = {"word_dim": 1000, "attention_dim": 512, "fusion_dim": 500}  # Secs. 3.2 and 4.1
LEARNING_RATE, POWER, WEIGHT_DECAY = 2.5e-4, 0.9, 5e-4  # Sec. 4.1
END_LEARNING_RATE = 1e-5  # authors' code
SAMPLES = 800_000  # authors' code: 800,000 steps of batch 1
BATCH_SIZE = 8  # ours: as many samples in fewer, better filled steps
STEPS_PER_ROUND = 2000  # ours: batches between validations
TEST_SPLITS = ("testA", "testB", "testC", "test")
MIN_COUNT = 1  # ours: words rarer than this are [UNK]
PIECES = 4000  # ours: of words, for an open vocabulary

# The small model, for two CPU cores: ours throughout.
SMALL = {"word_dim": 64, "attention_dim": 64, "fusion_dim": 64}
SMALL_IMAGE_SIZE, SMALL_BATCH_SIZE, SMALL_STEPS, SMALL_STEPS_PER_ROUND = 112, 8, 8800, 2200
SMALL_LEARNING_RATE = 2e-3
SMALL_PRETRAIN_STEPS = 1000  # batches of 16, on RefShapes
PRETRAINED_LEARNING_RATE = 4e-3  # of the rest, where the backbone stays as it was pretrained
SMALL_DICE_WEIGHT = 1.0  # random weights and little data: see MaskLoss


def main(
    *,
    data_dir: Path | None = None,
    dataset: str = "refcoco",
    split_owner: str = "unc",
    flavour: Literal["unc", "unc+", "gref", "referit"] = "unc",
    train_on: str = "train",
    exclude_images_of: tuple[str, ...] = (),
    tokenizer: Literal["words", "wordpiece"] = "words",
    word_positions: bool = False,
    small: bool = False,
    pretrain_steps: int | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    image_size: int | None = None,
    backbone_weights: str = "imagenet",
    mixed_precision: Literal["float16", "bfloat16"] | None = None,
    augment: bool = False,
    validate_on: str = "val",
    seed: int = 0,
    resume: bool = False,
    run_dir: Path = Path("runs/unc"),
):
    """Train, pick the best round on val, evaluate every split at the original image size.

    Parameters
    ----------
    data_dir
        REFER root: <dataset>/refs(<split owner>).p, <dataset>/instances.json, images/. Or another
        source of recipes/README.md, such as a table of your own (.csv, .jsonl).
    dataset
        refcoco, refcoco+, refcocog or refclef in REFER's layout; refexp; referit.
    split_owner
        Whose splits: unc, google, umd or berkeley.
    flavour
        Which RefShapes, where there is no data_dir.
    train_on
        Split to train on.
    exclude_images_of
        Leave images out of the training that are held out elsewhere in data_dir: refcoco+,
        refcocog/umd, refcoco/unc/testA, all, ...
    tokenizer
        wordpiece cuts words into pieces learnt from the training expressions, so that new words have
        a meaning too (needs keras-cmsa[wordpiece]); the paper has words.
    word_positions
        Tell words by their place in the sentence too. The paper's attention does not, and takes
        "circle left of the square" for "square left of the circle".
    small
        The small model with its own settings.
    pretrain_steps
        Batches on which the small model's backbone first learns the classes of the objects in the
        training images; it then stays as it is. Needs a REFER root. Default: 1000 on RefShapes, none
        on other data.
    steps
        Batches to train on.
    epochs
        Instead of steps: passes over the training expressions.
    batch_size
        Expressions per batch.
    image_size
        Side of the network's square input in pixels, a multiple of 8.
    backbone_weights
        imagenet, none, or the path of a ResNet-101 weights file of Keras.
    mixed_precision
        Compute in this precision, keep weights in float32.
    augment
        Mirror, resize and relight training samples; the paper does not.
    validate_on
        Split that picks the best round. "train" shows whether a model can memorise a small sample;
        that split is then evaluated as well.
    seed
        Of weights and sample order.
    resume
        Go on with the run in run_dir.
    run_dir
        Where the run goes.
    """
    keras.utils.set_random_seed(seed)
    if mixed_precision:
        keras.config.set_dtype_policy(f"mixed_{mixed_precision}")
    if pretrain_steps is None:
        pretrain_steps = SMALL_PRETRAIN_STEPS if small and data_dir is None else 0
    if data_dir is None:
        data_dir, dataset, split_owner = ref_shapes(flavour)
    records = read(data_dir, dataset, split_owner, train_on, exclude_images_of)
    expressions = [record.expression for record in records[train_on]]
    if tokenizer == "wordpiece":
        vocabulary = WordPieces.build(expressions, PIECES)
    else:
        vocabulary = Vocabulary.build(expressions, MIN_COUNT)

    image_size = image_size or (SMALL_IMAGE_SIZE if small else IMAGE_SIZE)
    batch_size = batch_size or (SMALL_BATCH_SIZE if small else BATCH_SIZE)
    if epochs is not None:
        steps = max(1, round(epochs * len(records[train_on]) / batch_size))
    steps = steps or (SMALL_STEPS if small else SAMPLES // batch_size)
    learning_rate = SMALL_LEARNING_RATE if small else LEARNING_RATE
    if small:
        start = small_start(pretrain_steps, seed)
        backbone = small_resnet(image_size)
        if pretrain_steps:
            if not (resume and is_begun(run_dir)):
                objects = read_objects(data_dir, dataset, records[train_on])
                pretrain(backbone, *objects, pretrain_steps, seed=seed)
            backbone.trainable = False
            learning_rate = PRETRAINED_LEARNING_RATE
        sizes = SMALL
    else:
        weights = None if backbone_weights == "none" else backbone_weights
        start = f"backbone {Path(backbone_weights).name}, the rest random (seed {seed})"
        backbone = dilated_resnet101(image_size, weights)
        sizes = PAPER
    name = "cmsa_ordered" if word_positions else "cmsa"
    model = build_system(name, len(vocabulary), image_size=image_size, backbone=backbone, **sizes)
    compile_model(
        model,
        steps,
        learning_rate,
        END_LEARNING_RATE,
        POWER,
        WEIGHT_DECAY,
        SMALL_DICE_WEIGHT if small else 0.0,
    )
    best = train(
        model,
        vocabulary,
        records[train_on],
        records[validate_on],
        run_dir,
        steps,
        batch_size,
        SMALL_STEPS_PER_ROUND if small else STEPS_PER_ROUND,
        seed,
        resume,
        augmentation=Augmentation(seed=seed) if augment else None,
    )
    splits = [s for s in records if records[s] and s in {validate_on, "val", *TEST_SPLITS}]
    report(keras.saving.load_model(best), vocabulary, records, splits, run_dir, start)


def ref_shapes(flavour):
    """Writes RefShapes, unless they are there: their folder, data set and split owner."""
    folder = "data/ref_shapes" if flavour == "unc" else f"data/ref_shapes_{flavour}"
    layout = LAYOUTS[flavour]
    return write_ref_shapes(Path(folder), flavour), layout.dataset, layout.split_by


def small_start(pretrain_steps, seed):
    """What a small model's weights are before training, for metrics.json."""
    rest = f"random (seed {seed})"
    if not pretrain_steps:
        return rest
    return f"backbone after {pretrain_steps} steps on its images' classes, the rest {rest}"


def read(data_dir, dataset, split_owner, train_on, exclude_images_of):
    """The records by split; says which training images are held out elsewhere, or removes them."""
    records = read_records(data_dir, dataset, split_owner)
    if train_on not in records:
        records |= read_records(data_dir, dataset, split_owner, [train_on])
    held_out = held_out_images(data_dir, dataset)
    return records | {train_on: guard(records[train_on], held_out, exclude_images_of)}


def report(model, vocabulary, records, splits, run_dir, start, profile="strict"):
    """Evaluates the splits, writes results and pictures, prints the table."""
    scores = {
        split: evaluate(model, vocabulary, records[split], profile, title=f"evaluating {split}")
        for split in splits
    }
    metrics = write_results(run_dir, profile, start, scores)
    predictor = Predictor(model, vocabulary)
    for split in splits:
        stride = max(1, len(records[split]) // 6)
        examples = find_examples(predictor, records[split][::stride][:6], profile)
        draw_examples(run_dir / f"examples_{split}.png", examples)
        write_figures(run_dir, split, predictor, scores[split])
    print_table(metrics, run_dir)


def print_table(metrics, run_dir):
    """A row per measure, a column per split."""
    table = Table(title=f"{run_dir}: profile {metrics['profile']}, weights {metrics['weights']}")
    splits = metrics["splits"]
    table.add_column("")
    for split in splits:
        table.add_column(split, justify="right")
    for name in next(iter(splits.values())):
        cells = [numbers[name] for numbers in splits.values()]
        table.add_row(name, *(f"{v:.4f}" if isinstance(v, float) else str(v) for v in cells))
    Console().print(table)


if __name__ == "__main__":
    cyclopts.run(main)
