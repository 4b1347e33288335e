"""Settings: the paper's values, how a recipe differs, and no setting that counts for nothing."""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from keras_cmsa.recipes.recipe_settings import recipe_settings
from keras_cmsa.training.settings import Settings

# What the paper says in Secs. 3.2 and 4.1, and its authors' code of what it leaves open.
PAPER = {
    "image_size": 320,
    "max_words": 20,
    "word_dim": 1000,
    "attention_dim": 512,
    "fusion_dim": 500,
    "backbone": "dilated_resnet101",
    "optimizer": "adamw",
    "learning_rate": 2.5e-4,
    "weight_decay": 5e-4,
    "power": 0.9,
    "end_learning_rate": 1e-5,
    "resizing": "pad",
    "system": "cmsa",
    "tokenizer": "words",
    "augment": False,
    "word_dropout": 0.0,
    "dice_weight": 0.0,
    "mixed_precision": None,
}


def test_the_defaults_are_the_papers():
    defaults = asdict(Settings())
    assert {name: defaults[name] for name in PAPER} == PAPER
    # 800,000 expressions, which the authors' code takes one at a time.
    assert defaults["steps"] * defaults["batch_size"] * defaults["sentences_per_image"] == 800_000


# --- what is not possible


COUNTS = "max_words min_count pieces image_size word_dim attention_dim fusion_dim steps batch_size sentences_per_image"
IMPOSSIBLE = {
    "at least 1": (f"{COUNTS} steps_per_round pretrain_batch_size".split(), [0, -1]),
    "above 0": (
        "learning_rate power epochs pretrain_learning_rate".split(),
        [0.0, -1.0, float("nan"), float("inf")],
    ),
    "at least 0": (
        "pretrain_steps end_learning_rate weight_decay dice_weight seed".split(),
        [-1, float("nan")],
    ),
    "one of": ("tokenizer resizing backbone optimizer mixed_precision".split(), ["other"]),
}


