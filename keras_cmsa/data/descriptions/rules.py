"""The sentences of a photo's objects, each with the proof that it is true of exactly one of them.

    attribute        "dog"                            the only one of its class
    across, upright  "left dog", "dog at the top"     before all others of its class
    most             "largest dog"                    the same by size
    nth, middle      "second dog from the left"       counted among its class
    relation         "dog left of the person"         beside the only one of another class

The meaning of a sentence is `Matches`: what it is surely true of, and what it is perhaps true of.
The margins between the two are wide, so that people agree. Lengths are fractions of the photo's
longer side; x grows to the right and y downwards.
"""

from collections import defaultdict
from functools import partial
from typing import NamedTuple

from keras_cmsa.data.ref_shapes.meaning import Matches
from keras_cmsa.data.ref_shapes.wording import PATTERNS, pick, word_for

LEAD = 0.05  # least distance of the centres of what comes before and what comes after
OVERLAP = 0.25  # the same as a part of both lengths together: at most half of equal things overlaps
SIZE_RATIO = 1.5  # least ratio of the areas of the larger and the smaller
LENGTH_RATIO = 1.05  # and of their heights and of their widths, since others may hide a part
SLANT = 1.2  # least ratio of the distance along a relation's direction to that across it
ARTICLES = 0.3  # the fraction of sentences that begin with an article

SIDES = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}  # axis, sign
RELATIONS = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
NUMBERS = {1: "second", 2: "third"}


class Thing(NamedTuple):
    """An object of a photo.

    Attributes:
        name: words of its class.
        spans: `((left, right), (top, bottom))` of its box.
        area: of its mask.
        counts: whether people surely count it; they may overlook what is tiny.
    """

    name: str
    spans: tuple
    area: float
    counts: bool


class Rule(NamedTuple):
    """What some sentences say: their form in `PATTERNS`, its slots, the places of what matches."""

    form: str
    slots: dict
    matches: Matches


def describe(things, uncounted, most, rng):
    """Makes sentences that are true of one thing alone.

    Args:
        things: list of `Thing`, all of a photo but the uncounted.
        uncounted: names of what is there in an unknown number, such as a crowd.
        most: largest number of sentences of a thing.
        rng: `random.Random`.

    Returns:
        `{place: [sentence, ...]}` of the things that have a sentence.
    """
    proved = defaultdict(lambda: defaultdict(list))
    for rule in rules_of(things, uncounted):
        place = rule.matches.the_one()
        if place is not None:
            proved[place][rule.form].append(rule)
    sentences = {}
    for place in sorted(proved):
        forms = list(proved[place].values())  # a form with many rules comes no oftener than others
        drawn = [_phrase(rng, pick(rng, pick(rng, forms))) for _ in range(3 * most)]
        sentences[place] = list(dict.fromkeys(drawn))[:most]
    return sentences


def _phrase(rng, rule):
    slots = {
        # A class has no other words.
        slot: name if slot in ("head", "anchor") else word_for(rng, name)
        for slot, name in rule.slots.items()
    }
    article = "the " if rng.random() < ARTICLES else ""
    return article + pick(rng, PATTERNS[rule.form]).format(**slots)


def rules_of(things, uncounted):
    """Yields each `Rule` that may be true of one thing."""
    groups = {
        name: [i for i, thing in enumerate(things) if _may_be(thing.name, name)]
        for name in dict.fromkeys(thing.name for thing in things)
        if not any(_may_be(other, name) for other in uncounted)
    }
    for name, group in groups.items():
        sure = {i for i in group if things[i].name == name and things[i].counts}
        yield Rule("attribute", {"head": name}, Matches(frozenset(sure), frozenset(group)))
        if len(group) > 1:
            yield from _orders(things, name, group, sure)
        for anchor, (other, *more) in groups.items():
            if not more and things[other].counts and other not in group:
                yield from _relations(things, name, group, sure, anchor, things[other])


def _may_be(name, noun):
    """Whether people may call a class by a noun: a teddy bear is perhaps a bear."""
    return f" {name}".endswith(f" {noun}")


def _orders(things, name, group, sure):
    for size, before in {"biggest": _larger, "smallest": lambda a, b: _larger(b, a)}.items():
        yield Rule("most", {"head": name, "most": size}, _ranked(things, group, sure, before)(0))
    for side, (axis, _) in SIDES.items():
        at = _ranked(things, group, sure, partial(_ahead, side))
        slots, form = {"head": name, "side": side}, ("across", "upright")[axis]
        yield Rule(form, slots, at(0))
        yield Rule(f"farthest {form}", slots, at(0))
        for rank, nth in NUMBERS.items():
            if rank < len(group) - 1:
                yield Rule("nth", {**slots, "nth": nth}, at(rank))
        if side == "left" and len(group) in (3, 5) and len(sure) == len(group):
            yield Rule("middle", {**slots, "side": "middle"}, at(len(group) // 2))


def _ranked(things, group, sure, before):
    """A function from a rank, counted from 0, to the `Matches` of what has it in a group's order."""
    ranks = {}  # the first and the last that each may have
    for i in group:
        first = sum(before(things[j], things[i]) for j in sure)
        after = sum(before(things[i], things[j]) for j in group)
        ranks[i] = first, len(group) - 1 - after

    def at(rank):
        perhaps = frozenset(i for i, (first, last) in ranks.items() if first <= rank <= last)
        return Matches(frozenset(i for i in perhaps & sure if ranks[i] == (rank, rank)), perhaps)

    return at


def _relations(things, name, group, sure, anchor, other):
    for side, relation in RELATIONS.items():
        surely = frozenset(i for i in sure if _beside(side, things[i], other))
        perhaps = frozenset(i for i in group if _perhaps_beside(side, things[i], other))
        slots = {"head": name, "anchor": anchor, "relation": relation}
        yield Rule("relation", slots, Matches(surely, perhaps))


def _larger(thing, other):
    """Whether a thing is clearly larger than another."""
    spans = zip(thing.spans, other.spans)
    longer = all(b - a >= LENGTH_RATIO * (d - c) for (a, b), (c, d) in spans)
    return longer and thing.area >= SIZE_RATIO * other.area


def _edges(side, thing, other):
    """The nearer and the farther edge of each, seen from a side."""
    axis, sign = SIDES[side]
    return [sorted(sign * edge for edge in spans[axis]) for spans in (thing.spans, other.spans)]


def _ahead(side, thing, other):
    """Whether a thing clearly comes before another, seen from a side: both edges and the centre."""
    (near, far), (other_near, other_far) = _edges(side, thing, other)
    lead = (other_near + other_far - near - far) / 2
    lengths = far - near + other_far - other_near
    return near < other_near and far < other_far and lead >= max(LEAD, OVERLAP * lengths)


def _beside(side, thing, other):
    """Whether a thing is clearly on a side of another: no centre within the other, nor aslant."""
    (near, far), (other_near, other_far) = _edges(side, thing, other)
    apart = near + far <= 2 * other_near and 2 * far <= other_near + other_far
    axis, _ = SIDES[side]
    leads = [abs(sum(a) - sum(b)) / 2 for a, b in zip(thing.spans, other.spans)]
    return apart and leads[axis] >= max(LEAD, SLANT * leads[1 - axis])


def _perhaps_beside(side, thing, other):
    """Whether an edge of a thing is farther to a side than that of another; else no centre is."""
    (near, far), (other_near, other_far) = _edges(side, thing, other)
    return near < other_near or far < other_far
