"""Puts meanings into words: phrases as in RefCOCO.

The slots of a pattern are `{head}` and `{anchor}`, noun phrases without an article; `{relation}`,
the words between the two nouns; `{side}`, a place in the image; `{nth}`, an ordinal; and `{most}`,
a superlative.
"""

# {name: its wordings}. A name that is not listed is its own wording.
SYNONYMS = {
    # nouns
    "cross": ("cross", "plus"),
    None: ("one", "one", "thing", "shape", "object"),
    # adjectives
    "big": ("big", "big", "large"),
    "small": ("small", "small", "little"),
    "plain": ("plain", "solid"),
    "striped": ("striped", "striped", "with stripes"),
    "dotted": ("dotted", "spotted", "with dots"),
    "checkered": ("checkered", "checkered", "with checks"),
    "biggest": ("biggest", "largest"),
    # places
    "top left": ("top left", "upper left"),
    "top right": ("top right", "upper right"),
    "bottom left": ("bottom left", "lower left"),
    "bottom right": ("bottom right", "lower right"),
    "middle": ("middle", "center"),
    # relations
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "next to": ("next to", "beside"),
    "touching": ("touching", "overlapping"),
    "behind": ("behind", "partly behind"),
}

# {form: patterns}
PATTERNS = {
    "attribute": ("{head}",),
    "most": ("{most} {head}",),
    "across": ("{side} {head}", "{head} on the {side}", "{head} on {side}", "{head} {side} side"),
    "upright": ("{side} {head}", "{head} at the {side}", "{head} on {side}", "{head} at {side}"),
    "corner": ("{side} {head}", "{head} {side}", "{head} in the {side} corner", "{head} on {side}"),
    "middle": ("{side} {head}", "{head} in the {side}", "{head} in {side}"),
    "farthest across": ("{side}most {head}", "{head} farthest {side}", "farthest {side} {head}"),
    "farthest upright": ("{side}most {head}", "{head} closest to the {side}"),
    "nth": ("{nth} {head} from the {side}", "{nth} {head} from {side}"),
    "relation": ("{head} {relation} the {anchor}",),
    "except": (
        "everything but the {head}",
        "everything except the {head}",
        "all but the {head}",
        "all except the {head}",
    ),
}


def pick(rng, choices):
    """Draws one of the choices, all with the same probability."""
    return choices[int(rng.random() * len(choices))]


def word_for(rng, name):
    """Draws a wording for the name of a shape, a colour, a place, a relation, ..."""
    return pick(rng, SYNONYMS.get(name, (name,)))


def phrase_noun(rng, noun, is_plural=False):
    """Draws a noun phrase without an article, such as "big red circle with stripes"."""
    size, colour, texture = (
        word_for(rng, word) if word else "" for word in (noun.size, noun.colour, noun.texture)
    )
    shape = word_for(rng, noun.shape)
    if is_plural:
        shape += "es" if shape.endswith("s") else "s"
    if texture.startswith("with"):
        words = [size, colour, shape, texture]
    elif rng.random() < 0.3:
        words = [size, texture, colour, shape]
    else:
        words = [size, colour, texture, shape]
    return " ".join(word for word in words if word)


def draw_pattern(rng, form):
    """Draws one of the patterns for a form, and the articles of a phrase."""
    pattern = pick(rng, PATTERNS[form])
    chance = rng.random()
    if chance < 0.05:
        return pattern.replace("the {anchor}", "{anchor}")
    return f"the {pattern}" if "{head}" in pattern and chance < 0.9 else pattern


def draw_plural_pattern(rng, form, number=None):
    """Draws one of the patterns for a form, and its words in front; `number` is "two", ..."""
    pattern = pick(rng, PATTERNS[form])
    if number:
        return pick(rng, ("", "the ")) + f"{number} {pattern}"
    return pick(rng, ("", "the ", "the ", "all ", "all the ")) + pattern
