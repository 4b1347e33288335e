"""One finder for each kind of expression. A finder makes one try and tells what it found.

Each takes a numpy `Generator`, the scene's `Judge` and the flavour, and returns a list of pairs
`(words, target)`: two for `order`, one for the others, none on a miss.
"""

from keras_cmsa.data.ref_shapes.meaning import NOTHING, ZONES, Noun
from keras_cmsa.data.ref_shapes.wording import draw_pattern, fill, phrase_noun, pick, word_for

DIRECTIONS = ("left of", "right of", "above", "below")
TOUCHING = ("touching", "in front of", "behind")
RELATIONS = {
    "unc": (*DIRECTIONS, *DIRECTIONS, "next to", *TOUCHING),
    "unc+": (*("next to", *TOUCHING) * 2, "bigger than", "smaller than", "same color as"),
    "gref": (*DIRECTIONS, *DIRECTIONS, "next to", *TOUCHING, "bigger than"),
    "referit": (*DIRECTIONS, *DIRECTIONS, "next to", *TOUCHING),
}
# What a relation already says of its two things.
SAYS = {"bigger than": "size", "smaller than": "size", "same color as": "colour"}
NUMBERS = ("first", "second", "third", "fourth")

# Places across the image and upright ones take different words.
SIDES = {"left": "across", "right": "across", "top": "upright", "bottom": "upright"}


def find_attribute(rng, judge, flavour):
    noun = _draw_noun(rng, judge, colour=0.92, texture=0.12, size=0.1)
    if rng.random() < 0.85:
        target = judge.noun(noun).only()
        return _say(rng, flavour, "attribute", noun, target)
    noun, rank = noun._replace(size=None), pick(rng, ("biggest", "smallest"))
    target = judge.most(judge.noun(noun), rank).only()
    return _say(rng, flavour, "most", noun, target, most=rank)


def find_location(rng, judge, flavour):
    noun, head = _draw_several(rng, judge, shape=0.5)
    if rng.random() < 0.12:
        side = pick(rng, tuple(SIDES))
        target = judge.most(head, side).only()
        return _say(rng, flavour, f"farthest {SIDES[side]}", noun, target, side=side)
    zones = [zone for zone in ZONES if judge.only_in_zone(head, zone) is not None]
    if not zones:
        return []
    zone = pick(rng, zones)
    form = SIDES.get(zone, "middle" if zone == "middle" else "corner")
    return _say(rng, flavour, form, noun, judge.only_in_zone(head, zone), side=zone)


def find_ordinal(rng, judge, flavour):
    noun, head = _draw_several(rng, judge)
    nth, side = pick(rng, range(len(NUMBERS))), pick(rng, tuple(SIDES))
    if len(head.surely) < max(3, nth + 1):
        return []
    target = judge.nth(head, nth, side).only()
    return _say(rng, flavour, "nth", noun, target, nth=NUMBERS[nth], side=side)


def find_relation(rng, judge, flavour):
    if judge.regions and rng.random() < 0.3:
        return _find_inside(rng, judge, flavour)
    anchor = _draw_noun(rng, judge)
    noun, head = _draw_several(rng, judge)
    if judge.noun(anchor).only() is None or not head.surely:
        return []
    found = [
        (relation, target)
        for relation in _relations_for(flavour, noun, anchor)
        if (target := judge.only_related(head, relation, judge.noun(anchor))) is not None
    ]
    return _relate(rng, flavour, (noun, anchor), *pick(rng, found)) if found else []


def _find_inside(rng, judge, flavour):
    noun, head = _draw_several(rng, judge)
    region = pick(rng, judge.regions)
    form = "on" if region.place == "bottom" else "in"
    target = judge.inside(head, region).only()
    return _say(rng, flavour, form, noun, target, stuff=region.full_name)


def find_order(rng, judge, flavour):
    one, other = _draw_noun(rng, judge), _draw_noun(rng, judge)
    ones, others = judge.noun(one), judge.noun(other)
    if ones.perhaps & others.perhaps or len(ones.surely | others.surely) < 3:
        return []
    found = [
        (relation, target, counterpart)
        for relation in _relations_for(flavour, one, other)
        if (target := judge.only_related(ones, relation, others)) is not None
        and (counterpart := judge.only_related(others, relation, ones)) is not None
    ]
    return _relate(rng, flavour, (one, other), *pick(rng, found)) if found else []


def find_stuff(rng, judge, flavour):
    number = pick(rng, range(len(judge.regions)))
    region = judge.regions[number]
    form = "stuff" if region.place == "middle" or rng.random() < 0.6 else "stuff at an end"
    target = len(judge.things) + number
    return _say(rng, flavour, form, Noun(), target, stuff=region.full_name, side=region.place)


_WORTH = {"plain": 0.4}  # to be plain is seldom worth a word


def _draw_noun(rng, judge, shape=0.85, colour=0.6, texture=0.15, size=0.12):
    """A noun that fits some thing; shape, colour, ... are the chances to mention them."""
    thing = pick(rng, judge.things)
    return Noun(
        shape=thing.shape if rng.random() < shape else None,
        size=thing.size if rng.random() < size and thing.size != "medium" else None,
        colour=thing.colour if rng.random() < colour else None,
        texture=thing.texture if rng.random() < texture * _WORTH.get(thing.texture, 1) else None,
    )


def _draw_several(rng, judge, shape=0.85):
    """A noun and what it fits, which is nothing unless it fits several things."""
    noun = _draw_noun(rng, judge, shape)
    fit = judge.noun(noun)
    return noun, fit if len(fit.surely) > 1 else NOTHING


def _relations_for(flavour, *nouns):
    """The flavour's relations, without those that say again what one of the nouns says."""
    said = {name for noun in nouns for name, word in zip(noun._fields, noun) if word}
    return [relation for relation in RELATIONS[flavour] if SAYS.get(relation) not in said]


def _say(rng, flavour, form, noun, target, **slots):
    """The noun in a form of words whose other slots are named in `slots`."""
    if target is None:
        return []
    pattern = draw_pattern(rng, flavour, form)
    words = {slot: word_for(rng, name) for slot, name in slots.items()}
    return [(fill(pattern, head=phrase_noun(rng, noun), **words), target)]


def _relate(rng, flavour, nouns, relation, *targets):
    """The first noun in the relation to the second and, for a second target, the reverse."""
    form = "placed" if relation in (*DIRECTIONS, "next to") else "related"
    pattern = draw_pattern(rng, flavour, form).replace("{relation}", word_for(rng, relation))
    one, other = (phrase_noun(rng, noun) for noun in nouns)
    sentences = fill(pattern, head=one, anchor=other), fill(pattern, head=other, anchor=one)
    return list(zip(sentences, targets))


FINDERS = {
    "attribute": find_attribute,
    "location": find_location,
    "ordinal": find_ordinal,
    "relation": find_relation,
    "order": find_order,
    "stuff": find_stuff,
}
