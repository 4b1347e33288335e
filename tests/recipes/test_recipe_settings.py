"""The pages of numbers: how a recipe differs, the small model, and what is given on top."""

from dataclasses import asdict, fields

import pytest

from keras_cmsa.recipes.recipe_settings import RECIPES, help_of, recipe_settings
from keras_cmsa.recipes.unc import NUMBERS, SMALL, SMALL_ON_REF_SHAPES
from keras_cmsa.training.settings import Settings


def differences(settings, others):
    """`{name: value}` of the settings whose value is another."""
    before = asdict(others)
    return {name: value for name, value in asdict(settings).items() if value != before[name]}


def test_the_page_of_unc_has_the_defaults():
    """What it states is what a setting is unless somebody gives another."""
    assert Settings(**NUMBERS) == recipe_settings("unc") == Settings()
    assert all(page.__doc__.startswith("CMSA on ") for page in RECIPES.values())


@pytest.mark.parametrize(
    ("recipe", "data"),
    [
        ("unc_plus", {"dataset": "refcoco+", "run_dir": "runs/unc_plus"}),
        ("gref", {"dataset": "refcocog", "split_owner": "google", "run_dir": "runs/gref"}),
        ("referit", {"dataset": "referit", "run_dir": "runs/referit"}),
    ],
)
def test_a_recipe_differs_in_its_data_only(recipe, data):
    assert differences(recipe_settings(recipe), Settings()) == data
    # Also the small model's.
    small = recipe_settings(recipe, small=True)
    assert differences(small, recipe_settings("unc", small=True)) == data


def test_the_small_model_differs_as_its_page_says():
    """On RefShapes its backbone is pretrained and frozen; on other data it is not."""
    own = {**SMALL, "learning_rate": 2e-3}
    assert differences(recipe_settings("unc", small=True, data_dir="x"), Settings()) == {
        **own,
        "data_dir": "x",
    }
    on_ref_shapes = {**SMALL, **SMALL_ON_REF_SHAPES}
    assert differences(recipe_settings("unc", small=True), Settings()) == on_ref_shapes
    assert on_ref_shapes["pretrain_steps"] > 0 and on_ref_shapes["freeze_backbone"]
    # Without pretraining a frozen backbone would stay random.
    plain = recipe_settings("unc", small=True, pretrain_steps=0)
    assert differences(plain, Settings()) == own
    # A tower has learned from others' images.
    tower = {"image_encoder": "EfficientNetV2B0"}
    assert differences(recipe_settings("unc", small=True, **tower), Settings()) == own | tower


@pytest.mark.parametrize(
    ("recipe", "small"), [(recipe, small) for recipe in RECIPES for small in (False, True)][:-1]
)
def test_what_is_given_counts(recipe, small):
    given = {"steps": 3, "seed": 5, "learning_rate": 0.5, "run_dir": "here", "system": "cmsa_s"}
    settings = recipe_settings(recipe, small, **given)
    assert {name: getattr(settings, name) for name in given} == given
    assert set(differences(settings, recipe_settings(recipe, small))) == set(given)


def test_the_model_of_photos_is_small_already():
    with pytest.raises(ValueError, match="is small already"):
        recipe_settings("photos", small=True)


def test_every_setting_is_explained():
    """With the recipe's own default, and the small model's where it is another."""
    for recipe in RECIPES:
        texts = help_of(recipe)
        assert set(texts) == {field.name for field in fields(Settings)}
        assert all(len(text) > 5 for text in texts.values())
    assert "[default: refcocog]" in help_of("gref")["dataset"]
    assert "[default: 320; small: 112]" in help_of("unc")["image_size"]
    assert "small on RefShapes: 0.004]" in help_of("unc")["learning_rate"]
