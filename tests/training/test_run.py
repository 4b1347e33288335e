"""A run's parts from its settings: data, preprocessor, backbone, and what it is said to start from."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tiny

from keras_cmsa.data.objects import objects_of
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.models.backbones import small_resnet
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.preprocessing.word_pieces import WordPieces
from keras_cmsa.presets.preset import Preset, load_preset, save_model, save_preset
from keras_cmsa.training import run
from keras_cmsa.training.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:counts differ from the published")
SPLITS = {"train": 5, "val": 2, "testA": 3}


@pytest.fixture
def root(tmp_path):
    return tiny.refer_root(tmp_path / "refer", SPLITS)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Runs, and data that are drawn, lie in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def test_a_missing_keras_cv_shows_before_any_work(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ModuleNotFoundError, match=r"keras_cv: pip install \"keras-cmsa\[data\]"):
        run.run_training(Settings(data_dir=str(root), augment=True, run_dir="runs/a"))
    assert not Path("runs").exists()


# --- data


def test_data_in_a_folder(root):
    data = run.read_data(Settings(data_dir=str(root)))
    assert data.name == "refcoco (unc)"
    assert {split: len(records) for split, records in data.records.items()} == SPLITS


OPENED = []
sys.addaudithook(lambda event, arguments: event == "open" and OPENED.append(str(arguments[0])))


def test_each_file_is_read_once(root, capsys):
    """All splits, the leakage guard and the objects of a pretraining share a reading."""
    for other in ("refcoco/refs(google).p", "refcoco+/refs(unc).p", "refclef/refs(unc).p"):
        (root / other).parent.mkdir(exist_ok=True)
        (root / other).write_bytes((root / "refcoco/refs(unc).p").read_bytes())
    settings = Settings(**SMALL, data_dir=str(root), pretrain_steps=1)
    OPENED.clear()
    data = run.read_data(settings)
    images, _ = objects_of(data.instances, data.records["train"])
    names = ["refcoco/instances.json"]
    names += [
        f"{name}.p" for name in ("refcoco/refs(unc)", "refcoco/refs(google)", "refcoco+/refs(unc)")
    ]
    opened = [path for path in OPENED if path.endswith((".p", ".json"))]
    assert sorted(opened) == sorted(str(root / name) for name in names)
    assert sum(len(objects) for _, objects in images) == SPLITS["train"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"Reading refcoco (unc) in {root}" and len(said) == 3
    assert said[2] == f"Reading {root / 'refcoco+/refs(unc).p'} for images that it holds out"


def test_a_table_with_an_image_in_two_splits_is_told_of_it(root, tmp_path, capsys):
    """Whatever its splits are called; the flag that is named takes the image out."""
    first, second = (str(x.relative_to(tmp_path)) for x in sorted(root.rglob("*.jpg"))[:2])
    rows = [
        f'{image},red box,"[1, 1, 6, 1, 6, 7]",{split}'
        for image, split in ((first, "fit"), (second, "fit"), (second, "dev"))
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["image,expression,mask,split", *rows]))
    given = {"data_dir": str(tmp_path / "mine.csv"), "train_on": "fit", "validate_on": "dev"}
    data = run.read_data(Settings(**given))
    assert data.name == "mine.csv" and len(data.records["fit"]) == 2
    assert capsys.readouterr().out == (
        "The training set has 1 images of mine/dev (--exclude-images-of mine/dev removes them)\n"
    )
    (left,) = run.read_data(Settings(**given, exclude_images_of=("mine/dev",))).records["fit"]
    assert left.image_path == tmp_path / first and not capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:2 of 2 images are missing")
def test_data_whose_splits_have_no_owner(tmp_path):
    """ReferIt's release: no owner stands in the model card, and two splits join for training."""
    for split, expressions in (("train", {"7_1": ["sky"]}), ("val", {"8_1": ["cup", "the cup"]})):
        (tmp_path / f"referit_query_{split}.json").write_text(json.dumps(expressions))
    (tmp_path / "referit_imsize.json").write_text('{"7.jpg": [12, 8], "8.jpg": [12, 8]}')
    settings = Settings(data_dir=str(tmp_path), dataset="referit", train_on="trainval")
    data = run.read_data(settings)
    assert data.name == "referit"
    assert {s: len(of) for s, of in data.records.items()} == {"train": 1, "val": 2, "trainval": 3}


def test_without_a_folder_ref_shapes_are_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "write_ref_shapes", lambda folder: tiny.refer_root(folder, SPLITS))
    assert run.read_data(Settings()).name == "RefShapes"
    assert (tmp_path / "data/ref_shapes/refcoco").is_dir()


