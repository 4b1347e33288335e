"""How people put a meaning into words: phrases as in RefCOCO and ReferIt, sentences as in G-Ref.

The slots of a pattern: `{head}` and `{anchor}` are noun phrases without an article, `{a}` is the
head's article, `{relation}` stands between the two, `{side}` is a place in the image, `{nth}` an
ordinal, `{most}` a superlative, `{stuff}` the name of a region.
"""

WORDS = {
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

PHRASES = {
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

SENTENCES = {
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

PATTERNS = {"unc": PHRASES, "unc+": PHRASES, "referit": PHRASES, "gref": SENTENCES}
GREF_LENGTHS = range(6, 16)  # words


def pick(rng, choices):
    return choices[int(rng.random() * len(choices))]


def word_for(rng, name):
    """One of the ways to say a shape, a colour, a place, a relation, ..."""
    return pick(rng, WORDS.get(name, (name,)))


def phrase_noun(rng, noun):
    """A noun phrase without an article, such as "big red circle with stripes"."""
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
    """One of the flavour's patterns for a form, the articles of a phrase given or left out."""
    pattern = pick(rng, PATTERNS[flavour][form])
    if flavour == "gref":
        return pattern
    chance = rng.random()
    if chance < 0.05:
        return pattern.replace("the {anchor}", "{anchor}")
    return f"the {pattern}" if "{head}" in pattern and chance < 0.9 else pattern


def fill(pattern, head="", **slots):
    """The pattern in words; `head` and the slots as in the module's first lines."""
    article = "an" if head[:1] in "aeiou" else "a"
    return pattern.format(head=head, a=article, **slots)


def is_well_sized(sentence, flavour):
    return flavour != "gref" or len(sentence.split()) in GREF_LENGTHS
