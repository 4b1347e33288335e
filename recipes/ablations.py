"""The paper's tables: every system trained alike, on the same data, for as long, from the same seeds.

    python recipes/ablations.py --table 2                       attention, on RefShapes, for two cores
    python recipes/ablations.py --table 3                       words, and fusion of levels
    python recipes/ablations.py --table 1                       the compared systems
    python recipes/ablations.py --systems cmsa cmsa_ordered     any systems of keras_cmsa.models.systems
    python recipes/ablations.py --table 1 --data-dir REFER_ROOT --paper-size          for a GPU

Paper: overall IoU on UNC val in paper_tables.py; the tables have it in a column of its own, since it
is of photos, of COCO-trained DeepLab weights and with DenseCRF. What two CPU cores find on RefShapes
is in docs/results.md: CMSA 66.8 on val, the mean of three seeds. The paper's sizes have not been run in full yet.
Cost: five to nine minutes a system with its controls, one thread on one of two CPU cores; DMN takes
ten times as long.

--run-dir gets a preset per system and seed, runs.csv with a line for each, and table_<n>.md, .csv and
.png. What has its line is not trained again and what is under way is resumed, so tables share their
systems and a kill costs a round. A copy of docs/ablations as --run-dir adds to what is reported.
"""

from dataclasses import replace
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from paper_tables import TABLES

from keras_cmsa.cli.command_line import run_script
from keras_cmsa.cli.train import flags_of, given_in
from keras_cmsa.recipes.recipe_settings import help_with, recipe_settings
from keras_cmsa.recipes.unc import SMALL, SMALL_ON_REF_SHAPES
from keras_cmsa.training.settings import Settings
from keras_cmsa.utils.silence import import_keras

# For two CPU cores: the recipes' small model, with a shorter training. All systems have one backbone,
# as the paper's have: it learns the classes of the training images' objects and then stays as it is.
BUDGET = {
    "steps": 4800,
    "steps_per_round": 1200,
    "optimizer": "adamw",  # the paper's Adam, with decoupled decay
    "learning_rate": 3e-3,
    "batch_size": 8,
    "sentences_per_image": 1,
    "word_dropout": 0.0,  # as in the paper
}
PRETRAINING = {
    "pretrain_steps": 1000,
    "pretrain_batch_size": 16,
    "pretrain_learning_rate": 2e-3,
}
# For a GPU, with --paper-size: the paper's settings; two systems were published on another backbone.
PUBLISHED = {
    "lstm_cnn": {"backbone": "vgg16"},
    "dmn": {"backbone": "pyramid_resnet101", "fusion_dim": 512},
}
RUN_DIR = "runs/ablations"
EACH = ("system", "seed")  # the settings that differ from run to run


SMALL_SETTINGS = {**SMALL, **SMALL_ON_REF_SHAPES, **BUDGET, **PRETRAINING, "run_dir": RUN_DIR}
TEXTS = help_with({"default": SMALL_SETTINGS, "paper size": {"run_dir": RUN_DIR}})
Given = flags_of(Settings, {name: text for name, text in TEXTS.items() if name not in EACH})
NOTHING = Given()


def main(
    *,
    table: Literal[1, 2, 3] | None = None,
    systems: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    paper_size: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
):
    """Train systems alike, evaluate them, and write tables and charts.

    Parameters
    ----------
    table
        Train the systems of this table of the paper and write it. Without it and --systems: all.
    systems
        Names of systems to train instead; with --table, only these rows of it.
    seeds
        Train each system this often, with the seeds 0, 1, ...
    paper_size
        The published sizes and backbones instead of small ones.
    """
    import_keras()
    from comparison import compare

    given = given_in(given)
    own = PUBLISHED if paper_size else {}
    own = {system: without(given, settings) for system, settings in own.items()}
    compare(shared_settings(paper_size, given), own, rows_of(table, systems), seeds)


def shared_settings(paper_size, given):
    """The `Settings` that all systems share, some of them given."""
    settings = recipe_settings("unc", not paper_size, **given)
    ours = {"run_dir": RUN_DIR, "freeze_backbone": settings.pretrain_steps > 0}
    if not paper_size:
        ours |= BUDGET | (PRETRAINING if settings.pretrain_steps else {})
    return replace(settings, **without(given, ours))


def without(given, settings):
    return {name: value for name, value in settings.items() if name not in given}


def rows_of(table, systems):
    """The rows of each table that is asked for: `{table: {row: system}}`."""
    from keras_cmsa.models.systems import SYSTEMS

    tables = {table: TABLES[table]} if table else TABLES
    if not systems:
        return tables
    there = set(tables[table].values()) if table else set(SYSTEMS)
    if unknown := set(systems) - there:
        raise ValueError(f"`systems` must be among {sorted(there)}. Received: {sorted(unknown)}")
    if not table:
        return {"systems": {name: name for name in systems}}
    return {table: {row: name for row, name in tables[table].items() if name in systems}}


if __name__ == "__main__":
    run_script(main)
