"""RefShapes as the tests read it: masks by pycocotools, words by a list of their own."""

import hashlib
import json
import pickle
import re

import numpy as np
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

# Where the words of a place point, x to the right and y downwards.
PLACES = {
    (-1, 0): ("left", "leftmost"),
    (1, 0): ("right", "rightmost"),
    (0, -1): ("top", "topmost", "upper"),
    (0, 1): ("bottom", "bottommost", "lower"),
}
DIRECTIONS = {word: direction for direction, words in PLACES.items() for word in words}
AHEAD = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}

SAYS = MEANS | {word + "s": said for word, said in MEANS.items() if said[0] == "shape"}
SAYS |= {"crosses": ("shape", "cross"), "pluses": ("shape", "cross")}
# What people may also call so.
ALSO = {"circle": ("ring", "oval"), "big": ("medium",), "small": ("medium",)}
ORDINALS = ("first", "second", "third", "fourth")
RELATION = re.compile(
    " (?:to the )?(left of|right of|above|below|next to|beside|touching|overlapping|in front of"
    "|(?:partly )?behind) (?:the )?"
)
RANK = re.compile("most|farthest|closest|biggest|largest|smallest")


class Written:
    """What the files of a root hold, REFER's or gRefCOCO's."""

    def __init__(self, root):
        self.root = root
        (path,) = root.glob("*/instances.json")
        (refs,) = path.parent.glob("*refs(unc).*")
        self.refs = (pickle if refs.suffix == ".p" else json).loads(refs.read_bytes())
        self.instances = json.loads(path.read_text())
        self.annotations = {a["id"]: a for a in self.instances["annotations"]}
        self.images = {image["id"]: image for image in self.instances["images"]}
        self.categories = {c["id"]: c for c in self.instances["categories"]}
        self.things = {image_id: {} for image_id in self.images}
        for annotation in self.instances["annotations"]:
            self.things[annotation["image_id"]][annotation["id"]] = annotation

    def sentences(self, *kinds):
        """Triples of a ref, a sentence and the things of the image, of all or some kinds."""
        return [
            (ref, sentence, self.things[ref["image_id"]])
            for ref in self.refs
            for sentence in ref["sentences"]
            if not kinds or sentence["kind"] in kinds
        ]

    def facts(self, image_id):
        """`{annotation id: attributes}` of an image's things."""
        return {i: thing["attributes"] for i, thing in self.things[image_id].items()}


def fitting(words, facts):
    """The things that the words fit as far as they name a shape, colour, size or texture."""
    said = [MEANS[word] for word in words.split() if word in MEANS]
    return [i for i, thing in facts.items() if all(thing[name] == value for name, value in said)]


def may_be(attributes, words):
    """Whether words name no shape, colour, size or texture that a thing surely has not."""
    said = [SAYS[word] for word in words.split() if word in SAYS]
    return all(attributes[name] in (value, *ALSO.get(value, ())) for name, value in said)


def meant(words, things):
    """The ids of the things that a sentence may refer to: all that it fits, however loosely."""
    head, relation, anchor = (*RELATION.split(words, maxsplit=1), None, None)[:3]
    fits = [i for i, thing in things.items() if may_be(thing["attributes"], head)]
    if relation:
        others = [j for j, thing in things.items() if may_be(thing["attributes"], anchor)]
        return [
            i for i in fits if any(i != j and holds(relation, things[i], things[j]) for j in others)
        ]
    nth = [ORDINALS.index(word) for word in words.split() if word in ORDINALS]
    if nth:
        return fits if len(fits) > nth[0] else []
    if RANK.search(words):
        return fits
    return [i for i in fits if is_there(words.split(), things[i]["attributes"]["centre"])]


def is_there(tokens, centre):
    """Whether a centre is in the half of the image, or in the middle, that the words name."""
    offset = np.subtract(centre, 0.5)
    if {"middle", "center"} & set(tokens):
        return bool(np.abs(offset).max() < 0.2)
    return all(offset @ DIRECTIONS[word] > 0 for word in tokens if word in DIRECTIONS)


def holds(relation, thing, other):
    """Whether a relation holds at all between two annotations of a 240 pixels wide image."""
    if relation in AHEAD:
        step = np.subtract(thing["attributes"]["centre"], other["attributes"]["centre"])
        ahead = step @ AHEAD[relation]
        return ahead > 0 and ahead > 0.5 * (np.abs(step).sum() - abs(ahead))
    left, top, *sides = np.transpose([thing["bbox"], other["bbox"]])
    starts = np.array([left, top])
    ends = starts + sides
    gap = np.hypot(*np.maximum(0, starts.max(axis=1) - ends.min(axis=1)))
    return gap < (38 if relation in ("next to", "beside") else 4)


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
