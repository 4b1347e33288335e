"""The model card says to people, and to hubs, what config.json says."""

import json

import pytest
import tiny

from keras_cmsa.presets.model_card import as_markdown
from keras_cmsa.presets.preset import make_config


def test_the_card_of_a_preset(preset):
    yaml = pytest.importorskip("yaml")
    config = json.loads((preset / "config.json").read_text())
    card = (preset / "README.md").read_text("utf-8")
    assert card == as_markdown(config)
    _, head, page = card.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "keras"
    lines = page.splitlines()
    for line in (
        "# cmsa",
        "| Trained on | boxes |",
        "| Started from | random (seed 7) |",
        "| Input side S in pixels | 16 |",
        "| How images fill it | pad |",
        "| Words per expression N | 5 |",
        "## Metrics, profile `strict`",
        "| val | 0.5 | 0.25 | 3 |",
        "| val | 2 | 3 | 1 |",
        "## Leakage",
        "## Licence",
        config["licence"],
    ):
        assert line in lines
    for name, version in config["versions"].items():
        assert f"| {name} | {version} |" in lines


def test_what_is_not_known_is_said():
    card = as_markdown(make_config("cmsa", tiny.preprocessor()))
    assert "No metrics were recorded" in card and "| Trained on | unknown |" in card
    assert "## Data" not in card
