"""The stuff in ReferIt's flavour: sky, sometimes water, and ground, each as wide as the image."""

from typing import NamedTuple

import numpy as np

GROUNDS = ("grass", "sand", "snow", "dirt")
STUFF = ("sky", "water", *GROUNDS)


class Region(NamedTuple):
    """A region of stuff in a scene.

    Attributes:
        name: one of `STUFF`.
        colour: colour of a sky, `"blue"` or `"gray"`; else empty.
        place: `"top"`, `"middle"` or `"bottom"`.
        mask: `(side, side)` bool; it includes the pixels of the things in front.
        thing_parts: for each thing of the scene, the fraction of its outline's points that lie in
            the region.
    """

    name: str
    colour: str
    place: str
    mask: np.ndarray
    thing_parts: tuple

    @property
    def full_name(self):
        return f"{self.colour} {self.name}".strip()


def draw_regions(rng, things, side):
    """Draws a sky, in half of the scenes water below it, and a ground at the bottom.

    Args:
        rng: a NumPy `Generator`.
        things: the scene's list of `Thing`.
        side: side of the image in pixels.

    Returns:
        List of `Region`.
    """
    rows = np.arange(side)[:, None]
    has_water = rng.random() < 0.5
    horizon = _wavy(rng, rng.uniform(0.3, 0.42) if has_water else rng.uniform(0.42, 0.66), side)
    shore = _wavy(rng, rng.uniform(0.62, 0.75), side) if has_water else horizon
    sky = "gray" if rng.random() < 0.4 else "blue"
    ground = GROUNDS[int(rng.integers(len(GROUNDS)))]
    parts = [("sky", sky, "top", rows < horizon), (ground, "", "bottom", rows >= shore)]
    if has_water:
        parts.append(("water", "", "middle", (rows >= horizon) & (rows < shore)))
    return [
        Region(name, colour, place, mask, _thing_parts(mask, things))
        for name, colour, place, mask in parts
    ]


def _wavy(rng, height, side):
    """Draws an uneven horizontal edge: its row in each column, `(side,)`, in pixels."""
    waves = np.linspace(0, 2 * np.pi * rng.uniform(0.6, 1.6), side) + rng.uniform(0, 2 * np.pi)
    return (height + 0.02 * np.sin(waves)) * side


def _thing_parts(mask, things):
    placed = [np.add(thing.outline, (thing.x, thing.y)) for thing in things]
    columns_rows = [(points * len(mask)).astype(int).T for points in placed]
    return tuple(float(mask[rows, columns].mean()) for columns, rows in columns_rows)
