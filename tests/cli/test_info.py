"""`keras-cmsa info`: what is installed, what a model is, and that a bad one is refused."""

import json
from importlib import metadata

import keras
from command import refused, run

from keras_cmsa.cli import info
from keras_cmsa.presets.files import read_config


def test_what_is_installed(capsys):
    assert run("info", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["keras"] == metadata.version("keras")
    assert facts["keras-cmsa"] == metadata.version("keras-cmsa")
    assert facts["backend"] == keras.backend.backend() and facts["devices"]
    assert "model" not in facts


def test_what_is_not_installed_names_the_extra(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(info.metadata, "version", missing)
    versions = info.installed()
    assert versions["gradio"] == 'not installed: pip install "keras-cmsa[demo]"'


def test_what_a_preset_is(capsys, models_kept, preset, predictor):
    assert run("info", preset, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    wanted = {
        "model": "cmsa",
        "trained on": "boxes",
        "started from": "random (seed 7)",
        "image size": 16,
        "resizing": "pad",
        "words per expression": 5,
        "vocabulary": 10,
        "parameters": predictor.model.count_params(),
        "precision": "float32",
        "attention": "Res3, Res4, Res5",
        "overall IoU on val": 0.5,
        "profile": "strict",
    }
    assert {name: facts.get(name) for name in wanted} == wanted
    assert run("info", preset) == 0
    printed = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    assert ["parameters", str(wanted["parameters"])] in printed


def test_what_an_export_is(capsys, exported):
    assert run("info", exported, "--json") == 0
    facts, config = json.loads(capsys.readouterr().out), read_config(exported)
    assert facts["parameters"] == config["parameters"] and facts["resizing"] == "pad"


def test_precision():
    stored = {"export": {"Weights stored as": "float16"}}
    half = {"training": {"mixed_precision": "bfloat16"}}
    whole = {"training": {"mixed_precision": None}}
    assert info.precision(whole) == info.precision({"training": {}}) == "float32"
    assert info.precision(half) == "float32, computed in bfloat16"
    assert info.precision(whole | stored) == "float16"


def test_what_is_no_model(capsys, tmp_path):
    assert "is no preset: config.json is not there" in refused(capsys, "info", tmp_path / "none")
