"""Which things of a scene a meaning fits: surely, perhaps, or not at all.

An expression is unambiguous when one thing surely fits it and no other even perhaps does. The gap
between "surely" and "perhaps" is the margin: left of the star by a hair is only perhaps.
Lengths are parts of the image's side.
"""

from itertools import pairwise
from math import log
from typing import NamedTuple

from keras_cmsa.data.ref_shapes.relations import RELATIONS, SIZE_RATIO

# What else a shape might be called.
MAY_PASS_FOR = {"ring": "circle", "oval": "circle"}

# Where a centre surely lies in a zone: x from, x to, y from, y to. Within SLACK of it: perhaps.
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

LEAD = 0.09  # by which the leftmost thing is farther left than the next
STEP = 0.08  # least distance along the counting direction between neighbours that are counted


class Noun(NamedTuple):
    """What a noun phrase says of a thing; None for what it leaves out."""

    shape: str | None = None
    size: str | None = None
    colour: str | None = None
    texture: str | None = None


class Fit(NamedTuple):
    """The things that surely fit, and all that at least perhaps do, by their place in the scene."""

    surely: frozenset
    perhaps: frozenset

    def both(self, other):
        return Fit(self.surely & other.surely, self.perhaps & other.perhaps)

    def only(self):
        """The one thing that surely fits if no other perhaps does, else None."""
        if len(self.perhaps) == 1 and self.surely == self.perhaps:
            return next(iter(self.surely))
        return None


NOTHING = Fit(frozenset(), frozenset())


class Judge:
    """Says which things of one scene a meaning fits."""

    def __init__(self, scene):
        self.things = scene.things
        self.regions = scene.regions
        self._hiding = scene.hiding
        self._known = {}  # by noun, word, zone, ...: the same are asked for again and again
        everything = frozenset(range(len(scene.things)))
        self._everything = Fit(everything, everything)

    def noun(self, noun):
        """The things that a `Noun` fits."""
        if noun not in self._known:
            fit = self._everything
            for name, word in zip(Noun._fields, noun):
                if word is not None:
                    fit = fit.both(self._named(name, word))
            self._known[noun] = fit
        return self._known[noun]

    def _named(self, name, word):
        key = name, word
        if key not in self._known:
            values = [getattr(thing, name) for thing in self.things]
            self._known[key] = Fit(
                frozenset(i for i, value in enumerate(values) if value == word),
                frozenset(i for i, value in enumerate(values) if _may_be(name, value, word)),
            )
        return self._known[key]

    # The next two are asked thousands of times per scene, mostly to find that it is none.

    def only_in_zone(self, head, zone):
        """The one of `head` in a zone of the image, such as `"left"` or `"top right"`, or None."""
        if zone not in self._known:
            bounds = ZONES[zone]
            self._known[zone] = Fit(self._within(bounds, 0.0), self._within(bounds, SLACK))
        fit = self._known[zone]
        if len(head.perhaps & fit.perhaps) != 1:
            return None
        return head.both(fit).only()

    def only_related(self, head, relation, anchor):
        """The one of `head` in the relation to one of `anchor`, or None."""
        found = None
        for i in head.perhaps:
            if self._relates(i, relation, anchor.perhaps, 0):
                if found is not None:
                    return None
                found = i
        sure = found in head.surely and self._relates(found, relation, anchor.surely, 1)
        return found if sure else None

    def _relates(self, i, relation, anchors, sure):
        """Whether thing i is in the relation to one of the anchors."""
        for j in anchors:
            if i != j and self._holds(relation, i, j)[sure]:
                return True
        return False

    def _within(self, bounds, slack):
        left, right, top, bottom = bounds
        return frozenset(
            i
            for i, thing in enumerate(self.things)
            if left - slack <= thing.x <= right + slack and top - slack <= thing.y <= bottom + slack
        )

    def most(self, head, direction):
        """The one of `head` that is farthest left, right, up or down, the biggest or smallest."""
        if len(head.surely) < 2:
            return NOTHING
        ranked = self._ranked(head.perhaps, direction)
        (first, best), (_, second) = ranked[:2]
        if second - best < (log(SIZE_RATIO) if direction in _SIZES else LEAD):
            return Fit(frozenset(), head.perhaps)
        first = frozenset([first])
        return Fit(first & head.surely, first)

    def nth(self, head, number, direction):
        """The one of `head` that comes as `number` (from 0) when counted from the left, top, ..."""
        ranked = self._ranked(head.perhaps, direction)
        steps = [after[1] - before[1] for before, after in pairwise(ranked)]
        if head.surely != head.perhaps or number >= len(ranked) or min(steps, default=0.0) < STEP:
            return Fit(frozenset(), head.perhaps)
        counted = frozenset([ranked[number][0]])
        return Fit(counted, counted)

    def _ranked(self, group, direction):
        """Pairs of a thing and its rank, lowest rank first."""
        rank = _RANKS[direction]
        return sorted(((i, rank(self.things[i])) for i in group), key=lambda pair: pair[1])

    def _holds(self, relation, i, j):
        """Whether thing i is in the relation to thing j: (perhaps, surely)."""
        key = relation, i, j
        if key not in self._known:
            hiding = (i, j) in self._hiding, (j, i) in self._hiding
            self._known[key] = RELATIONS[relation](self.things[i], self.things[j], hiding)
        return self._known[key]

    def inside(self, head, region):
        """Those of `head` that lie in a `Region`."""
        surely, perhaps = (
            frozenset(i for i, part in enumerate(region.holds) if part >= bound)
            for bound in (0.9, 0.1)
        )
        return head.both(Fit(surely, perhaps))


def _may_be(name, value, word):
    if name == "shape":
        return word in (value, MAY_PASS_FOR.get(value))
    return value == word or (name == "size" and value == "medium")


_SIZES = ("biggest", "smallest")
_RANKS = {
    "left": lambda thing: thing.x,
    "right": lambda thing: -thing.x,
    "top": lambda thing: thing.y,
    "bottom": lambda thing: -thing.y,
    "biggest": lambda thing: -log(thing.extent),
    "smallest": lambda thing: log(thing.extent),
}
