"""Reads the REFER layout: RefCOCO (UNC), RefCOCO+ (UNC+), RefCOCOg (G-Ref) and RefClef (ReferIt).

    <root>/refcoco/refs(unc).p        pickled list of refs: an object and the sentences about it
    <root>/refcoco/instances.json     COCO's annotations and images
    <root>/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg

The files are read as data from strangers: nothing in them is executed, and no name in them leads
out of the image folder. Layout: https://github.com/lichengunc/refer
"""

import re
import reprlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

from keras_cmsa.data.reading import (
    MAX_SENTENCES,
    checked_on_bad,
    checked_sentences,
    field,
    gathered,
    left_out,
    missing_images,
    only,
    read_json,
    unpublished_counts,
    warn_of,
)
from keras_cmsa.data.records import Record
from keras_cmsa.data.restricted_pickle import read_plain_pickle


class _Images(NamedTuple):
    """Where the images of a data set lie. A name that does not match cannot lead elsewhere."""

    folder: str
    name: re.Pattern
    name_of_id: str
    source: str


COCO = _Images(
    "images/mscoco/images/train2014",
    re.compile(r"\w[\w.-]*"),
    "COCO_train2014_{:012d}.jpg",
    "COCO's train2014.zip",
)

# SAIAPR TC-12 is one folder of images, or its own numbered ones.
SAIAPR = _Images(
    "images/saiapr_tc-12",
    re.compile(r"(\d\d/images/)?\w[\w.-]*"),
    "{}.jpg",
    "the SAIAPR TC-12 collection",
)

IMAGES = {"refcoco": COCO, "refcoco+": COCO, "refcocog": COCO, "refclef": SAIAPR}

# (dataset, split owner): {split: (refs, sentences, images)}, as `count` gives them; None where
# nobody has published the number. Refs and images: README of TFDS' ref_coco. Sentences: those of
# both splits of refcocog add up to 95,010, those of refcoco+ to the 141,564 of the paper.
PUBLISHED_COUNTS = {
    ("refcoco", "unc"): {
        "train": (42404, 120624, 16994),
        "val": (3811, 10834, 1500),
        "testA": (1975, 5657, 750),
        "testB": (1810, 5095, 750),
    },
    ("refcoco", "google"): {
        "train": (40000, None, 19213),
        "val": (5000, None, 4559),
        "test": (5000, None, 4527),
    },
    ("refcoco+", "unc"): {
        "train": (42278, 120191, 16992),
        "val": (3805, 10758, 1500),
        "testA": (1975, 5726, 750),
        "testB": (1798, 4889, 750),
    },
    ("refcocog", "google"): {
        "train": (44822, 85474, 24698),
        "val": (5000, 9536, 4650),
    },
    ("refcocog", "umd"): {
        "train": (42226, 80512, 21899),
        "val": (2573, 4896, 1300),
        "test": (5023, 9602, 2600),
    },
}


def read_refer(root, dataset="refcoco", split_owner="unc", splits=None, on_bad="raise"):
    """Read a data set in the REFER layout.

    Images are not opened and masks not drawn: `keras_cmsa.data.check.check_records` does both.
    Warns, in one line each, of refs left out, of images that are missing, and of counts that are
    not the published ones (but not for RefShapes, which has a `ref_shapes.json`).

    Args:
        root: the folder that holds `<dataset>/` and `images/`.
        dataset: `"refcoco"`, `"refcoco+"`, `"refcocog"` or `"refclef"`.
        split_owner: who made the splits: `"unc"`, `"google"`, `"umd"`, ...
        splits: names of the splits wanted; None for all there are.
        on_bad: `"raise"` stops at the first bad ref; `"skip"` leaves bad refs out and warns.

    Returns:
        `{split: [Record, ...]}`: a record per sentence, in the order of the file.

    Raises:
        FileNotFoundError: if an annotation file is missing.
        ValueError: if an annotation file is damaged or holds more than plain data, if a ref in it
            is bad, or if a split wanted is not there.
    """
    if dataset not in IMAGES:
        raise ValueError(f"wanted a dataset of {', '.join(IMAGES)}; received: {dataset!r}")
    checked_on_bad(on_bad)
    root = Path(root)
    refs_path = _existing(root, dataset, f"refs({split_owner}).p")
    refs = _read_refs(refs_path)
    instances = read_instances(root, dataset)
    places = {"instances": instances, "root": root, "dataset": dataset}
    records, problems = gathered(
        ((f"{refs_path}, entry {place}", ref) for place, ref in enumerate(refs)),
        partial(_records_of, **places),
        on_bad,
    )
    records = only(splits, records, refs_path)
    warn_of(
        left_out(problems, len(refs)),
        unpublished_counts(records, _published_counts(root, dataset, split_owner), splits),
        missing_images(records, root / IMAGES[dataset].folder, IMAGES[dataset].source),
    )
    return records


