"""Puts meanings into words: phrases as in RefCOCO and ReferIt, sentences as in G-Ref.

The slots of a pattern are `{head}` and `{anchor}`, noun phrases without an article; `{a}`, the
head's article; `{relation}`, the words between the two nouns; `{side}`, a place in the image;
`{nth}`, an ordinal; `{most}`, a superlative; and `{stuff}`, the name of a region.
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
    "bigger than": ("bigger than", "larger than"),
    "same color as": ("of the same color as",),
    # stuff
    "blue sky": ("sky", "the sky", "blue sky"),
    "gray sky": ("sky", "the sky", "gray sky"),
    "grass": ("grass", "the grass", "the ground"),
    "sand": ("sand", "the sand", "the ground"),
    "snow": ("snow", "the snow", "the ground"),
    "dirt": ("dirt", "the dirt", "the ground"),
    "water": ("water", "the water"),
}

# {form: patterns}
PHRASE_PATTERNS = {
    "attribute": ("{head}",),
    "most": ("{most} {head}",),
    "across": ("{side} {head}", "{head} on the {side}", "{head} on {side}", "{head} {side} side"),
    "upright": ("{side} {head}", "{head} at the {side}", "{head} on {side}", "{head} at {side}"),
    "corner": ("{side} {head}", "{head} {side}", "{head} in the {side} corner", "{head} on {side}"),
    "middle": ("{side} {head}", "{head} in the {side}", "{head} in {side}"),
    "farthest across": ("{side}most {head}", "{head} farthest {side}", "farthest {side} {head}"),
    "farthest upright": ("{side}most {head}", "{head} closest to the {side}"),
    "nth": ("{nth} {head} from the {side}", "{nth} {head} from {side}"),
    "placed": ("{head} {relation} the {anchor}",),
    "related": ("{head} {relation} the {anchor}",),
    "in": ("{head} in {stuff}",),
    "on": ("{head} on {stuff}",),
    "stuff": ("{stuff}", "any part of {stuff}", "{stuff} in the background"),
    "stuff at an end": ("{stuff} at the {side}", "{stuff} on {side}", "{stuff} at {side}"),
}

SENTENCE_PATTERNS = {
    "attribute": (
        "the only {head} in the whole picture",
        "the one and only {head} in the picture",
        "{a} {head} shown among several other shapes",
    ),
    "most": (
        "the {most} {head} of all in the picture",
        "the {head} that is the {most} of them all",
    ),
    "across": (
        "the {head} on the {side} side of the picture",
        "{a} {head} that is on the {side} of the image",
    ),
    "upright": (
        "the {head} at the {side} of the picture",
        "{a} {head} that is near the {side} of the image",
    ),
    "corner": (
        "the {head} in the {side} corner of the picture",
        "{a} {head} that sits in the {side} corner",
    ),
    "middle": (
        "the {head} in the {side} of the picture",
        "{a} {head} that is in the {side} of the image",
    ),
    "farthest across": (
        "the {head} that is farthest to the {side}",
        "the {side}most {head} of all in the picture",
    ),
    "farthest upright": (
        "the {head} that is closest to the {side}",
        "the {side}most {head} of all in the picture",
    ),
    "nth": (
        "the {nth} {head} counting from the {side}",
        "the {head} that is {nth} from the {side}",
    ),
    "placed": (
        "the {head} that sits {relation} the {anchor}",
        "the {head} which is {relation} the {anchor}",
        "the {head} located {relation} the {anchor}",
    ),
    "related": (
        "the {head} that is {relation} the {anchor}",
        "in this picture the {head} {relation} the {anchor}",
        "the {head} which is {relation} the {anchor}",
    ),
}

PATTERNS = {
    "unc": PHRASE_PATTERNS,
    "unc+": PHRASE_PATTERNS,
    "referit": PHRASE_PATTERNS,
    "gref": SENTENCE_PATTERNS,
}
GREF_LENGTHS = range(6, 16)  # words


def pick(rng, choices):
    """Draws one of the choices, all with the same probability."""
    return choices[int(rng.random() * len(choices))]


def word_for(rng, name):
    """Draws a wording for the name of a shape, a colour, a place, a relation, ..."""
    return pick(rng, SYNONYMS.get(name, (name,)))


def phrase_noun(rng, noun):
    """Draws a noun phrase without an article, such as "big red circle with stripes"."""
    size, colour, texture = (
        word_for(rng, word) if word else "" for word in (noun.size, noun.colour, noun.texture)
    )
    shape = word_for(rng, noun.shape)
    if texture.startswith("with"):
        words = [size, colour, shape, texture]
    elif rng.random() < 0.3:
        words = [size, texture, colour, shape]
    else:
        words = [size, colour, texture, shape]
    return " ".join(word for word in words if word)


def draw_pattern(rng, flavour, form):
    """Draws one of the flavour's patterns for a form, and the articles of a phrase."""
    pattern = pick(rng, PATTERNS[flavour][form])
    if flavour == "gref":
        return pattern
    chance = rng.random()
    if chance < 0.05:
        return pattern.replace("the {anchor}", "{anchor}")
    return f"the {pattern}" if "{head}" in pattern and chance < 0.9 else pattern


def fill(pattern, head="", **slots):
    """Fills the slots of a pattern; the module's docstring lists them."""
    article = "an" if head[:1] in "aeiou" else "a"
    return pattern.format(head=head, a=article, **slots)


def has_valid_length(sentence, flavour):
    """Whether a sentence has a valid number of words; only G-Ref's sentences have limits."""
    return flavour != "gref" or len(sentence.split()) in GREF_LENGTHS
