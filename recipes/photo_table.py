"""What each part of `keras-cmsa train photos` is worth on real photos: docs/results.md, "Photos".

    python recipes/photo_table.py data/photos --eyes lite0.keras --vectors glove.6B.50d.txt \\
        --sentences minilm --seeds 3

The folder has `refcoco_photos/` (a REFER root whose split of the owner "own" is by photo) and
`with_masks/` (a table of rule-made sentences). A run has a line in `runs.csv` and is not repeated;
one that is cut resumes. A row that needs a file that is not given is left out.
"""

import json
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from run_table import fill, in_percent

from keras_cmsa.cli.command_line import run_script
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.evaluation.controls import LARGEST, SHUFFLED, Controls
from keras_cmsa.evaluation.scores import metrics_of, summarize
from keras_cmsa.presets.files import CONFIG, MODEL, VOCABULARY
from keras_cmsa.presets.hub import without_folders
from keras_cmsa.recipes.recipe_settings import recipe_settings
from keras_cmsa.utils.csv_files import read_rows, write_rows
from keras_cmsa.utils.files import replaced
from keras_cmsa.utils.silence import import_keras

RUN_DIR = "runs/photo_table"
OWN, BOXES, DESCRIBED = "own.csv", "boxes.csv", "described.csv"
COUNTS = 50, 100, 200  # photos of the learning curve, which ends with all of them
TABLE = ("image", "expression", "mask", "split")
UNTOUCHED = "untouched"
REORDERABLE, SEVERAL = "of several words", "of several objects"
PUBLISHED = "described masks too, then recipe"  # the row of the package's preset
# What the card of the preset says of its data and of what it cannot do.
LICENCE = (
    "Trained on 250 photos of COCO's train2014 (Flickr's terms), with expressions of RefCOCO, "
    "RefCOCO+ and RefCOCOg (no licence is stated for them), masks that are COCO's or within IoU 0.90 "
    "of these (CC BY 4.0), and boxes. Before that, on sentences made by rules about masks in 1,881 "
    "other photos: COCO (Flickr's terms, annotations CC BY 4.0), PASCAL VOC 2007 (Flickr's terms), "
    "animals (CC BY 4.0) and Penn-Fudan's pedestrians (for research). Eyes: EfficientNet-Lite0, "
    "trained on ImageNet (Apache-2.0). It finds the right thing somewhat more often than every second "
    "time, gains nothing from the order of words, and answers with a mask where nothing fits. Do not "
    "report it on RefCOCO's published splits: it has seen some of their photos."
)


def write_tables(photos):
    """The tables of the trainings: own sentences, those with boxes too, and described masks too.

    Of the last two there are tables of fewer own photos too, the first ones in an order by chance.
    Each has RefCOCO's sentences about the photos of val as its val.
    """
    refs, masks = photos / "refcoco_photos", photos / "with_masks"
    sentences = [row for _, row in read_rows(refs / "table.csv", (*TABLE, "dataset"))]
    held_out = [
        entry(refs, row)
        for row in sentences
        if (row["split"], row["dataset"]) == ("val", "refcoco")
    ]
    own = [entry(refs, row) for row in sentences if row["split"] == "train"]
    images = {Path(image).name: image for image, *_ in own}
    boxes = [
        (images[row["file_name"]], row["sent"], outline(row), "train")
        for _, row in read_rows(
            refs / "boxes_only.csv", ("file_name", "sent", "own_split", *"xywh")
        )
        if row["own_split"] == "train" and row["file_name"] in images
    ]
    described = [
        (*entry(masks, row)[:3], "train")
        for _, row in read_rows(masks / "table.csv", (*TABLE, "set"))
        if row["set"] != "clothes"
    ]
    order = random.Random(0).sample(sorted(images.values()), len(images))
    tables = {OWN: own, BOXES: own + boxes, DESCRIBED: own + boxes + described}
    for count in COUNTS:
        fewer = [row for row in own + boxes if row[0] in order[:count]]
        tables |= {some(BOXES, count): fewer, some(DESCRIBED, count): fewer + described}
    for name, rows in tables.items():
        with replaced(photos / name) as file:
            write_rows(file, [TABLE, *rows, *held_out])


