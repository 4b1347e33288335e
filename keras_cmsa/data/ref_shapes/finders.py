"""The finders, one per kind of expression. A finder makes one try to find an expression.

Each finder takes a NumPy `Generator` and the scene's `Judge`. It returns a list of `(words, target)`
pairs: two for `order`, one for the other kinds, and none if the try fails.
"""

from keras_cmsa.data.ref_shapes.meaning import NOTHING, ZONES, Noun
from keras_cmsa.data.ref_shapes.wording import draw_pattern, phrase_noun, pick, word_for

# A relation that is listed twice is drawn twice as often.
RELATIONS = 2 * ("left of", "right of", "above", "below")
RELATIONS += ("next to", "touching", "in front of", "behind")
NUMBERS = ("first", "second", "third", "fourth")

# Horizontal and vertical places take different words.
SIDES = {"left": "across", "right": "across", "top": "upright", "bottom": "upright"}


def find_attribute(rng, judge):
    noun = draw_noun(rng, judge, colour=0.92, texture=0.12, size=0.1)
    if rng.random() < 0.85:
        target = judge.noun(noun).the_one()
        return _express(rng, "attribute", noun, target)
    noun, rank = noun._replace(size=None), pick(rng, ("biggest", "smallest"))
    target = judge.most(judge.noun(noun), rank).the_one()
    return _express(rng, "most", noun, target, most=rank)


def find_location(rng, judge):
    noun, head = _draw_several(rng, judge, shape=0.5)
    if rng.random() < 0.12:
        side = pick(rng, tuple(SIDES))
        target = judge.most(head, side).the_one()
        return _express(rng, f"farthest {SIDES[side]}", noun, target, side=side)
    choices = [
        (zone, target)
        for zone in ZONES
        if (target := head.both(judge.zone(zone)).the_one()) is not None
    ]
    if not choices:
        return []
    zone, target = pick(rng, choices)
    return _express(rng, form_of_zone(zone), noun, target, side=zone)


def find_ordinal(rng, judge):
    noun, head = _draw_several(rng, judge)
    nth, side = pick(rng, range(len(NUMBERS))), pick(rng, tuple(SIDES))
    if len(head.surely) < max(3, nth + 1):
        return []
    target = judge.nth(head, nth, side).the_one()
    return _express(rng, "nth", noun, target, nth=NUMBERS[nth], side=side)


def find_relation(rng, judge):
    anchor = draw_noun(rng, judge)
    noun, head = _draw_several(rng, judge)
    if judge.noun(anchor).the_one() is None or not head.surely:
        return []
    choices = [
        (relation, target)
        for relation in RELATIONS
        if (target := judge.related(head, relation, judge.noun(anchor)).the_one()) is not None
    ]
    return _express_relation(rng, (noun, anchor), *pick(rng, choices)) if choices else []


def find_order(rng, judge):
    one, other = draw_noun(rng, judge), draw_noun(rng, judge)
    ones, others = judge.noun(one), judge.noun(other)
    if ones.perhaps & others.perhaps or len(ones.surely | others.surely) < 3:
        return []
    choices = [
        (relation, target, counterpart)
        for relation in RELATIONS
        if (target := judge.related(ones, relation, others).the_one()) is not None
        and (counterpart := judge.related(others, relation, ones).the_one()) is not None
    ]
    return _express_relation(rng, (one, other), *pick(rng, choices)) if choices else []


def form_of_zone(zone):
    """The form of the patterns for a zone."""
    return SIDES.get(zone, "middle" if zone == "middle" else "corner")


PLAIN_FACTOR = 0.4  # people seldom mention that a thing is plain


def draw_noun(rng, judge, shape=0.85, colour=0.6, texture=0.15, size=0.12):
    """Draws a noun that matches some thing, given the probabilities to mention its attributes."""
    thing = pick(rng, judge.things)
    if thing.texture == "plain":
        texture *= PLAIN_FACTOR
    return Noun(
        shape=thing.shape if rng.random() < shape else None,
        size=thing.size if rng.random() < size and thing.size != "medium" else None,
        colour=thing.colour if rng.random() < colour else None,
        texture=thing.texture if rng.random() < texture else None,
    )


def _draw_several(rng, judge, shape=0.85):
    """Draws a noun; returns it and its `Matches`, or `NOTHING` unless it matches several things."""
    noun = draw_noun(rng, judge, shape)
    matches = judge.noun(noun)
    return noun, matches if len(matches.surely) > 1 else NOTHING


def _express(rng, form, noun, target, **slots):
    """`[(words, target)]`, the noun in a pattern of some form; `[]` if the target is None.

    `slots` are the names for the other slots of the pattern.
    """
    if target is None:
        return []
    pattern = draw_pattern(rng, form)
    words = {slot: word_for(rng, name) for slot, name in slots.items()}
    return [(pattern.format(head=phrase_noun(rng, noun), **words), target)]


def _express_relation(rng, nouns, relation, *targets):
    """`[(words, target), ...]`: the first noun in the relation to the second, and the reverse.

    The reverse is left out if there is only one target.
    """
    pattern = draw_pattern(rng, "relation").replace("{relation}", word_for(rng, relation))
    one, other = (phrase_noun(rng, noun) for noun in nouns)
    sentences = (
        pattern.format(head=head, anchor=anchor) for head, anchor in ((one, other), (other, one))
    )
    return list(zip(sentences, targets))


FINDERS = {
    "attribute": find_attribute,
    "location": find_location,
    "ordinal": find_ordinal,
    "relation": find_relation,
    "order": find_order,
}
