"""Reads the REFER layout: RefCOCO (UNC), RefCOCO+ (UNC+), RefCOCOg (G-Ref), RefClef (ReferIt),
gRefCOCO, whose refs are of no object, of one or of several, and others with their own images:
RRSIS-D (`rrsisd`), Ref-ZOM (`ref-zom`, with refs of several objects or of none), R-RefCOCO
(`rrefcoco`, with sentences that fit nothing).

    <root>/refcoco/refs(unc).p        pickled list of refs: an object and its sentences
    <root>/grefcoco/grefs(unc).json   the same list in JSON, with a list of annotations in each ref
    <root>/refcoco/instances.json     COCO's annotations and images
    <root>/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg

The files may come from strangers: the reader executes nothing in them, and no name in them leads
out of the image folder. Layout: https://github.com/lichengunc/refer and, for gRefCOCO,
https://github.com/henghuiding/gRefCOCO
"""

import reprlib
from collections import defaultdict
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from keras_cmsa.data.readers.entries import (
    MAX_SENTENCES,
    entries_by_id,
    field,
    image_size,
    located,
    read_entries,
    read_json,
    selected,
    whole,
)
from keras_cmsa.data.readers.plain_pickle import read_plain_pickle
from keras_cmsa.data.record import Record
from keras_cmsa.utils.names import checked_split, path_inside


class _Images(NamedTuple):
    """Where the images of a data set lie.

    Attributes:
        folder: their folder, relative to the root or absolute.
        name_of_id: file name with a place for the image id, for entries without a name.
        source: where to get the images, for warnings.
    """

    folder: str
    name_of_id: str
    source: str


COCO = _Images(
    "images/mscoco/images/train2014", "COCO_train2014_{:012d}.jpg", "COCO's train2014.zip"
)
# SAIAPR TC-12 has all images in one folder, or in numbered folders as it is published.
SAIAPR = _Images("images/saiapr_tc-12", "{}.jpg", "the SAIAPR TC-12 collection")

GREFCOCO = "grefcoco"
IMAGES = {"refcoco": COCO, "refcoco+": COCO, "refcocog": COCO, "refclef": SAIAPR, GREFCOCO: COCO}

# {(dataset, split owner): {split: (refs, sentences, images)}}, as `count` gives them; None in place
# of a number that nobody has published. Refs and images: README of TFDS' ref_coco. Sentences add up
# to the papers' totals: refcoco's to 142,210 (50,000 refs), refcoco+'s to 141,564 (49,856), and
# refcocog's to 95,010 (49,822) in the splits of either owner.
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


def read_refer(
    root,
    dataset="refcoco",
    split_owner="unc",
    splits=None,
    on_bad="raise",
    instances=None,
    images=None,
):
    """Reads a data set in the REFER layout.

    The reader opens no image and draws no mask; `keras_cmsa.data.check.check_records` does both.
    It warns, in one line each, about refs that are left out, missing images, and counts that differ
    from the published ones (except for RefShapes, which has a `ref_shapes.json`).

    Args:
        root: the folder with `<dataset>/` and `images/`.
        dataset: `"refcoco"`, `"refcoco+"`, `"refcocog"`, `"refclef"`, `"grefcoco"` or the name of
            any other folder in this layout.
        split_owner: who made the splits: `"unc"`, `"google"`, `"umd"`, ...; what stands in the
            brackets of the refs' file.
        splits: names of the splits to read; None reads all.
        on_bad: `"raise"` stops at the first bad entry, here a ref; `"skip"` leaves bad ones out and
            warns; a list takes a line about each instead.
        instances: `Instances` of the data set if they are read already.
        images: folder of the images; a data set of any other name needs it.

    Returns:
        `{split: [Record, ...]}`: one record per sentence, in the order of the file.

    Raises:
        FileNotFoundError: if an annotation file is missing.
        ValueError: if an annotation file is damaged or holds more than plain data, if a wanted
            split is not in it or, with `"raise"`, if a ref is bad.
    """
    root = Path(root)
    refs_path = _annotation_file(root, dataset, refs_name(dataset, split_owner))
    refs = read_refs(refs_path)
    instances = instances or read_instances(root, dataset)
    images = _images_of(dataset, images)
    # Refs of the same classes share the set of their names.
    context = {"instances": instances, "images": images, "names": cache(frozenset)}
    records = read_entries(
        [(f"{refs_path}, entry {place}", ref) for place, ref in enumerate(refs)],
        partial(_records_of, root=root, dataset=dataset, **context),
        on_bad,
    )
    generated = any((folder / "ref_shapes.json").is_file() for folder in (root, root / dataset))
    published = {} if generated else PUBLISHED_COUNTS.get((dataset, split_owner), {})
    folder = root / images.folder
    return selected(records, splits, refs_path, folder, images.source, published)


