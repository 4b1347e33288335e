"""Reads the REFER layout: RefCOCO (UNC), RefCOCO+ (UNC+), RefCOCOg (G-Ref) and RefClef (ReferIt).

    <root>/refcoco/refs(unc).p        pickled list of refs: an object and the sentences about it
    <root>/refcoco/instances.json     COCO's annotations and images
    <root>/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg

The files are read as data from strangers: nothing in them is executed, and no name in them leads
out of the image folder. Layout: https://github.com/lichengunc/refer
"""

import json
import os
import re
import reprlib
import warnings
from pathlib import Path
from typing import NamedTuple

from keras_cmsa.data.records import Record, count
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

# (dataset, split owner): {split: (refs, sentences, images)}, as `count` gives them.
PUBLISHED_COUNTS = {
    ("refcoco", "unc"): {
        "train": (42404, 120624, 16994),
        "val": (3811, 10834, 1500),
        "testA": (1975, 5657, 750),
        "testB": (1810, 5095, 750),
    },
}

# Ten times the largest published set. A small pickle can name one sentence a million times over.
MAX_SENTENCES = 2_000_000


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
    if dataset not in IMAGES or on_bad not in ("raise", "skip"):
        raise ValueError(
            f"wanted a dataset of {', '.join(IMAGES)} and on_bad 'raise' or 'skip'; "
            f"received: {dataset!r}, {on_bad!r}"
        )
    root = Path(root)
    refs_path = _existing(root, dataset, f"refs({split_owner}).p")
    refs = _read_refs(refs_path)
    instances = _read_instances(_existing(root, dataset, "instances.json"))
    records, problems = _records(refs, refs_path, instances, root, dataset, on_bad)
    records = _only(splits, records, refs_path)
    for message in (
        _left_out(problems, len(refs), refs_path),
        _unpublished_counts(records, splits, root, dataset, split_owner),
        _missing_images(records, root, dataset),
    ):
        if message:
            warnings.warn(message, stacklevel=2)
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


def _read_instances(path):
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}. Fetch it again") from error
    return _Instances(path, _by_id(content, "images", path), _by_id(content, "annotations", path))


def _by_id(content, key, path):
    entries = _field(content, key, list, path)
    return {
        _field(entry, "id", int | str, f"{path}, {key} entry {place}"): entry
        for place, entry in enumerate(entries)
    }


def _field(entry, key, kind, where):
    """`entry[key]`, which must be there and of that type."""
    if type(entry) is not dict:
        raise ValueError(f"{where}: wanted a dict, got {type(entry).__name__}")
    if isinstance(entry.get(key), kind):
        return entry[key]
    got = type(entry[key]).__name__ if key in entry else "nothing"
    wanted = getattr(kind, "__name__", kind)
    raise ValueError(f"{where}: wanted {key!r} of type {wanted}, got {got}")


def _records(refs, refs_path, instances, root, dataset, on_bad):
    """`{split: [Record, ...]}`, and what was wrong with the refs left out."""
    records, problems, room = {}, [], MAX_SENTENCES
    for place, ref in enumerate(refs):
        where = f"{refs_path}, entry {place}"
        try:
            of_ref = _records_of(ref, where, instances, root, dataset, room)
        except ValueError as error:
            if on_bad == "raise":
                raise ValueError(f"{error}. on_bad='skip' leaves such refs out") from None
            problems.append(str(error))
            continue
        room -= len(of_ref)
        records.setdefault(ref["split"], []).extend(of_ref)
    return records, problems


def _records_of(ref, where, instances, root, dataset, room):
    """One record per sentence of a ref; at most `room`."""
    where = f"{where}, ref {_field(ref, 'ref_id', int, where)}"
    split = _field(ref, "split", str, where)
    image = _image(ref, instances, where)
    path = _image_path(image, root, dataset, where)
    segmentation = _segmentation(ref, instances, where)
    sentences = _field(ref, "sentences", list, where)
    if not 0 < len(sentences) <= room:
        raise ValueError(f"{where}: {len(sentences)} sentences; wanted at least 1, at most {room}")
    return [
        Record(
            image_path=path,
            image_id=ref["image_id"],
            ref_id=ref["ref_id"],
            sentence_id=_field(sentence, "sent_id", int, where),
            raw=_field(sentence, "raw", str, where),
            expression=_field(sentence, "sent", str, where),
            split=split,
            height=image["height"],
            width=image["width"],
            segmentation=segmentation,
            kind=_field(sentence, "kind", str, where) if "kind" in sentence else "",
        )
        for sentence in sentences
    ]


def _image(ref, instances, where):
    image_id = _field(ref, "image_id", int, where)
    if image_id not in instances.images:
        raise ValueError(f"{where}: image {image_id} is not in {instances.path}")
    image = instances.images[image_id]
    for side in ("height", "width"):
        if _field(image, side, int, f"{where}, image {image_id}") < 1:
            raise ValueError(f"{where}, image {image_id}: {side} {image[side]}; wanted at least 1")
    return image


def _image_path(image, root, dataset, where):
    images = IMAGES[dataset]
    name = image.get("file_name", images.name_of_id.format(image["id"]))
    if type(name) is not str or not images.name.fullmatch(name):
        raise ValueError(
            f"{where}: image file name {reprlib.repr(name)}; wanted a plain name, of a file in "
            f"{root / images.folder}"
        )
    return root / images.folder / name


def _segmentation(ref, instances, where):
    ann_id = _field(ref, "ann_id", int | str, where)
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


def _only(splits, records, refs_path):
    if splits is None:
        return records
    absent = [split for split in splits if split not in records]
    if absent:
        raise ValueError(
            f"{refs_path} has no split {', '.join(absent)}; it has {', '.join(records) or 'none'}"
        )
    return {split: records[split] for split in splits}


def _left_out(problems, total, refs_path):
    if problems:
        return f"{len(problems)} of {total} refs are bad and left out. The first: {problems[0]}"
    return ""


def _unpublished_counts(records, splits, root, dataset, split_owner):
    if any((folder / "ref_shapes.json").is_file() for folder in (root, root / dataset)):
        return ""
    published = PUBLISHED_COUNTS.get((dataset, split_owner), {})
    differences = [
        f"{split} {_in_words(count(records.get(split, [])))} instead of {_in_words(counts)}"
        for split, counts in published.items()
        if (splits is None or split in splits) and count(records.get(split, [])) != counts
    ]
    return f"counts differ from the published: {'; '.join(differences)}" if differences else ""


def _in_words(counts):
    return "{} refs / {} sentences / {} images".format(*counts)


def _missing_images(records, root, dataset):
    wanted = {record.image_path for of_split in records.values() for record in of_split}
    missing = sorted(wanted - _files_in({path.parent for path in wanted}))
    if not missing:
        return ""
    return (
        f"{len(missing)} of {len(wanted)} images are missing from {root / IMAGES[dataset].folder}, "
        f"first {missing[0].name}: put the images of {IMAGES[dataset].source} there"
    )


def _files_in(folders):
    # A scan of each folder instead of 20,000 questions, which take minutes on a network disk.
    files = set()
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                files.update(folder / entry.name for entry in entries)
    return files
