"""From the name of a page to the settings of a training.

recipe_settings("unc")                              the paper's run on UNC
recipe_settings("unc_plus", small=True, seed=1)     the small model
"""

from dataclasses import fields

from keras_cmsa.recipes import gref, photos, referit, unc, unc_plus
from keras_cmsa.training.settings import Settings, check_given

RECIPES = {"unc": unc, "unc_plus": unc_plus, "gref": gref, "referit": referit, "photos": photos}


def recipe_settings(recipe, small=False, **given):
    """The settings of a recipe with some of them given.

    Args:
        recipe: a key of `RECIPES`.
        small: start from the small model's settings.
        **given: fields of `Settings`.

    Returns:
        `Settings`.

    Raises:
        ValueError: if the recipe is unknown, a value is not possible, or a setting that was given
            would be ignored.
    """
    if recipe not in RECIPES:
        raise ValueError(f"`recipe` must be one of {sorted(RECIPES)}. Received: {recipe!r}")
    numbers = dict(RECIPES[recipe].NUMBERS)
    if small and recipe == "photos":
        raise ValueError("wanted `photos` or `small`: the model of photos is small already")
    if small:
        numbers |= unc.SMALL
        # Those of RefShapes are for a backbone that has learned their classes.
        pretrains = given.get("pretrain_steps", unc.SMALL_ON_REF_SHAPES["pretrain_steps"])
        if pretrains and not any(map(given.get, ("data_dir", "start_from", "image_encoder"))):
            numbers |= unc.SMALL_ON_REF_SHAPES
    if (numbers | given).get("features") is None:
        numbers["map_dropout"] = 0.0
    settings = Settings(**numbers | given)
    check_given(settings, given)
    return settings


def help_of(recipe):
    """What each setting is, for `--help`: `{name: text}`, with the recipe's numbers."""
    texts, paper = {}, Settings(**RECIPES[recipe].NUMBERS)
    smaller, on_ref_shapes = (
        ({}, {}) if recipe == "photos" else (unc.SMALL, unc.SMALL_ON_REF_SHAPES)
    )
    for entry in fields(Settings):
        default, small = getattr(paper, entry.name), smaller.get(entry.name)
        notes = [] if default in (None, (), "", False) else [f"default: {default}"]
        notes += [] if small is None else [f"small: {small}"]
        if entry.name in on_ref_shapes:
            notes.append(f"small on RefShapes: {on_ref_shapes[entry.name]}")
        texts[entry.name] = entry.metadata["help"] + (f" [{'; '.join(notes)}]" if notes else "")
    return texts
