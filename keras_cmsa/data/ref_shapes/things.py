"""A thing of a scene: its shape, colour, texture, size and place.

Lengths and coordinates are fractions of the image's side; x grows to the right and y downwards.
"""

from dataclasses import dataclass
from math import cos, hypot, pi, sin, sqrt

import numpy as np
from pycocotools import mask as coco_mask

from keras_cmsa.data.ref_shapes.outlines import OUTLINES

# The targets in testA are round, those in testB are angular; train and val have both.
ROUND = ("circle", "oval", "ring", "heart")
ANGULAR = ("square", "triangle", "star", "cross")
SHAPES = ROUND + ANGULAR
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
TEXTURES = ("plain", "striped", "dotted", "checkered")

# The range of extents of each size. The gaps between the ranges make "big" and "small" clear.
EXTENTS = {"small": (0.23, 0.27), "medium": (0.32, 0.37), "big": (0.43, 0.50)}

# The range of long over short side of an oval, which lies or stands. Other shapes have equal sides.
OVAL = (1.6, 2.0)
TILT = pi / 15  # largest tilt to either side

HOLE = 0.45  # width of a ring's hole, as a fraction of the ring's width

EDGE = 0.02  # width of the free margin along the image's border


@dataclass(slots=True, eq=False)
class Thing:
    """An object of a scene.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`.
        texture: one of `TEXTURES`.
        size: `"small"`, `"medium"` or `"big"`.
        extent: side of a square with the area of the shape's box before the tilt.
        outline: `(points, 2)`, relative to the centre.
        reach: bounds of the outline: left, up, right, down; the first two are negative.
        x: x of the centre.
        y: y of the centre.
    """

    shape: str
    colour: str
    texture: str
    size: str
    extent: float
    outline: np.ndarray
    reach: tuple
    x: float = 0.5
    y: float = 0.5

    def distance(self, other):
        """The distance between the boxes of two things; 0 if they meet."""
        left, up, right, down = self.reach
        other_left, other_up, other_right, other_down = other.reach
        dx, dy = other.x - self.x, other.y - self.y
        across = max(dx + other_left - right, left - dx - other_right, 0.0)
        upright = max(dy + other_up - down, up - dy - other_down, 0.0)
        return hypot(across, upright)

    def is_inside(self):
        """Whether the thing is completely inside the image, apart from the margin."""
        left, up, right, down = self.reach
        low, high = min(self.x + left, self.y + up), max(self.x + right, self.y + down)
        return low >= EDGE and high <= 1 - EDGE

    def polygon(self, side, scale=1.0):
        """The outline as a COCO polygon `[x0, y0, x1, ...]`, in pixels of a `side` wide image."""
        return np.round((self.outline * scale + (self.x, self.y)) * side, 1).ravel().tolist()

    def mask(self, side):
        """The mask as if nothing hid the thing, drawn by COCO's own code: `(side, side)` bool."""
        scales = (1.0, HOLE) if self.shape == "ring" else (1.0,)
        runs = coco_mask.frPyObjects([self.polygon(side, x) for x in scales], side, side)
        return np.logical_xor.reduce(coco_mask.decode(runs).view(bool), axis=-1)

    def attributes(self):
        """The attributes that expressions can mention, in plain types."""
        return {
            "shape": self.shape,
            "colour": self.colour,
            "texture": self.texture,
            "size": self.size,
            "extent": round(self.extent, 4),
            "centre": [round(self.x, 4), round(self.y, 4)],
        }


def draw_thing(rng, shape, colour, crowd):
    """Draws a thing of a shape and a colour, without a place; `crowd` is the number of things."""
    size = _draw_size(rng, crowd)
    extent = rng.uniform(*EXTENTS[size])
    outline = _tilted(OUTLINES[shape] * extent * _stretch(rng, shape), rng.uniform(-TILT, TILT))
    return Thing(
        shape=shape,
        colour=colour,
        texture="plain" if rng.random() < 0.7 else TEXTURES[int(rng.integers(1, 4))],
        size=size,
        extent=extent,
        outline=outline,
        reach=(*outline.min(axis=0).tolist(), *outline.max(axis=0).tolist()),
    )


def _draw_size(rng, crowd):
    """Draws a size; in a crowd fewer things are big, because many big things have no room."""
    big = 0.4 if crowd <= 4 else 0.25
    chance = rng.random()
    return "big" if chance < big else "medium" if chance < big + 0.25 else "small"


def _stretch(rng, shape):
    """Draws the factors of width and height; their product is 1."""
    ratio = rng.uniform(*OVAL) if shape == "oval" else 1.0
    ratio = ratio if rng.random() < 0.5 else 1 / ratio
    return np.array([sqrt(ratio), 1 / sqrt(ratio)])


def _tilted(outline, angle):
    return outline @ np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