@pytest.mark.parametrize("name", ["train_on", "validate_on"])
def test_a_split_that_is_not_there_names_the_others(root, name):
    message = f"no split 'dev'; there is: train, val, testA. .*one that is there as `{name}`$"
    with pytest.raises(ValueError, match=message):
        run.read_data(Settings(data_dir=str(root), **{name: "dev"}))


def test_a_training_needs_images_that_are_held_out_nowhere(root, monkeypatch):
    monkeypatch.setattr(run, "remove_held_out", lambda *_: [])
    with pytest.raises(ValueError, match="'train' of .*held out by `exclude_images_of` all$"):
        run.read_data(Settings(data_dir=str(root), exclude_images_of=("all",)))


# --- a model that training goes on from


@pytest.mark.usefixtures("untraced")
def test_training_goes_on_from_a_preset(root, preset, tmp_path):
    """Its words, sizes and weights come with it; the card names it."""
    before = load_preset(preset)
    settings = Settings(
        start_from=str(preset), data_dir=str(root), run_dir=str(tmp_path / "run"),
        steps=1, learning_rate=1e-9, end_learning_rate=0.0, weight_decay=0.0, freeze_backbone=True,
    )  # fmt: skip
    with run.own_run_dir(settings.run_dir, resume=False):
        run.train_system(settings, run.read_data(settings), verbose=0)
    after = load_preset(tmp_path / "run")
    assert after.model.name == before.model.name
    assert after.preprocessor.get_config() == before.preprocessor.get_config()
    for one, other in zip(before.model.weights, after.model.weights, strict=True):
        np.testing.assert_allclose(tiny.to_numpy(one.value), tiny.to_numpy(other.value), atol=1e-6)
    assert not after.model.get_layer("backbone").trainable_weights
    assert after.config["starting_weights"] == (
        f"the preset {preset.name}: cmsa, trained on boxes from random (seed 7)"
    )
    assert after.config["licence"] == before.config["licence"]
    assert "image_size" not in after.config["training"]