def _images_of(dataset, images):
    """The `_Images` of a data set, in the folder `images` if that is not None."""
    if dataset not in IMAGES and images is None:
        raise ValueError(
            f"wanted the folder of the images of {dataset} as `images`. Received: none; known are "
            f"those of {', '.join(IMAGES)}"
        )
    known = IMAGES.get(dataset) or _Images("", "{}.jpg", dataset)
    return known if images is None else known._replace(folder=Path(images).absolute())


class Instances(NamedTuple):
    """The content of `instances.json`.

    Attributes:
        path: the file.
        images: `{id: entry}`.
        annotations: `{id: entry}`.
        categories: `{id: name}`; empty if the file names no classes.
        image_categories: `{image id: names of the classes of its annotations}`.
    """

    path: Path
    images: dict
    annotations: dict
    categories: dict
    image_categories: dict


def refs_name(dataset, split_owner):
    """The name of the file of a data set's refs."""
    return f"grefs({split_owner}).json" if dataset == GREFCOCO else f"refs({split_owner}).p"


def _annotation_file(root, dataset, name):
    """The path of an annotation file, which must be there."""
    path = root / dataset / name
    if path.is_file():
        return path
    files = (*root.glob("*/refs(*).p"), *root.glob("*/grefs(*).json"))
    present = sorted(f"{file.parent.name}/{file.name}" for file in files)
    raise FileNotFoundError(
        f"{path} is missing. Wanted <root>/<dataset>/{refs_name(dataset, '<split owner>')} with an "
        f"instances.json beside it. Received: {', '.join(present) or 'none'} in {root}"
    )


def read_refs(path):
    """Reads a file of refs: a list.

    Raises:
        ValueError: if the file is damaged or holds something else.
    """
    refs = read_json(path) if path.suffix == ".json" else read_plain_pickle(path)
    if type(refs) is not list or len(refs) > MAX_SENTENCES:
        raise ValueError(
            f"{path}: wanted a list of at most {MAX_SENTENCES:,} refs. Received: "
            f"{type(refs).__name__}{f' of {len(refs):,}' if type(refs) is list else ''}"
        )
    return refs


def read_instances(root, dataset):
    """Reads the `instances.json` of a data set: `Instances`.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it is damaged.
    """
    path = _annotation_file(Path(root), dataset, "instances.json")
    content = read_json(path)
    images, annotations = (entries_by_id(content, key, path) for key in ("images", "annotations"))
    entries = entries_by_id(content, "categories", path) if "categories" in content else {}
    categories = {
        category_id: field(entry, "name", str, f"{path}, category {category_id}")
        for category_id, entry in entries.items()
    }
    of_images = defaultdict(set)
    for annotation in annotations.values():
        of_images[_id(annotation, "image_id")] |= _class_names([annotation], categories)
    image_categories = {image_id: frozenset(names) for image_id, names in of_images.items()}
    return Instances(path, images, annotations, categories, image_categories)


def _id(annotation, key):
    """An id in an annotation; None if there is none."""
    value = whole(annotation.get(key))
    return value if type(value) in (int, str) else None


def _class_names(annotations, categories):
    """The names of the classes of annotations, as far as they have one: a set."""
    ids = {_id(annotation, "category_id") for annotation in annotations}
    return {categories[category_id] for category_id in ids if category_id in categories}


