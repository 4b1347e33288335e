"""RefShapes as the tests read it: masks by pycocotools, words by a list of their own."""

import hashlib

from pycocotools import mask as coco_mask

from keras_cmsa.data.ref_shapes.render import RGB
from keras_cmsa.data.ref_shapes.things import SHAPES

# What a word says of a thing, in the test's own words.
MEANS = {word: ("shape", word) for word in SHAPES}
MEANS |= {"plus": ("shape", "cross")}
MEANS |= {word: ("colour", word) for word in RGB}
MEANS |= {word: ("size", "big") for word in ("big", "large")}
MEANS |= {word: ("size", "small") for word in ("small", "little")}
MEANS |= {word: ("texture", "plain") for word in ("plain", "solid")}
MEANS |= {word: ("texture", "striped") for word in ("striped", "stripes")}
MEANS |= {word: ("texture", "dotted") for word in ("dotted", "spotted", "dots")}
MEANS |= {word: ("texture", "checkered") for word in ("checkered", "checks")}


def fitting(words, facts):
    """The things that the words fit as far as they name a shape, colour, size or texture."""
    said = [MEANS[word] for word in words.split() if word in MEANS]
    return [i for i, thing in facts.items() if all(thing[name] == value for name, value in said)]


def checksums(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def draw_mask(annotation, size):
    """The segmentation as pycocotools draws it: `(size, size)` bool."""
    runs = coco_mask.frPyObjects(annotation["segmentation"], size, size)
    return coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs).astype(bool)
