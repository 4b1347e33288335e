"""Reads the ReferIt release that the papers evaluate on: query files and one mask per region.

    <root>/referit_query_train.json         {"<image>_<region>": [expression, ...], ...}
    <root>/referit_imsize.json              {"<image>.jpg": [width, height], ...}
    <root>/images/<image>.jpg               SAIAPR TC-12, 19,997 images
    <root>/mask/<image>_<region>.mat        matrix segimg_t, 0 inside the region

The JSON files may also lie in `<root>/data/`. The splits are train, val, trainval (both) and test.
If there is no file for trainval, it is joined from train and val. REFER's `refclef` has the same
images with its own splits; `keras_cmsa.data.readers.refer` reads it.
"""

import re
from functools import partial
from pathlib import Path

from keras_cmsa.data.masks import MaskFile
from keras_cmsa.data.readers.entries import (
    check_one_object,
    check_storable,
    describe_missing_images,
    describe_unpublished_counts,
    read_entries,
    read_json,
    records_of_ref,
    select_splits,
    warn_each,
    whole,
)

SPLITS = ("train", "val", "test")
QUERY = "referit_query_{}.json"
REGION = re.compile(r"(\d{1,9})_(\d{1,3})")  # image, region; a ref id holds both in one number

# {split: (refs, sentences, images)} of the published query files. Each region is a ref. Train and val
# make trainval; with test they make the 120,081 expressions of 99,245 regions of all queries.
PUBLISHED_COUNTS = {
    "train": (44649, 54134, 8995),
    "val": (4866, 5842, 1000),
    "trainval": (49515, 59976, None),
    "test": (49730, 60105, 9994),
}


def read_referit(root, splits=None, on_bad="raise"):
    """Reads the ReferIt release. Mask files are read later, by `Record.mask`.

    Warns, in one line each, about regions that are left out, missing images, and counts that differ
    from the published ones.

    Args:
        root: the folder with `images/`, `mask/` and the JSON files.
        splits: names of the splits to read; None reads those of train, val and test that are there.
        on_bad: `"raise"` stops at the first bad region; `"skip"` leaves bad ones out and warns;
            a list takes a line about each instead.

    Returns:
        `{split: [Record, ...]}`: one record per expression. `ref_id` is the number of the image
        followed by three digits for the region.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged or, with `"raise"`, a region is bad.
    """
    root = Path(root)
    sizes = _read_dict(_json_file(root, "referit_imsize.json"))
    present = [split for split in SPLITS if _find_json_file(root, QUERY.format(split))]
    entries = [
        (split, path, key, sentences)
        for split in splits or present or SPLITS
        for path in _query_files(root, split)
        for key, sentences in _read_dict(path).items()
    ]
    records = read_entries(entries, partial(_records_of, root, sizes, {}), on_bad, "regions")
    # A split may be empty, such as val in a small part of the release.
    records = {split: records.get(split, []) for split in splits or present}
    warn_each(
        describe_unpublished_counts(records, PUBLISHED_COUNTS, records),
        describe_missing_images(records, root / "images", "the ReferIt release (SAIAPR TC-12)"),
    )
    return select_splits(splits, records, root)


def _find_json_file(root, name):
    """The path of a JSON file, or None if it is not there."""
    paths = root / name, root / "data" / name
    return next((path for path in paths if path.is_file()), None)


def _json_file(root, name):
    """The path of a JSON file, which must be there."""
    path = _find_json_file(root, name)
    if path is None:
        present = sorted(file.name for file in root.glob("**/referit_*.json"))
        raise FileNotFoundError(
            f"{root / name} is missing. Wanted a ReferIt release: images/, mask/, "
            f"{QUERY.format('<split>')} and referit_imsize.json. Received: "
            f"{', '.join(present) or 'none'} of these JSON files"
        )
    return path


def _query_files(root, split):
    if split == "trainval" and not _find_json_file(root, QUERY.format(split)):
        return [_json_file(root, QUERY.format(part)) for part in ("train", "val")]
    return [_json_file(root, QUERY.format(split))]


def _read_dict(path):
    content = read_json(path)
    if type(content) is not dict:
        raise ValueError(f"{path}: wanted a dict. Received: {type(content).__name__}")
    return content


def _records_of(root, sizes, objects, entry, limit):
    """One record per expression of a region, at most `limit` and at most 1,000."""
    split, path, key, sentences = entry
    where = f"{path}, region {key!r:.60}"
    ids = REGION.fullmatch(key)
    if not ids or type(sentences) is not list:
        raise ValueError(
            f"{where}: wanted '<image>_<region>' with a list of expressions. "
            f"Received: {key!r:.60} with a {type(sentences).__name__}"
        )
    image, region = ids.groups()
    size = _size(sizes, f"{image}.jpg", where)
    ref_id = int(image) * 1000 + int(region)
    check_one_object(objects, int(image), ref_id, key, where)
    for place, raw in enumerate(sentences):
        if type(raw) is not str:
            raise ValueError(
                f"{where}: wanted expression {place} as text. Received: {type(raw).__name__}"
            )
        check_storable(raw, f"expression {place}", where)
    return records_of_ref(
        [(ref_id * 1000 + place, raw) for place, raw in enumerate(sentences)],
        min(limit, 1000),
        where,
        size,
        image_path=root / "images" / f"{image}.jpg",
        image_id=int(image),
        ref_id=ref_id,
        split=split,
        segmentation=MaskFile(root / "mask" / f"{key}.mat"),
    )


def _size(sizes, name, where):
    """`(height, width)` of an image; the file has `[width, height]`."""
    size = sizes.get(name)
    sides = [whole(side) for side in size] if type(size) is list else []
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(
            f"{where}: wanted [width, height] as the size of {name}. Received: {size!r:.60}"
        )
    return sides[1], sides[0]