def _records_of(located_ref, instances, images, root, dataset, names):
    """Yields a record per sentence of a ref; `located_ref` is `(where, ref)`."""
    where, ref = located_ref
    ref_id = field(ref, "ref_id", int, where)
    where = f"{where}, ref {ref_id}"
    split = checked_split(field(ref, "split", str, where), where)
    image_id = field(ref, "image_id", int, where)
    if image_id not in instances.images:
        raise ValueError(f"{where}: image {image_id} is not in {instances.path}")
    image = instances.images[image_id]
    height, width = image_size(image, f"{where}, image {image_id}")
    path = image_path(image, image_id, root, images, f"{where}, image {image_id}")
    ids = _annotation_ids(ref, dataset, where)
    annotations = [_annotation(ann_id, image_id, instances, where) for ann_id in ids]
    # One of each for all sentences of the ref that fit it.
    targets = {
        "segmentation": _union([annotation["segmentation"] for annotation in annotations]),
        "targets": len(ids),
        "categories": names(tuple(sorted(_class_names(annotations, instances.categories)))),
    }
    nothing = {"segmentation": None, "targets": 0, "categories": frozenset()}
    for place, sentence in located(ref, "sentences", dict, where, least=1):
        yield Record(
            image_path=path,
            image_id=image_id,
            ref_id=ref_id,
            sentence_id=field(sentence, "sent_id", int, place),
            raw=field(sentence, "raw", str, place),
            expression=field(sentence, "sent", str, place),
            split=split,
            height=height,
            width=width,
            kind=field(sentence, "kind", str, place) if "kind" in sentence else "",
            as_stored=True,
            image_categories=instances.image_categories.get(image_id, frozenset()),
            # R-RefCOCO has sentences that fit nothing beside those that fit the object.
            **(nothing if sentence.get("exist") in (False, 0) else targets),
        )


def image_path(image, image_id, root, images, where):
    """The path of the image of an entry in COCO's `images`; it is always in the image folder."""
    image = {"file_name": images.name_of_id.format(image_id), **image}
    return path_inside(root / images.folder, field(image, "file_name", str, where), where)


def _annotation_ids(ref, dataset, where):
    """The ids of the annotations of a ref's objects, none if it refers to nothing: a tuple."""
    several = dataset == GREFCOCO or (dataset not in IMAGES and type(ref.get("ann_id")) is list)
    if ref.get("source") == "zero":  # Ref-ZOM, whose ids then tell nothing
        return ()
    if not several:
        return (field(ref, "ann_id", int | str, where),)
    ids = tuple(ann_id for _, ann_id in located(ref, "ann_id", int | str, where))
    if ids == (-1,):
        return ()
    if not ids or -1 in ids or len(set(ids)) < len(ids):
        raise ValueError(
            f"{where}: wanted 'ann_id' as a list of ids, each once, or as [-1] where nothing fits. "
            f"Received: {reprlib.repr(list(ids))}"
        )
    return ids


def _annotation(ann_id, image_id, instances, where):
    """The annotation of an object of the ref's image, which must have a segmentation."""
    if ann_id not in instances.annotations:
        raise ValueError(f"{where}: annotation {ann_id} is not in {instances.path}")
    annotation = instances.annotations[ann_id]
    if annotation.get("image_id") != image_id:
        raise ValueError(
            f"{where}: wanted annotation {ann_id} to belong to the ref's image {image_id}. "
            f"Received: image {reprlib.repr(annotation.get('image_id'))}"
        )
    if not annotation.get("segmentation"):
        raise ValueError(f"{where}: annotation {ann_id} has no segmentation")
    return annotation


def _union(segmentations):
    """The segmentation of several objects: all of their parts. None if there is no object."""
    if len(segmentations) < 2:  # that of the annotation itself, which many refs may share
        return segmentations[0] if segmentations else None
    return [part for s in segmentations for part in (s if type(s) is list else [s])]
