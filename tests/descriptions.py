"""Who a sentence of `keras-cmsa describe` means, as people read it: written from its words alone.

People differ: in what they call a thing, whether they count what is tiny, and whether "left" is about
an edge or the middle of a thing. A sentence is good if it means the same thing to all of them.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

SIDE = "(left|right|top|bottom)"
# Pattern: (what is meant, names of its groups).
PATTERNS = {
    r"(?P<noun>.+?) (to the )?(?P<where>left of|right of|above|below) (the )?(?P<anchor>.+)": "by",
    rf"(?P<nth>second|third) (?P<noun>.+) from (the )?(?P<where>{SIDE})": "nth",
    r"(?P<where>biggest|largest|smallest) (?P<noun>.+)": "size",
    r"(middle|center) (?P<noun>.+)|(?P<noun2>.+) in (the )?(middle|center)": "middle",
    rf"(?P<noun>.+) (on|at) (the )?(?P<where>{SIDE})": "side",
    rf"(?P<noun>.+) farthest (?P<where>{SIDE})|farthest (?P<where2>{SIDE}) (?P<noun2>.+)": "side",
    rf"(?P<noun>.+) closest to the (?P<where>{SIDE})|(?P<noun2>.+) (?P<where2>{SIDE}) side": "side",
    rf"(?P<where>{SIDE})(most)? (?P<noun>.+)": "side",
    r"(?P<noun>.+)": "class",
}


@dataclass
class Seen:
    """An object as people see it: its class and its mask `(H, W)`."""

    name: str
    mask: np.ndarray

    @cached_property
    def area(self):
        return self.mask.mean()

    @cached_property
    def spans(self):
        """Where it begins and ends, across and down."""
        places = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (0, 1))
        return [(inside[0], inside[-1]) for inside in places]


def parse(sentence):
    """`(what is meant, {"noun": ..., "where": ..., "nth": ..., "anchor": ...})` of a sentence."""
    sentence = sentence.removeprefix("the ")
    for pattern, meaning in PATTERNS.items():
        if match := re.fullmatch(pattern, sentence):
            return meaning, {k.rstrip("2"): v for k, v in match.groupdict().items() if v}
    raise AssertionError(sentence)


def meant(sentence, objects, tiny):
    """The places in `objects` that the sentence means to some people; `tiny` is a part of a photo."""
    meaning, words = parse(sentence)
    everyone = range(len(objects))
    broad = [i for i in everyone if is_called(objects[i].name, words["noun"])]
    narrow = [i for i in broad if objects[i].name == words["noun"]]
    noticed = [i for i in everyone if objects[i].area >= tiny]
    found = set()
    for group, eyes, edge in product((broad, narrow), (everyone, noticed), ("low", "mid", "high")):
        group = [i for i in group if i in eyes]
        found |= set(READINGS[meaning](group, objects, edge, **words))
    return found


def is_called(name, noun):
    return name.split()[-len(noun.split()) :] == noun.split()


def from_side(side, objects, edge):
    """A function from a place to how far it is from a side of the photo."""
    axis, sign = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}[side]

    def distance(i):
        low, high = objects[i].spans[axis]
        return sign * {"low": low, "high": high, "mid": (low + high) / 2}[edge]

    return distance


def nth_from(side, number, group, objects, edge):
    distance = from_side(side, objects, edge)
    order = sorted(group, key=distance)
    # Who cannot tell two apart may mean either.
    return [i for i in order if distance(i) == distance(order[number])]


def middle(group, objects, edge, noun):
    even = len(group) % 2 == 0  # then nobody knows
    return group if even else nth_from("left", len(group) // 2, group, objects, edge)


def size_of(group, objects, edge, noun, where):
    """By the area, the width or the height, whichever `edge` stands for."""
    axis = {"low": 0, "high": 1, "mid": None}[edge]
    sizes = {i: objects[i].area if axis is None else np.ptp(objects[i].spans[axis]) for i in group}
    most = (min if where == "smallest" else max)(sizes.values())
    return [i for i in group if sizes[i] == most]


def beside(group, objects, edge, noun, where, anchor):
    side = {"left of": "left", "right of": "right", "above": "top", "below": "bottom"}[where]
    (other,) = [i for i in range(len(objects)) if is_called(objects[i].name, anchor)]
    distance = from_side(side, objects, edge)
    return [i for i in group if distance(i) < distance(other)]


READINGS = {
    "class": lambda group, objects, edge, noun: group,
    "side": lambda group, objects, edge, noun, where: nth_from(where, 0, group, objects, edge),
    "nth": lambda group, objects, edge, noun, where, nth: nth_from(
        where, {"second": 1, "third": 2}[nth], group, objects, edge
    ),
    "middle": middle,
    "size": size_of,
    "by": beside,
}
