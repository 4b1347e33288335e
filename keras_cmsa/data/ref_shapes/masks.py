"""The masks of things, whole and visible, drawn by COCO's own code."""

import numpy as np
from pycocotools import mask as coco_mask

HOLE = 0.45  # width of a ring's hole, as a fraction of the ring's width


def polygon(thing, side, scale=1.0):
    """A thing's outline as a COCO polygon `[x0, y0, x1, ...]`, in pixels of a `side` wide image."""
    return np.round((thing.outline * scale + (thing.x, thing.y)) * side, 1).ravel().tolist()


def whole_mask(thing, side):
    """A thing's mask as if nothing hid it: `(side, side)` bool."""
    mask = _rasterize(polygon(thing, side), side)
    return mask & ~_rasterize(polygon(thing, side, HOLE), side) if thing.shape == "ring" else mask


def _rasterize(flat_polygon, side):
    runs = coco_mask.frPyObjects([flat_polygon], side, side)
    return coco_mask.decode(runs)[:, :, 0].view(bool)


def hidden_part(front, back, side):
    """The fraction of `back`'s pixels that `front` hides, from 0 to 1."""
    behind = whole_mask(back, side)
    return float((behind & whole_mask(front, side)).sum() / behind.sum())


def visible_masks(masks):
    """The visible part of each whole mask, all `(side, side)` bool, from back to front."""
    in_front = np.zeros_like(masks[0])
    visible = []
    for mask in reversed(masks):
        visible.append(mask & ~in_front)
        in_front = in_front | mask
    return visible[::-1]