class _Instances(NamedTuple):
    """What `instances.json` holds, by id."""

    path: Path
    images: dict
    annotations: dict


def _existing(root, dataset, name):
    path = root / dataset / name
    if path.is_file():
        return path
    present = sorted(f"{file.parent.name}/{file.name}" for file in root.glob("*/refs(*).p"))
    raise FileNotFoundError(
        f"{path} is missing. Wanted <root>/<dataset>/refs(<split owner>).p with an instances.json "
        f"beside it; in {root} there is: {', '.join(present) or 'none'}"
    )


def _read_refs(path):
    refs = read_plain_pickle(path)
    if type(refs) is not list or len(refs) > MAX_SENTENCES:
        raise ValueError(
            f"{path} holds no refs: wanted a list of at most {MAX_SENTENCES:,}, got a "
            f"{type(refs).__name__}{f' of {len(refs):,}' if type(refs) is list else ''}"
        )
    return refs


def read_instances(root, dataset):
    """The images and annotations of a data set, by id."""
    path = _existing(root, dataset, "instances.json")
    content = read_json(path)
    return _Instances(path, _by_id(content, "images", path), _by_id(content, "annotations", path))


def _by_id(content, key, path):
    entries = field(content, key, list, path)
    return {
        field(entry, "id", int | str, f"{path}, {key} entry {place}"): entry
        for place, entry in enumerate(entries)
    }


def _records_of(entry, room, instances, root, dataset):
    """One record per sentence of a ref, given with its place in the file; at most `room`."""
    where, ref = entry
    where = f"{where}, ref {field(ref, 'ref_id', int, where)}"
    split = field(ref, "split", str, where)
    image = _image(ref, instances, where)
    path = image_path(image, root, IMAGES[dataset], where)
    segmentation = _segmentation(ref, instances, where)
    sentences = checked_sentences(field(ref, "sentences", list, where), room, where)
    return [
        Record(
            image_path=path,
            image_id=ref["image_id"],
            ref_id=ref["ref_id"],
            sentence_id=field(sentence, "sent_id", int, where),
            raw=field(sentence, "raw", str, where),
            expression=field(sentence, "sent", str, where),
            split=split,
            height=image["height"],
            width=image["width"],
            segmentation=segmentation,
            kind=field(sentence, "kind", str, where) if "kind" in sentence else "",
        )
        for sentence in sentences
    ]


def _image(ref, instances, where):
    image_id = field(ref, "image_id", int, where)
    if image_id not in instances.images:
        raise ValueError(f"{where}: image {image_id} is not in {instances.path}")
    image = instances.images[image_id]
    for side in ("height", "width"):
        if field(image, side, int, f"{where}, image {image_id}") < 1:
            raise ValueError(f"{where}, image {image_id}: {side} {image[side]}; wanted at least 1")
    return image


def image_path(image, root, images, where):
    """Where the file of an entry of COCO's `images` lies; its name cannot lead elsewhere."""
    name = image.get("file_name", images.name_of_id.format(image["id"]))
    if type(name) is not str or not images.name.fullmatch(name):
        raise ValueError(
            f"{where}: image file name {reprlib.repr(name)}; wanted a plain name, of a file in "
            f"{root / images.folder}"
        )
    return root / images.folder / name


def _segmentation(ref, instances, where):
    ann_id = field(ref, "ann_id", int | str, where)
    if ann_id not in instances.annotations:
        raise ValueError(f"{where}: annotation {ann_id} is not in {instances.path}")
    annotation = instances.annotations[ann_id]
    if annotation.get("image_id") != ref["image_id"]:
        raise ValueError(
            f"{where}: annotation {ann_id} is of image "
            f"{reprlib.repr(annotation.get('image_id'))}, not of the ref's {ref['image_id']}"
        )
    if not annotation.get("segmentation"):
        raise ValueError(f"{where}: annotation {ann_id} has no segmentation")
    return annotation["segmentation"]


def _published_counts(root, dataset, split_owner):
    generated = any((folder / "ref_shapes.json").is_file() for folder in (root, root / dataset))
    return {} if generated else PUBLISHED_COUNTS.get((dataset, split_owner), {})