@pytest.mark.parametrize(
    ("wanted", "name", "value"),
    [
        (wanted, name, value)
        for wanted, (names, values) in IMPOSSIBLE.items()
        for name in names
        for value in values
    ],
)
def test_a_value_that_is_not_possible_is_named(wanted, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be {wanted}.* Received: {value!r}"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_size": 100}, r"`image_size` must be a multiple of 8\. Received: 100"),
        (
            {"backbone": "small_resnet"},
            "no published weights: `backbone_weights` must be none or .* Received: imagenet",
        ),
        (
            {"pretrain_steps": 10},
            "`pretrain_steps` is for a small_resnet .* Received: `backbone` dilated_resnet101",
        ),
        (
            {"pretrain_steps": 10, "backbone": "small_resnet", "backbone_weights": "b.keras"},
            "`pretrain_steps` is for a small_resnet .* `backbone_weights` b.keras",
        ),
        (
            {"learning_rate": 1e-6},
            r"`end_learning_rate` must be at most `learning_rate`, 1e-06\. Received: 1e-05",
        ),
        ({"seed": 2**32}, "`seed` must be 0 to 4294967295. Received: 4294967296"),
        (
            {"backbone": "small_resnet", "backbone_weights": "none", "freeze_backbone": True},
            "`freeze_backbone` would keep random weights",
        ),
        (
            {"features": "maps"},
            "`features` .*: give `freeze_backbone` too. Received: `features` maps",
        ),
        (
            {"word_encoder": "minilm", "word_vectors": "glove.txt"},
            "wanted `word_encoder` or `word_vectors`. Received: both",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_values_that_do_not_go_together_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        Settings(**given)


def test_an_unknown_system_or_recipe_is_named():
    with pytest.raises(ValueError, match=r"`system` must be one of lstm_cnn, .*Received: 'lstm'"):
        recipe_settings("unc", system="lstm")
    with pytest.raises(ValueError, match=r"`recipe` must be one of .*'unc'.* Received: 'refcoco'"):
        recipe_settings("refcoco")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "refcoco"}, "`dataset` .*RefShapes have theirs: give `data_dir`"),
        ({"data_dir": "t.CSV", "dataset": "refcoco"}, "`dataset` .*the data are one data set"),
        ({"data_dir": "t.jsonl", "split_owner": "unc"}, "`split_owner` .*have no owner"),
        (
            {"data_dir": "x", "dataset": "refexp", "split_owner": "google"},
            "`split_owner` .*have no owner",
        ),
        ({"images": "photos"}, "`images` .*give `data_dir`"),
        ({"pieces": 100}, "`pieces` .*needs `tokenizer` wordpiece"),
        ({"tokenizer": "wordpiece", "min_count": 2}, "`min_count` .*needs `tokenizer` words"),
        ({"pretrain_learning_rate": 0.1}, "`pretrain_learning_rate` .*needs `pretrain_steps`"),
        ({"epochs": 2.0, "steps": 10}, "`steps` .*`epochs` says how long"),
        ({"start_from": "x", "system": "cmsa"}, "`system` .*comes with the model of `start_from`"),
        ({"system": "rmi", "attention_dim": 10}, "`attention_dim` .*rmi attends to nothing"),
        ({"system": "cmsa_w_none", "attention_dim": 10}, "`attention_dim` .*attends to nothing"),
        ({"image_encoder": "x", "backbone": "vgg16"}, "`backbone` .*`image_encoder` takes its"),
        ({"word_vectors": "g.txt", "word_dim": 9}, "`word_dim` .*the words are those of g.txt"),
        ({"word_encoder": "x", "tokenizer": "words"}, "`tokenizer` .*the words are those of x"),
        ({"system": "rmi", "word_encoder": "x"}, "`word_encoder` .*rmi learns its words"),
        ({"map_dropout": 0.1}, "`map_dropout` .*it needs `features`"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_that_would_be_ignored_is_an_error(given, message):
    with pytest.raises(ValueError, match=message.replace(" ", " would be ignored: ", 1)):
        recipe_settings("unc", **given)


def test_what_counts_elsewhere_is_taken_there():
    recipe_settings("unc", data_dir="x", dataset="refcocog", split_owner="umd")
    recipe_settings("unc", tokenizer="wordpiece", pieces=100)
    recipe_settings("unc", epochs=2.0)
    recipe_settings("unc", min_count=2, attention_dim=10)
    recipe_settings("unc", system="cmsa_refined", word_vectors="glove.txt", word_dim=50)
    # A recipe's own values are no settings that somebody gave.
    recipe_settings("gref", tokenizer="wordpiece")
    recipe_settings("referit", data_dir="t.csv")
    recipe_settings("unc", small=True, system="rmi")


# --- what becomes of them


def test_epochs_become_steps():
    """12 rows of up to 3 expressions in batches of 5 for 2 and a half passes."""
    settings = recipe_settings("unc", epochs=2.5, batch_size=5, sentences_per_image=3)
    images = list("aaaaaaabbbcccc" + "defghi")  # 3, 1, 2 and six times 1
    assert settings.with_steps(images) == replace(settings, steps=6, epochs=None)
    assert settings.with_steps(["a"]).steps == 1
    plain = Settings(steps=7)
    assert plain.with_steps(images) == plain


def test_what_config_json_records():
    """All settings in JSON's types, but not where data, run and features lie, and what may change."""
    settings = recipe_settings("unc", data_dir="/x", exclude_images_of=("refcoco+", "all"))
    config = settings.to_config()
    names = {field.name for field in fields(Settings)}
    assert set(config) == names - {"data_dir", "images", "run_dir", "features", "licence"}
    assert config == json.loads(json.dumps(config))
    assert recipe_settings("photos").to_config()["features"] is True
    assert config["exclude_images_of"] == ["refcoco+", "all"]
    assert all(config[name] == getattr(settings, name) for name in names if name in PAPER)


def test_a_model_that_training_goes_on_from_has_its_own_settings():
    settings = recipe_settings("unc", small=True, start_from=Path("runs/demo"), steps=7)
    assert settings.pretrain_steps == 0 and settings.steps == 7
    recorded = settings.to_config()
    assert recorded["start_from"] == "runs/demo" and recorded["learning_rate"] == 2e-3
    assert not {"system", "image_size", "word_dim", "backbone", "tokenizer"} & set(recorded)


def test_a_checkpoint_is_of_one_backbone(tmp_path):
    (tmp_path / "init.ckpt.index").write_text("")
    weights = str(tmp_path / "init.ckpt")
    Settings(backbone_weights=weights)
    with pytest.raises(ValueError, match="is for dilated_resnet101. Received: `backbone` vgg16"):
        Settings(backbone="vgg16", backbone_weights=weights)
