"""A scene: several things of a few kinds, placed so that their relations are clearly visible.

Lengths and coordinates are fractions of the image's side; x grows to the right and y downwards.
"""

from math import cos, pi, sin
from typing import NamedTuple

from keras_cmsa.data.ref_shapes.things import EDGE, SHAPES, draw_thing

# The number of things of each kind. There are always several of one kind, as in RefCOCO.
GROUPS = ((2, 1), (2, 1), (2, 1, 1), (2, 2))

MIN_COLOURS = max(map(sum, GROUPS))

SAME_COLOUR = 0.12  # probability that a thing has the colour of another
APART = 0.03  # least distance between the boxes of two things that do not overlap
MIN_VISIBLE = 0.62  # least visible fraction of a thing that another hides in part
MIN_HIDDEN = 0.08  # least hidden fraction; with less it is unclear whether two things touch
OVERLAPPING = 0.4  # fraction of scenes with two overlapping things, among those not `flanked`
PLACE_TRIES = 25  # tries to find a place


class Scene(NamedTuple):
    """The content of an image.

    Attributes:
        things: list of `Thing`, from back to front.
        hiding: set of pairs (front, back) of places in `things`: front hides a part of back.
    """

    things: list
    hiding: set


def draw_scene(rng, family, side, flanked, colours):
    """Draws a random scene.

    Args:
        rng: a NumPy `Generator`.
        family: shapes of the first two kinds of things.
        side: side of the image in pixels, to measure how much one thing hides of another.
        flanked: whether to put two things of a kind on opposite sides of a thing of another kind.
        colours: names of the things' colours, `MIN_COLOURS` or more.

    Returns:
        `Scene`, or None if there is no room for its things.
    """
    things = _draw_things(rng, family, colours)
    overlapping = not flanked and rng.random() < OVERLAPPING
    if flanked:
        placed = _place_flanked(rng, things)
    elif overlapping:
        back, front = rng.permutation(len(things))[:2]
        placed = _place_overlapping(rng, things[back], things[front], side)
    else:
        placed = []
    if placed is None:
        return None
    for thing in things:
        if thing not in placed:
            if not _place(rng, thing, placed):
                return None
            placed.append(thing)
    return Scene(placed, {(1, 0)} if overlapping else set())


def _draw_things(rng, family, colours):
    """Draws things without a place, kind by kind."""
    counts = GROUPS[int(rng.integers(len(GROUPS)))]
    kinds = _shuffled(rng, family)[:2]
    kinds += [kind for kind in _shuffled(rng, SHAPES) if kind not in kinds]
    shapes = [kind for kind, count in zip(kinds, counts) for _ in range(count)]
    colours = _shuffled(rng, colours)[: len(shapes)]
    for place in range(1, len(colours)):
        if rng.random() < SAME_COLOUR:
            colours[place] = colours[int(rng.integers(place))]
    return [draw_thing(rng, *looks, len(shapes)) for looks in zip(shapes, colours)]


def _shuffled(rng, names):
    return [names[n] for n in rng.permutation(len(names))]


def _place(rng, thing, placed):
    """Moves a thing to a place apart from the placed things; False if there is no such place."""
    left, up, right, down = thing.reach
    for _ in range(PLACE_TRIES):
        thing.x = rng.uniform(EDGE - left, 1 - EDGE - right)
        thing.y = rng.uniform(EDGE - up, 1 - EDGE - down)
        if all(thing.distance(other) >= APART for other in placed):
            return True
    return False


def _place_overlapping(rng, back, front, side):
    """Places two things so that `front` hides a part of `back`: `[back, front]`.

    Returns None if no try hides neither too much nor too little.
    """
    for _ in range(PLACE_TRIES):
        _place(rng, back, [])
        offset = (front.extent + back.extent) / 2 - rng.uniform(0.3, 0.45) * back.extent
        _move(front, back, offset, rng.uniform(-pi, pi))
        if not front.is_inside():
            continue
        hidden = front.mask(side)[back.mask(side)].mean()
        if MIN_HIDDEN <= hidden <= 1 - MIN_VISIBLE:
            return [back, front]
    return None


def _place_flanked(rng, things):
    """Places a thing between two of another kind, in a row or a column; None without room."""
    flanks = things[:2]
    middle = next(thing for thing in things if thing.shape != flanks[0].shape)
    for _ in range(PLACE_TRIES):
        middle.x, middle.y = rng.uniform(0.35, 0.65, size=2).tolist()
        direction = pi / 2 * int(rng.integers(4))
        for flank, opposite in zip(flanks, (0, pi)):
            angle = direction + opposite + rng.uniform(-0.6, 0.6)
            _move(flank, middle, rng.uniform(0.2, 0.36), angle)
        apart = min(middle.distance(flank) for flank in flanks) >= APART
        if apart and all(thing.is_inside() for thing in (middle, *flanks)):
            return [middle, *flanks]
    return None


def _move(thing, origin, distance, angle):
    """Moves a thing to a distance and an angle from another; 0 is to the right, pi / 2 down."""
    thing.x, thing.y = origin.x + distance * cos(angle), origin.y + distance * sin(angle)
