"""The pixels of things: whole, and what is left to see of them. COCO's own rule makes them."""

import numpy as np
from pycocotools import mask as coco_mask

HOLE = 0.45  # the width of a ring's hole, as a part of the ring's


def polygon(thing, side, scale=1.0):
    """A thing's outline as COCO writes it: `[x0, y0, x1, ...]` in pixels of a `side` wide image."""
    return np.round((thing.outline * scale + (thing.x, thing.y)) * side, 1).ravel().tolist()


def whole_mask(thing, side):
    """The thing's pixels if nothing stood before it: `(side, side)` bool."""
    mask = _rasterize(polygon(thing, side), side)
    return mask & ~_rasterize(polygon(thing, side, HOLE), side) if thing.shape == "ring" else mask


def _rasterize(flat_polygon, side):
    runs = coco_mask.frPyObjects([flat_polygon], side, side)
    return coco_mask.decode(runs)[:, :, 0].view(bool)


def hidden_part(front, back, side):
    """The part of `back`'s pixels that `front` hides, from 0 to 1."""
    behind = whole_mask(back, side)
    return float((behind & whole_mask(front, side)).sum() / behind.sum())


def visible_masks(masks):
    """What is seen of each of the whole `masks`, from back to front: `(side, side)` bool each."""
    in_front = np.zeros_like(masks[0])
    visible = []
    for mask in reversed(masks):
        visible.append(mask & ~in_front)
        in_front = in_front | mask
    return visible[::-1]
