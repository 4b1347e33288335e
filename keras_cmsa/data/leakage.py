"""Finds and removes training images that other data sets hold out for validation or testing.

RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO and Google Refexp use the same images of COCO, each with its
own splits, and Google's splits share images with each other. REFER's refclef and the ReferIt
release use the same images too. A model that is trained on one data set and tested on another may
have seen its test images in training. So may the model that its starting weights come from.
"""

import sys
import warnings
from pathlib import Path

from keras_cmsa.data.readers.entries import read_json, whole
from keras_cmsa.data.readers.google_refexp import FILE_NAME, SPLITS
from keras_cmsa.data.readers.refer import IMAGES, read_refs, refs_name
from keras_cmsa.data.readers.referit import QUERY, REGION
from keras_cmsa.data.sources import RELEASES, form_of

# Splits to train on: no data set holds them out.
TRAINED_ON = ("train", "trainval")

# {data set: where its images lie}; data sets of the same images have the same value.
COLLECTIONS = {
    **IMAGES,
    "refexp": IMAGES["refcocog"],
    "referit": IMAGES["refclef"],
    "phrasecut": "Visual Genome",
}


def held_out_images(root, dataset, split_owner, records, train_on="train"):
    """Finds the held-out images in a folder that belong to the same collection as a data set.

    Those of the data set itself come from its records; the files of other data sets are read, and
    named as they are. Warns about files that cannot be read.

    Args:
        root: the folder of one data set or several, or data of your own, which have no images but
            their own.
        dataset: as in `read_records`. Data sets of other images are skipped.
        split_owner: as in `read_records`.
        records: `{split: [Record, ...]}`, all splits of the data set.
        train_on: the split of `records` to train on.

    Returns:
        `{"<dataset>/<split owner>/<split>": {image id, ...}}` for all splits but `train_on`, train
        and trainval. A release without split owners has the key `"<dataset>/<split>"`, data of your
        own `"<name of the file or folder>/<split>"`.
    """
    root = Path(root)
    own, others = (dataset if dataset in RELEASES else f"{dataset}/{split_owner}"), []
    if form_of(root):
        own = root.stem
    else:
        others = _annotation_files(root)
    images = {f"{own}/{split}": ids_of(split_records) for split, split_records in records.items()}
    images.pop(f"{own}/{train_on}", None)
    for name, path in others:
        if name == own or COLLECTIONS[name.partition("/")[0]] is not COLLECTIONS.get(dataset):
            continue
        print(f"Reading {path} for images that it holds out", file=sys.stderr)
        try:
            for split, image_id in _splits_and_images(name, path):
                images.setdefault(f"{name}/{split}", set()).add(image_id)
        except (ValueError, TypeError, AttributeError) as error:
            # The training set's own reader reports its damage; damage elsewhere must not stop it.
            warnings.warn(f"not all files were searched for shared images: {error}", stacklevel=2)
    return {
        name: image_ids - {None}
        for name, image_ids in images.items()
        if name.rpartition("/")[2] not in TRAINED_ON and image_ids
    }


def ids_of(records):
    return {record.image_id for record in records}


def remove_held_out(records, held_out, names):
    """Removes the images of some held-out splits from a training set.

    Prints one line per held-out split that still shares images with the training set.

    Args:
        records: list of `Record` to train on.
        held_out: from `held_out_images`.
        names: list of names. A name is a split, such as `"refcoco+/unc/testA"`; the beginning of
            one, such as `"refcoco+"`, for all splits below it; or `"all"`.

    Returns:
        List of the other `Record`s.

    Raises:
        ValueError: if no split has such a name.
    """
    excluded = set()
    for name in names:
        folder = f"{name.rstrip('/')}/"
        splits = [x for x in held_out if name == "all" or f"{x}/".startswith(folder)]
        if not splits:
            raise ValueError(
                f"wanted the name of a held-out split, one of: {', '.join(held_out) or 'none'}. "
                f"Received: {name!r}"
            )
        excluded.update(*(held_out[split] for split in splits))
    records = [record for record in records if record.image_id not in excluded]
    for split, image_ids in held_out.items():
        if number := len(ids_of(records) & image_ids):
            print(
                f"The training set has {number:,} images of {split} "
                f"(--exclude-images-of {split} removes them)"
            )
    return records


def _annotation_files(root):
    """Yields `(name, path)` of the files in a folder that say which images a split has.

    A name is `"<dataset>/<split owner>"`, or `"<dataset>"` of a release without split owners.
    """
    for dataset in IMAGES:
        for path in sorted(root.glob(f"{dataset}/{refs_name(dataset, '*')}")):
            yield f"{dataset}/{path.stem.partition('(')[2][:-1]}", path
    for split in SPLITS:
        for path in sorted(root.glob(f"{FILE_NAME.format(split)}*.json")):
            yield "refexp", path
    for split in ("train", "val", "trainval", "test"):
        for path in (root / QUERY.format(split), root / "data" / QUERY.format(split)):
            if path.is_file():
                yield "referit", path


def _splits_and_images(name, path):
    """Yields `(split, image id)` of the entries of an annotation file.

    Bad entries are skipped, because the reader of the data set reports them.
    """
    if name == "referit":
        split = path.stem.rpartition("_")[2]
        yield from ((split, int(m[1])) for m in map(REGION.fullmatch, read_json(path)) if m)
    elif name == "refexp":
        split = path.stem.removeprefix("google_refexp_").partition("_")[0]
        annotations = read_json(path).get("annotations", [])
        for entry in annotations.values() if type(annotations) is dict else annotations:
            yield split, _image_id(entry)
    else:
        for ref in read_refs(path):
            if type(ref) is dict and type(ref.get("split")) is str:
                yield ref["split"], _image_id(ref)


def _image_id(entry):
    """The image id of an entry; None, which no record has, if the entry has no image id."""
    image_id = whole(entry.get("image_id")) if type(entry) is dict else None
    return image_id if type(image_id) is int else None
