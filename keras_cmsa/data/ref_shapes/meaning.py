"""Finds the things of a scene that a meaning matches: surely, perhaps, or not at all.

An expression is unambiguous if its meaning surely matches one thing and does not even perhaps match
another. The gap between "surely" and "perhaps" is a margin: a thing that is barely left of the star
is only perhaps left of it. Lengths are fractions of the image's side; x grows to the right and y
downwards.
"""

from functools import cache
from itertools import pairwise
from math import log
from typing import NamedTuple

# Another name that people may use for a shape.
OTHER_NAMES = {"ring": "circle", "oval": "circle"}

# The zones as (x from, x to, y from, y to). A thing is surely in a zone if its centre is, and
# perhaps if its centre is at most SLACK outside.
ZONES = {
    "left": (0.0, 0.34, 0.0, 1.0),
    "right": (0.66, 1.0, 0.0, 1.0),
    "top": (0.0, 1.0, 0.0, 0.34),
    "bottom": (0.0, 1.0, 0.66, 1.0),
    "top left": (0.0, 0.34, 0.0, 0.34),
    "top right": (0.66, 1.0, 0.0, 0.34),
    "bottom left": (0.0, 0.34, 0.66, 1.0),
    "bottom right": (0.66, 1.0, 0.66, 1.0),
    "middle": (0.39, 0.61, 0.39, 0.61),
}
SLACK = 0.16

LEAD = 0.09  # least distance between the leftmost thing and the next one
SIZE_RATIO = 1.3  # least ratio of the extents of the biggest thing and the next one
CLEAR = 0.12  # least distance between the centres for "left of", "above", ...
NEAR, FAR = 0.07, 0.17  # surely "next to" up to NEAR, surely not beyond FAR
STEP = 0.08  # least distance between neighbours that are counted, along the counting direction


class Noun(NamedTuple):
    """The attributes that a noun phrase mentions; None for the others."""

    shape: str | None = None
    size: str | None = None
    colour: str | None = None
    texture: str | None = None


class Matches(NamedTuple):
    """The things that a meaning matches, by their place in the scene.

    Attributes:
        surely: the things that it surely matches.
        perhaps: the things that it at least perhaps matches; they include `surely`.
    """

    surely: frozenset
    perhaps: frozenset

    def both(self, other):
        """The matches of both meanings together."""
        return Matches(self.surely & other.surely, self.perhaps & other.perhaps)

    def the_one(self):
        """The only thing, if it matches surely and no other thing matches perhaps; else None."""
        if len(self.perhaps) == 1 and self.surely == self.perhaps:
            return next(iter(self.surely))
        return None


NOTHING = Matches(frozenset(), frozenset())