def some(table, count):
    """The name of a table of `count` photos; `None`: all of them."""
    return f"{Path(table).stem}_{count}.csv" if count is not None else table


def entry(folder, row):
    image, mask = (f"{folder.name}/{row[column]}" for column in ("image", "mask"))
    return image, row["expression"], mask, row["split"]


def outline(row):
    """A polygon of a box without its corners, where objects rarely are."""
    x, y, width, height = (float(row[column]) for column in "xywh")
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    across, along = (np.sign(f(angles)) * abs(f(angles)) ** 0.8 for f in (np.cos, np.sin))
    points = np.stack([x + width * (1 + across) / 2, y + height * (1 + along) / 2], axis=-1)
    return f"[{points.ravel().round(1).tolist()}]"


def rows_of(photos, folder, eyes, vectors, sentences):
    """`{row: settings}`, what differs for a row of the table. A row comes after those that it needs.

    `{seed}` in a setting stands for that of the run.
    """
    recipe = {"image_encoder": eyes}
    pretrained = {"image_encoder": eyes, "data_dir": str(photos / OWN)} | SHORT
    boxes = {"data_dir": str(photos / BOXES)} | TWICE
    rows = {
        "learnt words": pretrained,
        "CMSA with word order": pretrained | {"system": "cmsa_ordered"},
        "no attention": pretrained | {"system": "cmsa_w_none"},
        "random eyes": {"data_dir": str(photos / OWN)} | SHORT | RANDOM_EYES,
        "learnt words, boxes too": pretrained | boxes,
    }
    for count in (*COUNTS, None):
        suffix = "" if count is None else f", {count} photos"
        own, described = (str(photos / some(table, count)) for table in (BOXES, DESCRIBED))
        first = f"described masks too{suffix}"
        rows |= {
            f"recipe{suffix}": recipe | {"data_dir": own},
            first: recipe | {"data_dir": described} | STAGE,
            f"{PUBLISHED}{suffix}": {
                "data_dir": own,
                "start_from": str(folder / first / "seed_{seed}"),
                **TWICE,
            },
        }
    if vectors:
        rows["GloVe"] = pretrained | {"word_vectors": vectors}
    if sentences:
        rows["MiniLM"] = pretrained | {"word_encoder": sentences}
    return rows


# What rows by parts share: an earlier, shorter training.
SHORT = {"steps": 600, "steps_per_round": 150, "batch_size": 4, "map_dropout": 0.0}
# The stage with described masks, and what follows it: twice the recipe.
STAGE = {"steps": 1200, "steps_per_round": 300, "map_dropout": 0.0}
TWICE = {"steps": 900, "steps_per_round": 225}
# The small model's own backbone, trained with the rest.
RANDOM_EYES = {
    "backbone": "small_resnet",
    "backbone_weights": "none",
    "image_size": 112,
    "image_encoder": None,
    "freeze_backbone": False,
    "features": None,
    "augment": False,
    "learning_rate": 2e-3,
}


def trained(settings, limit=None):
    """The `Predictor` of a training, on the first `limit` records if it is given."""
    import keras

    from keras_cmsa.inference.predictor import Predictor
    from keras_cmsa.training import run
    from keras_cmsa.training.loop import own_run_dir

    keras.utils.clear_session()
    data = run.read_data(settings)
    data.records[settings.train_on] = data.records[settings.train_on][:limit]
    with own_run_dir(settings.run_dir, resume=True):
        run.train_system(settings, data, resume=True, verbose=2)
    return Predictor.from_preset(settings.run_dir)