def test_mixed_precision_ends_with_the_training():
    with pytest.raises(ZeroDivisionError), run.precision("bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise ZeroDivisionError
    assert keras.config.dtype_policy().name == "float32"


def test_a_model_that_cannot_be_trained(monkeypatch):
    loaded = SimpleNamespace(model=SimpleNamespace(trainable_weights=[]))
    monkeypatch.setattr(run, "load_preset", lambda source: loaded)
    with pytest.raises(ValueError, match="saved/1 cannot be trained: wanted a preset, .*exported"):
        run.load_to_train(Settings(start_from="saved/1"))


# --- words


def test_the_words_are_those_of_the_training(tmp_path):
    records = tiny.records(tmp_path, 6)
    vocabulary, arguments = run.make_words(Settings(max_words=7), records)
    words = {word for record in records for word in record.expression.split()}
    assert set(vocabulary.words[2:]) == words and vocabulary.max_words == 7
    assert type(vocabulary) is Vocabulary and arguments == {}
    every, _ = run.make_words(Settings(min_count=len(records)), records)
    assert set(every.words[2:]) == {
        word for word in words if all(word in record.expression for record in records)
    }


def test_words_may_be_cut_into_pieces(tmp_path):
    pytest.importorskip("tensorflow_text")
    settings = Settings(tokenizer="wordpiece", pieces=60, max_words=9)
    vocabulary, _ = run.make_words(settings, tiny.records(tmp_path, 6))
    assert isinstance(vocabulary, WordPieces) and vocabulary.max_words == 9


def test_a_model_of_pretrained_parts(tmp_path):
    """The tower of a file with a finer map for the decoder, and words that training never shows."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    for width in (3, 4, 5, 6, 7):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(x)
    keras.Model(image, x).save(tmp_path / "tower.keras")
    (tmp_path / "glove.txt").write_text("zebra 1 2 3\nred 3 4 5\n")
    settings = Settings(
        system="cmsa_refined", image_encoder=str(tmp_path / "tower.keras"), freeze_backbone=True,
        word_vectors=str(tmp_path / "glove.txt"), image_size=32, word_dim=4, attention_dim=4,
        fusion_dim=8,
    )  # fmt: skip
    model, preprocessor = run.new_model(settings, None, tiny.records(tmp_path, 3))
    assert preprocessor.vocabulary.words == ["[PAD]", "[UNK]", "zebra", "red"]
    assert preprocessor.image_size == 32
    assert [x.shape[1] for x in model.get_layer("backbone").outputs] == [2, 2, 2, 4, 8]
    assert not model.get_layer("backbone").trainable_weights
    save_preset(tmp_path / "preset", Preset(model, preprocessor, {}))
    loaded = load_preset(tmp_path / "preset").model
    inputs = preprocessor([np.full((20, 30, 3), 90, "uint8")], ["red zebra"])
    np.testing.assert_array_equal(tiny.to_numpy(loaded(inputs)), tiny.to_numpy(model(inputs)))

    plain = replace(settings, system="cmsa_ordered", freeze_backbone=False)
    model, _ = run.new_model(plain, None, tiny.records(tmp_path, 3))
    assert len(model.image_encoder.outputs) == 3 and model.image_encoder.trainable_weights


# --- where a model starts


SMALL = {"backbone": "small_resnet", "backbone_weights": "none", "image_size": 32}


@pytest.mark.parametrize(
    ("name", "given", "weights"),
    [
        ("dilated_resnet101", "none", None),
        ("pyramid_resnet101", "imagenet", "imagenet"),
        ("vgg16", "w.h5", "w.h5"),
    ],
)
def test_a_published_backbone_gets_the_weights_asked_for(monkeypatch, name, given, weights):
    asked = []
    monkeypatch.setattr(run.backbones, name, lambda *arguments: asked.append(arguments))
    run.make_backbone(Settings(backbone=name, backbone_weights=given, image_size=64), None, [])
    assert asked == [(64, weights)]


def test_a_backbone_that_another_run_left(tmp_path):
    left = small_resnet(32)
    left.save(tmp_path / "backbone.keras")
    settings = Settings(**SMALL | {"backbone_weights": str(tmp_path / "backbone.keras")})
    found = run.make_backbone(settings, None, [])
    assert found.trainable_weights
    frozen = run.make_backbone(replace(settings, freeze_backbone=True), None, [])
    assert not frozen.trainable_weights
    for ours, theirs in zip(found.get_weights(), left.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    tiny.model().save(tmp_path / "backbone.keras")
    with pytest.raises(ValueError, match="wanted a backbone that gives three maps of one side"):
        run.make_backbone(settings, None, [])


def test_a_pretrained_backbone_is_left_for_other_runs(monkeypatch, root, tmp_path):
    """The classes are those of the training images."""
    seen = []

    def pretrain(backbone, objects, settings):
        seen.append((len(objects[0]), objects[1], settings))
        backbone.set_weights([w + 1 for w in backbone.get_weights()])

    monkeypatch.setattr(run, "pretrain", pretrain)
    settings = Settings(**SMALL, pretrain_steps=9, data_dir=str(root), run_dir="here")
    data = run.read_data(settings)
    backbone = run.make_backbone(settings, data, data.records["train"])
    classes = 1 + len({r.expression.split()[0] for r in data.records["train"]})
    assert seen == [(SPLITS["train"], classes, settings)]
    left = keras.saving.load_model(tmp_path / "here/backbone.keras")
    for ours, theirs in zip(backbone.get_weights(), left.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"backbone_weights": "none", "seed": 5}, "random (seed 5)"),
        ({}, "backbone imagenet, the rest random (seed 0)"),
        ({"backbone_weights": "a/b/w.h5"}, "backbone w.h5, the rest random (seed 0)"),
        (
            {"image_encoder": "a/lite0.keras", "word_vectors": "b/glove.txt"},
            "image encoder lite0.keras, the rest random (seed 0) but for the words of glove.txt",
        ),
        (
            {**SMALL, "pretrain_steps": 7},
            "backbone after 7 steps on its images' classes, the rest random (seed 0)",
        ),
    ],
    ids=["random", "imagenet", "file", "parts", "pretrained"],
)
def test_what_a_model_is_said_to_start_from(given, words):
    assert run.starting_weights(Settings(**given)) == words


def test_a_folder_is_one_trainings_from_the_first_file_to_the_last(monkeypatch, tmp_path):
    """A second is refused before it reads data or pretrains, and while the first evaluates."""
    settings, refused, done = Settings(run_dir=str(tmp_path / "run")), [], []

    def second(settings):
        with pytest.raises(ValueError, match="another training works in .*run already"):
            run.run_training(settings)
        refused.append(True)

    def read_data(settings):
        done.append("read_data")
        assert done == ["read_data"], "the second has read data"
        second(settings)
        return SimpleNamespace(records={"val": ["a record"]})

    monkeypatch.setattr(run, "read_data", read_data)
    monkeypatch.setattr(run, "train_system", lambda settings, *_: second(settings))
    monkeypatch.setattr(run, "report", lambda *_: second(settings))
    assert run.run_training(settings) == tmp_path / "run"
    assert len(refused) == 3


@pytest.mark.usefixtures("untraced")
def test_the_report_writes_the_reference_of_the_best_round(preset, tmp_path, monkeypatch):
    folder = shutil.copytree(preset, tmp_path / "run")
    model = load_preset(folder).model
    model.get_layer("score").bias.assign_add([0.1])
    save_model(model, folder / "model.keras")
    monkeypatch.setattr(run, "write_figures", lambda *_: None)  # which take seconds
    run.report(folder, {"val": tiny.records(tmp_path, 1)})
    Predictor.from_preset(folder, verify=True)