class Judge:
    """Finds the things of one scene that a meaning matches.

    `head` and `anchor` are `Matches` of nouns.
    """

    def __init__(self, scene):
        self.things = scene.things
        self._hiding = scene.hiding
        # Cached because the finders use the same again and again.
        self.noun, self.zone, self._holds = map(cache, (self.noun, self.zone, self._holds))

    def noun(self, noun):
        """The `Matches` of a `Noun`."""
        everything = frozenset(range(len(self.things)))
        matches = Matches(everything, everything)
        for name, word in zip(Noun._fields, noun):
            if word is not None:
                matches = matches.both(self._attribute(name, word))
        return matches

    def _attribute(self, name, word):
        """The `Matches` of one word, such as "red" for the attribute `colour`."""
        values = [getattr(thing, name) for thing in self.things]
        return Matches(
            frozenset(i for i, value in enumerate(values) if value == word),
            frozenset(i for i, value in enumerate(values) if _may_be(name, value, word)),
        )

    def zone(self, zone):
        """The `Matches` of a zone, such as `"left"` or `"top right"`."""
        left, right, top, bottom = ZONES[zone]
        outside = [max(left - t.x, t.x - right, top - t.y, t.y - bottom) for t in self.things]
        sides = (frozenset(i for i, x in enumerate(outside) if x <= most) for most in (0, SLACK))
        return Matches(*sides)

    def related(self, head, relation, anchor):
        """The `Matches` of the things of `head` that are in the relation to a thing of `anchor`."""
        pairs = [(i, j) for i in head.perhaps for j in anchor.perhaps if i != j]
        perhaps = [pair for pair in pairs if self._holds(relation, *pair)[0]]
        surely = [(i, j) for i, j in perhaps if i in head.surely and j in anchor.surely]
        return Matches(
            frozenset(i for i, j in surely if self._holds(relation, i, j)[1]),
            frozenset(i for i, _ in perhaps),
        )

    def most(self, head, direction):
        """The `Matches` of the leftmost, topmost, ... or of the biggest or smallest of `head`."""
        if len(head.surely) < 2:
            return Matches(frozenset(), head.perhaps)
        (first, best), (_, second), *_ = self._ranked(head.perhaps, direction)
        if second - best < (log(SIZE_RATIO) if direction in _SIZES else LEAD):
            return Matches(frozenset(), head.perhaps)
        first = frozenset([first])
        return Matches(first & head.surely, first)

    def nth(self, head, number, direction):
        """The `Matches` of the thing of `head` at `number`, counted from 0 at the left, top, ..."""
        if number >= len(head.perhaps):
            return NOTHING
        ranked = self._ranked(head.perhaps, direction)
        steps = [after[1] - before[1] for before, after in pairwise(ranked)]
        if head.surely != head.perhaps or min(steps, default=0.0) < STEP:
            return Matches(frozenset(), head.perhaps)
        counted = frozenset([ranked[number][0]])
        return Matches(counted, counted)

    def _ranked(self, group, direction):
        """Pairs of `(thing, rank)`, the lowest rank first."""
        rank = _RANKS[direction]
        return sorted(((i, rank(self.things[i])) for i in group), key=lambda pair: pair[1])

    def _holds(self, relation, i, j):
        """Whether thing i is in the relation to thing j: (perhaps, surely)."""
        hiding = (i, j) in self._hiding, (j, i) in self._hiding
        return RELATIONS[relation](self.things[i], self.things[j], hiding)


def _may_be(name, value, word):
    """Whether a word perhaps matches a thing with a value of an attribute."""
    if name == "shape":
        return word in (value, OTHER_NAMES.get(value))
    return value == word or (name == "size" and value == "medium")


def _beside(ahead, aside):
    """Whether a thing lies in some direction: surely within 40 degrees, perhaps within 70.

    `ahead` is the distance of the centres along the direction, `aside` the distance across it.
    """
    return ahead > 0.36 * abs(aside) - 0.02, ahead >= CLEAR and ahead >= 1.2 * abs(aside)


# Each function takes two things, and `hiding`: whether the first hides the second, and the second
# the first. It returns (perhaps, surely). Things overlap clearly or keep apart, so "touching" is
# always sure.
RELATIONS = {
    "left of": lambda a, b, hiding: _beside(b.x - a.x, b.y - a.y),
    "right of": lambda a, b, hiding: _beside(a.x - b.x, b.y - a.y),
    "above": lambda a, b, hiding: _beside(b.y - a.y, b.x - a.x),
    "below": lambda a, b, hiding: _beside(a.y - b.y, b.x - a.x),
    "next to": lambda a, b, hiding: tuple(a.distance(b) <= most for most in (FAR, NEAR)),
    "touching": lambda a, b, hiding: (any(hiding), any(hiding)),
    "in front of": lambda a, b, hiding: (hiding[0], hiding[0]),
    "behind": lambda a, b, hiding: (hiding[1], hiding[1]),
}
_SIZES = ("biggest", "smallest")
_RANKS = {
    "left": lambda thing: thing.x,
    "right": lambda thing: -thing.x,
    "top": lambda thing: thing.y,
    "bottom": lambda thing: -thing.y,
    "biggest": lambda thing: -log(thing.extent),
    "smallest": lambda thing: log(thing.extent),
}
