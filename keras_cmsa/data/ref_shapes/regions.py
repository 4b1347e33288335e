"""The stuff of ReferIt's flavour: a sky, perhaps water, and a ground, each as wide as the image."""

from typing import NamedTuple

import numpy as np

GROUNDS = ("grass", "sand", "snow", "dirt")
STUFF = ("sky", "water", *GROUNDS)


class Region(NamedTuple):
    """A stretch of stuff.

    Attributes:
        name: of `STUFF`.
        colour: of a sky, `"blue"` or `"gray"`; else empty.
        place: `"top"`, `"middle"` or `"bottom"`.
        mask: `(side, side)` bool, with the pixels of the things before it.
        holds: for each thing of the scene, the part of its outline's points that lie within.
    """

    name: str
    colour: str
    place: str
    mask: np.ndarray
    holds: tuple

    @property
    def full_name(self):
        return f"{self.colour} {self.name}".strip()


def draw_regions(rng, things, side):
    """A sky, in half of the scenes water below it, and a ground at the bottom.

    Args:
        rng: a numpy `Generator`.
        things: the scene's.
        side: of the image, in pixels.
    """
    rows = np.arange(side)[:, None]
    has_water = rng.random() < 0.5
    horizon = _wavy(rng, rng.uniform(0.3, 0.42) if has_water else rng.uniform(0.42, 0.66), side)
    shore = _wavy(rng, rng.uniform(0.62, 0.75), side) if has_water else horizon
    sky = "gray" if rng.random() < 0.4 else "blue"
    ground = GROUNDS[int(rng.integers(len(GROUNDS)))]
    stretches = [("sky", sky, "top", rows < horizon), (ground, "", "bottom", rows >= shore)]
    if has_water:
        stretches.append(("water", "", "middle", (rows >= horizon) & (rows < shore)))
    return [Region(*stretch, _held(stretch[-1], things)) for stretch in stretches]


def _wavy(rng, height, side):
    """An uneven edge: for each column the row it is at, `(side,)`, in pixels."""
    waves = np.linspace(0, 2 * np.pi * rng.uniform(0.6, 1.6), side) + rng.uniform(0, 2 * np.pi)
    return (height + 0.02 * np.sin(waves)) * side


def _held(mask, things):
    placed = [np.add(thing.outline, (thing.x, thing.y)) for thing in things]
    columns_rows = [(points * len(mask)).astype(int).T for points in placed]
    return tuple(float(mask[rows, columns].mean()) for columns, rows in columns_rows)
