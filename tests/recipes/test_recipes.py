"""The four recipes: from files to a preset with its numbers and pictures."""

import json
import shutil

import command
import pytest
import tiny
from command import read_rows
from PIL import Image

from keras_cmsa.data.readers.refer import read_refer

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ from the published"),
    pytest.mark.filterwarnings("ignore:.*images are missing"),
    pytest.mark.filterwarnings("ignore:.*expressions have no word that the vocabulary"),
]
TINY = {"small": True, "image_size": 32, "batch_size": 2, "steps": 2, "steps_per_round": 1}


def read(run_dir):
    return json.loads((run_dir / "config.json").read_text())


def is_picture(path):
    with Image.open(path) as picture:
        return len(picture.convert("RGB").getcolors(2**24)) > 100


@pytest.mark.slow
def test_a_recipe_leaves_a_preset_with_its_records_and_resumes_only_itself(page, tmp_path, capsys):
    """The whole way on TensorFlow, on data that need no more than this clone."""
    root = tiny.refer_root(tmp_path / "refer", {"train": 4, "val": 2, "testA": 3})
    run_dir = tmp_path / "run"
    # The system of one level compiles in a third of the time that three take.
    options = {**TINY, "system": "cmsa_w", "data_dir": root, "run_dir": run_dir}
    assert page("train_unc", **options) == 0
    config = read(run_dir)
    assert config["system"] == "cmsa_w" and config["starting_weights"] == "random (seed 0)"
    assert config["preprocessor"]["image_size"] == 32
    assert config["data"]["name"] == "refcoco (unc)"
    assert config["data"]["counts"]["train"] == {"refs": 4, "expressions": 4, "images": 4}
    assert config["training"]["learning_rate"] == 2e-3 and config["training"]["steps"] == 2
    splits = config["metrics"]["splits"]
    assert {split: of["samples"] for split, of in splits.items()} == {"val": 2, "testA": 3}
    card = (run_dir / "README.md").read_text()
    assert "| Trained on | refcoco (unc) |" in card and "## Leakage" in card
    assert f"| val | {splits['val']['overall_iou']:.4g} |" in card
    assert [row["round"] for row in read_rows(run_dir / "history.csv")] == ["1", "2"]
    for split, numbers in splits.items():
        ious = [float(row["iou"]) for row in read_rows(run_dir / f"scores_{split}.csv")]
        assert sum(ious) / len(ious) == pytest.approx(numbers["mean_iou"], abs=1e-5)
        assert is_picture(run_dir / f"examples_{split}.png")
        assert is_picture(run_dir / f"failures_{split}.png")
    found = tmp_path / "mask.png"
    image = next(root.rglob("*.jpg"))
    assert command.run("segment", image, "red box", "--model", run_dir, "--mask", found) == 0
    with Image.open(found) as mask, Image.open(image) as photo:
        assert mask.size == photo.size

    capsys.readouterr()
    assert page("train_unc", **options) == 2
    assert "--resume" in capsys.readouterr().err
    assert page("train_unc", **options, resume=True, learning_rate=0.5) == 2
    error = capsys.readouterr().err
    assert "learning_rate was 0.002 and is 0.5" in error and "Traceback" not in error
    assert read(run_dir) == config


@pytest.mark.slow
def test_the_small_model_memorises_a_few_scenes(page, tmp_path):
    root = tiny.refer_root(tmp_path / "refer", {"train": 6})
    options = {"batch_size": 6, "steps": 60, "steps_per_round": 60, "validate_on": "train"}
    options = {**TINY, **options, "system": "cmsa_w", "data_dir": root}
    page("train_unc", **options, run_dir=tmp_path / "run")
    assert read(tmp_path / "run")["metrics"]["splits"]["train"]["overall_iou"] > 0.6


@pytest.fixture
def counts(page, tmp_path):
    """Runs a page on real samples; gives how many expressions it evaluated in each split."""

    def run(name, **options):
        run_dir = tmp_path / "run"
        options = {**TINY, "system": "cmsa_w", "steps": 1, **options, "run_dir": run_dir}
        assert page(name, **options) == 0
        splits = read(run_dir)["metrics"]["splits"]
        return {split: numbers["samples"] for split, numbers in splits.items()}

    return run


@pytest.mark.slow
def test_unc(counts, samples, tmp_path):
    wanted = {"val": 21, "testA": 12, "testB": 26}
    assert counts("train_unc", data_dir=samples / "refer", system="cmsa_ordered") == wanted
    for split in wanted:
        for kind in ("examples", "failures", "paper"):
            assert is_picture(tmp_path / "run" / f"{kind}_{split}.png")


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
def test_unc_plus(counts, samples, tmp_path):
    """The sample has no images: plain ones of the declared sizes stand in for them."""
    root = shutil.copytree(samples / "refer_without_images", tmp_path / "refer")
    for records in read_refer(root, "refcoco+").values():
        for record in records:
            record.image_path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (record.width, record.height), "olive").save(record.image_path)
    assert counts("train_unc_plus", data_dir=root) == {"val": 7, "testA": 6, "testB": 6}


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside keras-cv
@pytest.mark.filterwarnings("ignore:.*:UserWarning:keras_cv")
def test_gref_with_augmentation(counts, samples, capsys):
    pytest.importorskip("keras_cv")
    assert counts("train_gref", data_dir=samples / "refer", augment=True) == {"val": 9}
    assert "The training set has 2 images of refcocog/google/val" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("train_on", "validate_on", "wanted"),
    [("train", "train", {"train": 10, "test": 17}), ("trainval", "test", {"test": 17})],
)
def test_referit(counts, samples, train_on, validate_on, wanted):
    """The sample's val is empty."""
    options = {"train_on": train_on, "validate_on": validate_on}
    assert counts("train_referit", data_dir=samples / "referit", **options) == wanted