def train_and_evaluate(settings, records, untouched):
    """The numbers of a run in %, those of the controls, and its minutes."""
    from keras_cmsa.evaluation.evaluate import evaluate
    from keras_cmsa.presets.preset import write_config
    from keras_cmsa.training.run import PROFILE

    start = time.monotonic()
    predictor = trained(settings)
    minutes = (time.monotonic() - start) / 60
    controls = Controls(predictor.preprocessor.vocabulary)
    scores = evaluate(predictor, records, [controls], PROFILE)
    config = {**predictor.config, "controls": controls.summary(PROFILE)}
    config["metrics"] = metrics_of({"val": scores}, PROFILE, config["starting_weights"])
    write_config(settings.run_dir, config)
    numbers = summarize(scores, PROFILE)
    line = {name: numbers[name] for name in ("overall_iou", "mean_iou", "prec@0.5")}
    line[UNTOUCHED] = summarize([s for s in scores if s.record.ref_id in untouched])["overall_iou"]
    line |= {name: summarize(x.control)["overall_iou"] for name, x in controls.scores.items()}
    # On the records of these controls alone: what their numbers compare with.
    line |= {
        name: summarize(controls.scores[control].plain)["overall_iou"]
        for name, control in ((REORDERABLE, SHUFFLED), (SEVERAL, LARGEST))
    }
    return {**in_percent(line), "minutes": round(minutes, 1)}


def untouched_refs(photos):
    """Ids of the refs whose photo was never drawn on."""
    provenance = json.loads((photos / "refcoco_photos" / "provenance_refs.json").read_text())
    return {x["ref_id"] for x in provenance if not x["fraction_of_image_inverted"]}


def publish(run_dir, folder):
    """Copies a run as a preset, without the paths of its machine."""
    from keras_cmsa.presets.preset import load_preset, write_config
    from keras_cmsa.presets.reference import write_reference

    config = json.loads(without_folders(run_dir / CONFIG)) | {"licence": LICENCE}
    config["data"]["name"] = "250 photos of RefCOCO (split by photo, owner own)"
    config["starting_weights"] = "described masks of 1,881 other photos; eyes EfficientNet-Lite0"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, VOCABULARY):
        shutil.copy(run_dir / name, folder)
    write_config(folder, config)
    write_reference(folder, load_preset(folder))


def main(
    photos: Path,
    *,
    eyes: str,
    vectors: str | None = None,
    sentences: str | None = None,
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    rows: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    run_dir: Path = Path(RUN_DIR),
    preset: Path | None = None,
):
    """Train the rows of the table and write it.

    Parameters
    ----------
    photos
        Folder with refcoco_photos and with_masks; the trainings' tables are written into it.
    eyes
        The Keras file that recipes/convert_lite.py writes, or another image encoder.
    vectors
        A file of word vectors in GloVe's text form, for the row "GloVe".
    sentences
        A text encoder, for the row "MiniLM".
    seeds
        Train each row this often, with the seeds 0, 1, ...
    rows
        Some of the rows. All, unless given.
    run_dir
        Folder of the runs and of runs.csv.
    preset
        Folder to copy the run of seed 0 that begins with described masks to, as a preset.
    """
    import_keras()
    write_tables(photos)
    records = read_refer(photos / "refcoco_photos", "refcoco", "own")["val"]
    untouched = untouched_refs(photos)
    there = rows_of(photos, run_dir, eyes, vectors, sentences)
    if unknown := set(rows or ()) - set(there):
        raise ValueError(f"`rows` must be among {list(there)}. Received: {sorted(unknown)}")
    run_dir.mkdir(parents=True, exist_ok=True)

    def measure(row, given):
        own = {"features": str(run_dir / "features"), **given}
        return train_and_evaluate(replace(recipe_settings("photos"), **own), records, untouched)

    fill(run_dir, {row: there[row] for row in rows or there}, seeds, measure)
    if preset:  # the first seed: the best one would be a choice on val
        publish(run_dir / PUBLISHED / "seed_0", preset)


if __name__ == "__main__":
    run_script(main)
