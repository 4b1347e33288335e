"""The four recipes: their first 20 steps on the real samples, from files to metrics."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from keras_cmsa.data.refer import read_refer

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = {"small": True, "steps": 20, "batch_size": 2, "image_size": 32}

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ from the published"),
    pytest.mark.filterwarnings("ignore:.*images are missing"),
    pytest.mark.filterwarnings("ignore:.*expressions have no word that the vocabulary"),
    pytest.mark.slow,
]


@pytest.fixture
def recipe(monkeypatch):
    """Runs a recipe by its file's name; the small model at its smallest."""
    monkeypatch.syspath_prepend(RECIPES)

    def run(name, run_dir, **options):
        module = importlib.import_module(name)
        getattr(module, "recipe", module.main)(run_dir=run_dir, **{**TINY, **options})
        metrics = json.loads((run_dir / "metrics.json").read_text())
        rounds = (run_dir / "history.csv").read_text().splitlines()
        assert (run_dir / "model.keras").is_file() and len(rounds) == 2
        return {split: numbers["samples"] for split, numbers in metrics["splits"].items()}

    return run


def test_unc(recipe, samples, tmp_path):
    counts = recipe("train_unc", tmp_path, data_dir=samples / "refer")
    assert counts == {"val": 21, "testA": 12, "testB": 26}


def test_unc_plus(recipe, samples, tmp_path):
    """The sample has no images: plain ones of the declared sizes stand in for them."""
    shutil.copytree(samples / "refer_without_images", tmp_path / "refer")
    for records in read_refer(tmp_path / "refer", "refcoco+").values():
        for record in records:
            record.image_path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (record.width, record.height), "olive").save(record.image_path)
    counts = recipe("train_unc_plus", tmp_path / "run", data_dir=tmp_path / "refer")
    assert counts == {"val": 7, "testA": 6, "testB": 6}


def test_gref(recipe, samples, tmp_path):
    counts = recipe("train_gref", tmp_path, data_dir=samples / "refer")
    assert counts == {"val": 9}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside TFDS and keras-cv
@pytest.mark.filterwarnings("ignore:.*:UserWarning:keras_cv")
def test_gref_from_shards_with_augmentation(recipe, samples, tmp_path, capsys):
    pytest.importorskip("keras_cv")
    from keras_cmsa.data.prepare import prepare
    from keras_cmsa.data.refer_segmentation import config_of

    records = read_refer(samples / "refer", "refcocog", "google")
    prepare(records, config_of(tmp_path, "refcocog", "google"), tmp_path / "shards")
    counts = recipe(
        "train_gref", tmp_path / "run", data_dir=tmp_path / "shards", steps=3, augment=True
    )
    assert counts == {"val": 9}
    assert "The training set has 2 images of gref_google/val" in capsys.readouterr().out


def test_referit(recipe, samples, tmp_path):
    """The sample's val is empty."""
    counts = recipe("train_referit", tmp_path, data_dir=samples / "referit", validate_on="train")
    assert counts == {"train": 10, "test": 17}


def test_referit_on_trainval(recipe, samples, tmp_path):
    counts = recipe(
        "train_referit",
        tmp_path,
        data_dir=samples / "referit",
        train_on="trainval",
        validate_on="test",
        steps=1,
    )
    assert counts == {"test": 17}
