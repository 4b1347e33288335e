"""Trains systems under one budget and evaluates them: what `ablations.py` calls."""

import json
from dataclasses import replace
from pathlib import Path

import keras
from attention_measures import AttentionReport, learnt_attentions
from costs import measure_costs
from run_table import ALL, add, is_done
from tables import SETTINGS, write_table

from keras_cmsa.data.leakage import TRAINED_ON
from keras_cmsa.evaluation.controls import Controls
from keras_cmsa.evaluation.evaluate import evaluate
from keras_cmsa.evaluation.scores import metrics_of, write_scores
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.presets.preset import write_config
from keras_cmsa.training import run
from keras_cmsa.training.loop import counts, own_run_dir
from keras_cmsa.utils.files import replaced
from keras_cmsa.utils.locks import locked
from keras_cmsa.utils.messages import differences


def compare(shared, own, tables, seeds):
    """Trains the systems of some tables, evaluates them, and writes the tables.

    Args:
        shared: the `Settings` of all of them; `run_dir` gets a folder per system and seed.
        own: `{system: {setting: value}}`, what differs for a system.
        tables: `{table: {row: system}}`.
        seeds: how often to train each system, with the seeds 0, 1, ...

    Raises:
        ValueError: if the data have no split to report, or `run_dir` has systems that were trained
            otherwise.
    """
    data = run.read_data(shared)
    splits = held_out(shared, data.records)
    shared = replace(shared, max_words=longest(shared, data.records[shared.train_on]))
    keep_budget(shared, data)
    folder = Path(shared.run_dir)
    with locked(folder / ".lock", f"another comparison works in {folder}"):
        # Seed by seed, so that a comparison that is cut short has every system in it.
        for seed in range(seeds):
            for name in dict.fromkeys(name for rows in tables.values() for name in rows.values()):
                settings = replace(shared, system=name, seed=seed, **own.get(name, {}))
                train_and_evaluate(settings, data, splits)
        for table, rows in tables.items():
            write_table(folder, table, rows)


def held_out(settings, records):
    """The splits that are not trained on: `{split: [Record, ...]}`."""
    trained_on = {settings.train_on, *TRAINED_ON}
    if settings.validate_on in trained_on:
        raise ValueError(
            "`validate_on` must name a split that is not trained on, since the tables report it. "
            f"Received: {settings.validate_on}"
        )
    return {split: x for split, x in records.items() if x and split not in trained_on}


def longest(settings, records):
    """Words per expression N: as many as the longest training expression has, 20 at most."""
    if settings.tokenizer != "words":
        return settings.max_words
    return min(settings.max_words, max(len(split_words(r.expression)) for r in records))


def keep_budget(settings, data):
    """One folder has one budget: what stands in a table was trained alike."""
    path = Path(settings.run_dir) / SETTINGS
    now = {"data": data.name, "counts": counts(data.records), **settings.to_config()}
    now |= {"profile": run.PROFILE, "backend": keras.backend.backend()}
    del now["system"], now["seed"]
    before = json.loads(path.read_text()) if path.exists() else now
    if changes := differences(before, now):
        raise ValueError(
            f"The systems in {settings.run_dir} were trained with other settings: "
            f"{'; '.join(changes)}. Give those, or another `run_dir`"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as file:
        json.dump(now, file, indent=1)


def train_and_evaluate(shared, data, splits):
    """One system: what of it is still to be done.

    Args:
        shared: `Settings` with the system's name and seed.
        data: `Data`.
        splits: to evaluate, `{split: [Record, ...]}`.
    """
    folder = Path(shared.run_dir)
    run_dir = folder / shared.system / f"seed_{shared.seed}"
    if is_done(folder, shared.system, shared.seed):
        return
    print(f"{shared.system}, seed {shared.seed}")
    settings = replace(shared, run_dir=str(run_dir))
    if shared.pretrain_steps:
        backbone = shared_backbone(shared, data)
        settings = replace(settings, pretrain_steps=0, backbone_weights=str(backbone))
    keras.utils.clear_session()
    with own_run_dir(run_dir, resume=True):
        run.train_system(settings, data, resume=True, verbose=2)
        config = report(run_dir, splits, settings.validate_on, run.starting_weights(shared))
    add(folder, shared.system, shared.seed, config, settings.validate_on)


def shared_backbone(shared, data):
    """The file of the backbone that all systems of a folder have; made if it is not there."""
    path = Path(shared.run_dir) / run.BACKBONE
    if not path.exists():
        keras.utils.set_random_seed(0)
        run.make_backbone(shared, data, data.records[shared.train_on])
    return path


def report(run_dir, splits, measured_on, start):
    """Evaluates the best model of a run; its `config.json` gets the results, and is returned.

    Args:
        run_dir: `Path` of the run.
        splits: to evaluate, `{split: [Record, ...]}`.
        measured_on: the split on which the attention is measured.
        start: the starting weights, in words.
    """
    predictor = Predictor.from_preset(run_dir)
    config, controls = predictor.config, Controls(predictor.preprocessor.vocabulary)
    attention = [AttentionReport(predictor)] if learnt_attentions(predictor.model) else []
    scores = {}
    for split, records in splits.items():
        ask = [controls, *(attention if split == measured_on else [])]
        scores[split] = evaluate(predictor, records, ask, run.PROFILE)
    write_scores(run_dir, scores)
    scores[ALL] = [score for split_scores in scores.values() for score in split_scores]
    config["controls"] = controls.summary(run.PROFILE)
    if attention:
        config["attention"] = attention[0].rows(run.PROFILE)
    config["starting_weights"] = start
    config["costs"] = measure_costs(predictor.model, run_dir)
    config["metrics"] = metrics_of(scores, run.PROFILE, start)
    write_config(run_dir, config)
    return config
