"""Whether a model knows what is not there: docs/none_and_many.md.

    keras-cmsa synthesize data/any --targets any --colours red yellow green blue
    keras-cmsa synthesize data/new_colours --colours orange purple red green
    python recipes/existence_table.py shapes data/any --new-colours data/new_colours --seeds 3
    python recipes/existence_table.py photos data/photos --eyes lite0.keras --seeds 3

A run has a line in `runs.csv` and is not repeated; one that is cut resumes.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from photo_table import BOXES, SHORT, trained, write_tables
from run_table import fill, in_percent

from keras_cmsa.cli import command_line
from keras_cmsa.data.negatives import Negatives
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.sources import read_records
from keras_cmsa.evaluation.scores import summarize
from keras_cmsa.recipes.recipe_settings import recipe_settings
from keras_cmsa.utils.silence import import_keras

RUN_DIR = Path("runs/existence")
PROFILE = "gres"
EXISTS, ALONE = "exists", "mask alone"
TUNED, FORGETFUL = "tuned on new colours", "tuned without negatives"
Seeds = Annotated[int, Parameter(validator=Number(gte=1))]
app = cyclopts.App(help=__doc__)


@app.command
def shapes(data: Path, *, new_colours: Path, seeds: Seeds = 1, run_dir: Path = RUN_DIR / "shapes"):
    """Train on RefShapes with any number of targets, and go on with 200 sentences of new colours.

    Parameters
    ----------
    data
        RefShapes of `--targets any`.
    new_colours
        RefShapes of other colours, whose sentences all have a target.
    """
    import_keras()
    val = read_records(data, "grefcoco")["val"]
    planted = planted_words(data)
    common = {
        "data_dir": str(data), "dataset": "grefcoco", "system": "cmsa_ordered",
        "pretrain_steps": 1500, "pretrain_batch_size": 8, "pretrain_learning_rate": 8e-3,
        "freeze_backbone": True, "steps": 5600, "steps_per_round": 1400, "optimizer": "muon",
        "learning_rate": 4e-3,
    }  # fmt: skip
    tuning = {
        "data_dir": str(new_colours), "steps": 200, "steps_per_round": 100, "optimizer": "adamw",
        "learning_rate": 5e-4,
    }  # fmt: skip
    start = str(run_dir / EXISTS / "seed_{seed}")
    again = {
        "pretrain_steps": 0, "backbone_weights": f"{start}/backbone.keras", "freeze_backbone": True,
    }  # fmt: skip
    rows = {
        EXISTS: common | {"existence": True},
        ALONE: {k: v for k, v in common.items() if not k.startswith("pretrain")} | again,
        TUNED: tuning | {"start_from": start},
        FORGETFUL: tuning | {"start_from": start, "negatives": 0},
    }

    def measure(row, given):
        settings = recipe_settings("unc", small=True, **given)
        predictor = trained(settings, limit=200 if row in (TUNED, FORGETFUL) else None)
        share = named(predictor, val, planted)
        return in_percent(numbers_of(predictor, val) | {"planted word named": share})

    fill(run_dir, rows, seeds, measure)


@app.command
def photos(folder: Path, *, eyes: str, seeds: Seeds = 1, run_dir: Path = RUN_DIR / "photos"):
    """Train on photos, and ask about each also the sentences of others.

    Parameters
    ----------
    folder
        Has refcoco_photos and with_masks, as in `photo_table.py`.
    eyes
        An image encoder, as there.
    """
    import_keras()
    write_tables(folder)
    val = read_refer(folder / "refcoco_photos", "refcoco", "own")["val"]
    settings = replace(
        recipe_settings("photos"),
        image_encoder=eyes,
        data_dir=str(folder / BOXES),
        features=str(run_dir / "features"),
        **SHORT | {"steps": 900, "steps_per_round": 225},
    )

    def measure(row, given):
        predictor = trained(replace(settings, **given))
        return in_percent(numbers_of(predictor, [*val, *of_other_images(val)]))

    rows = {EXISTS: {"existence": True}, ALONE: {"existence": False}}
    fill(run_dir, rows, seeds, measure)


def numbers_of(predictor, records):
    """The numbers of `gres`, and the overall IoU of sentences with one target by `strict`."""
    from keras_cmsa.evaluation.evaluate import evaluate

    scores = evaluate(predictor, records, profile=PROFILE)
    numbers = summarize(scores, PROFILE)
    one = summarize([score for score in scores if score.record.targets == 1])
    shares = ("ciou", "giou", "n_acc", "t_acc", "prec@0.7")
    return {name: numbers[name] for name in shares} | {"IoU of one target": one["overall_iou"]}


def of_other_images(records):
    """A record without a target for each record: a sentence of another image that fits nothing."""
    negatives, random = Negatives(records, 1), np.random.default_rng(0)
    absent = []
    for number, record in enumerate(records):
        sentences = (negatives.of_another_image(number, random) for _ in range(100))
        if sentence := next(filter(None, sentences), None):
            absent.append(replace(record, expression=sentence, raw=sentence, targets=0))
    return absent


def planted_words(data):
    """The word that makes a sentence fit nothing: `{sentence id: word}`."""
    (refs,) = (data / "grefcoco").glob("grefs(*).json")
    return {
        sentence["sent_id"]: sentence["planted"]
        for ref in json.loads(refs.read_text())
        for sentence in ref["sentences"]
        if sentence.get("planted")
    }


def named(predictor, records, planted):
    """Of the sentences that are rightly refused, the share whose planted word is named; 0 of none."""
    from keras_cmsa.explain.word_importance import excluding_words, explain_words

    hits = []
    for record in records:
        if record.sentence_id not in planted:
            continue
        (words,) = predictor.read([record.expression])
        answer, importance = explain_words(predictor, record.image(), words)
        if "exists" in answer and answer["exists"] < predictor.threshold:
            excluding = excluding_words(importance, predictor.threshold)
            hits.append(excluding[:1] == [planted[record.sentence_id]])
    return sum(hits) / max(1, len(hits))


if __name__ == "__main__":
    command_line.run(app, sys.argv[1:], sys.argv[0])
