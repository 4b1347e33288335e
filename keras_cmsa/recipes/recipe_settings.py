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
    numbers, values = RECIPES[recipe].NUMBERS, {}
    if recipe != "photos":
        small = numbers | unc.SMALL
        values = {"small": small, "small on RefShapes": small | unc.SMALL_ON_REF_SHAPES}
    return help_with({"default": numbers} | values)


def help_with(values):
    """What each setting is, with its values: `{name: text}`.

    Args:
        values: `{title: {setting: value}}`; each is told where it is not that of the one before.
    """
    texts, settings = {}, {title: Settings(**given) for title, given in values.items()}
    for entry in fields(Settings):
        notes, before = [], None
        for title, each in settings.items():
            value = getattr(each, entry.name)
            if value != before and (notes or value not in ((), "", False)):
                notes.append(f"{title}: {value}")
            before = value
        texts[entry.name] = entry.metadata["help"] + (f" [{'; '.join(notes)}]" if notes else "")
    return texts
