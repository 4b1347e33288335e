"""Reads the ReferIt release as the papers evaluate on it: query files and a mask per region.

    <root>/referit_query_train.json         {"<image>_<region>": [expression, ...], ...}
    <root>/referit_imsize.json              {"<image>.jpg": [width, height], ...}
    <root>/images/<image>.jpg               SAIAPR TC-12, 19,997 images
    <root>/mask/<image>_<region>.mat        matrix segimg_t, 0 inside the region

The JSON files may also lie in `<root>/data/`. Splits: train, val, trainval (both) and test; where
there is no file of trainval it is made of the other two. REFER's `refclef` is the same collection
with splits of its own: `keras_cmsa.data.refer` reads it.
"""

import re
from functools import partial
from pathlib import Path

from keras_cmsa.data.reading import (
    checked_on_bad,
    checked_sentences,
    gathered,
    left_out,
    missing_images,
    only,
    read_json,
    unpublished_counts,
    warn_of,
)
from keras_cmsa.data.records import Record
from keras_cmsa.text import split_words

SPLITS = ("train", "val", "test")
QUERY = "referit_query_{}.json"
REGION = re.compile(r"(\d{1,9})_(\d{1,3})")  # image, region: ids that fit into one number

# {split: (refs, sentences, images)} of the published query files; a ref is a region.
PUBLISHED_COUNTS = {
    "train": (44649, 54134, 8995),
    "val": (4866, 5842, 1000),
    "trainval": (49515, 59976, None),
    "test": (49730, 60105, 9994),
}


def read_referit(root, splits=None, on_bad="raise"):
    """Read the ReferIt release. Masks are read when they are asked for.

    Warns, in one line each, of regions left out, of images that are missing, and of counts that are
    not the published ones.

    Args:
        root: the folder that holds `images/`, `mask/` and the JSON files.
        splits: names of the splits wanted; None for train, val and test, as far as they are there.
        on_bad: `"raise"` stops at the first bad region; `"skip"` leaves bad ones out and warns.

    Returns:
        `{split: [Record, ...]}`: a record per expression. `ref_id` is the image's number and three
        digits of the region's.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged or, with `"raise"`, a region in it is bad.
    """
    checked_on_bad(on_bad)
    root = Path(root)
    sizes_path = _existing(root, "referit_imsize.json")
    sizes = _read_dict(sizes_path)
    present = [s for s in SPLITS if _found(root, QUERY.format(s))]
    entries = [
        (split, path, key, sentences)
        for split in splits or present or SPLITS
        for path in _query_files(root, split)
        for key, sentences in _read_dict(path).items()
    ]
    records, problems = gathered(entries, partial(_records_of, root, sizes), on_bad)
    # A split may be empty: the sample of a release has a val without regions.
    records = {split: records.get(split, []) for split in splits or present}
    warn_of(
        left_out(problems, len(entries), "regions"),
        unpublished_counts(records, PUBLISHED_COUNTS, records),
        missing_images(records, root / "images", "the ReferIt release (SAIAPR TC-12)"),
    )
    return only(splits, records, root)


def _found(root, name):
    return next((p for p in (root / name, root / "data" / name) if p.is_file()), None)


def _existing(root, name):
    path = _found(root, name)
    if path is None:
        present = sorted(file.name for file in root.glob("**/referit_*.json"))
        raise FileNotFoundError(
            f"{root / name} is missing. Wanted a ReferIt release: images/, mask/, "
            f"{QUERY.format('<split>')} and referit_imsize.json; of those JSON files there is: "
            f"{', '.join(present) or 'none'}"
        )
    return path


def _query_files(root, split):
    if split == "trainval" and not _found(root, QUERY.format(split)):
        return [_existing(root, QUERY.format(part)) for part in ("train", "val")]
    return [_existing(root, QUERY.format(split))]


def _read_dict(path):
    content = read_json(path)
    if type(content) is not dict:
        raise ValueError(f"{path}: wanted a dict, got {type(content).__name__}")
    return content


def _records_of(root, sizes, entry, room):
    split, path, key, sentences = entry
    where = f"{path}, region {key!r:.60}"
    ids = REGION.fullmatch(key)
    if not ids or type(sentences) is not list:
        raise ValueError(f"{where}: wanted '<image>_<region>' with a list of expressions")
    image, region = ids.groups()
    height, width = _size(sizes, f"{image}.jpg", where)
    ref_id = int(image) * 1000 + int(region)
    records = []
    for place, raw in enumerate(checked_sentences(sentences, min(room, 1000), where)):
        if type(raw) is not str:
            raise ValueError(f"{where}: expression {place} is a {type(raw).__name__}, not text")
        records.append(
            Record(
                image_path=root / "images" / f"{image}.jpg",
                image_id=int(image),
                ref_id=ref_id,
                sentence_id=ref_id * 1000 + place,
                raw=raw,
                expression=" ".join(split_words(raw)),
                split=split,
                height=height,
                width=width,
                segmentation=root / "mask" / f"{key}.mat",
            )
        )
    return records


def _size(sizes, name, where):
    """`(height, width)` of an image; the file has width and height."""
    size = sizes.get(name)
    if type(size) is not list or len(size) != 2 or not all(type(n) is int and n > 0 for n in size):
        raise ValueError(f"{where}: size of {name} is {size!r:.60}; wanted [width, height]")
    return size[1], size[0]
