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
    field,
    files_of_splits,
    image_size,
    located,
    read_entries,
    read_json,
    records_of_ref,
    select_splits,
    selected,
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
        on_bad: as in `read_refer`; an entry is a region.

    Returns:
        `{split: [Record, ...]}`: one record per expression. `ref_id` is the number of the image
        followed by three digits for the region.

    Raises:
        FileNotFoundError, ValueError: as in `read_refer`.
    """
    root = Path(root)
    sizes = _files(root, "referit_{}.json", ["imsize"])["imsize"]
    files = {split: [file] for split, file in _files(root, QUERY, [*SPLITS, "trainval"]).items()}
    if {"train", "val"} <= files.keys():
        files.setdefault("trainval", files["train"] + files["val"])
    wanted = splits or [split for split in SPLITS if split in files] or [*files]
    entries = [
        (f"{path}, region {key!r:.60}", split, key, sentences)
        for split, paths in select_splits(wanted, files, root).items()
        for path in paths
        for key, sentences in read_json(path, dict).items()
    ]
    records_of = partial(_records_of, root, read_json(sizes, dict))
    records = read_entries(entries, records_of, on_bad, "regions")
    # A split may be empty, such as val in a small part of the release.
    records = {split: records.get(split, []) for split in wanted}
    source = "the ReferIt release (SAIAPR TC-12)"
    # trainval is read on request alone.
    published = {split: PUBLISHED_COUNTS[split] for split in dict.fromkeys([*SPLITS, *wanted])}
    return selected(records, splits, root, root / "images", source, published)


def _files(root, name, known):
    return files_of_splits(root, [name, f"data/{name}"], known)


def _records_of(root, sizes, entry):
    """A record per expression of a region, at most 1,000: as many as `sentence_id` has room for."""
    where, split, key, sentences = entry
    ids = REGION.fullmatch(key)
    if not ids or type(sentences) is not list or len(sentences) > 1000:
        raise ValueError(
            f"{where}: wanted '<image>_<region>' with a list of at most 1,000 expressions. "
            f"Received: {key!r:.60} with {sentences!r:.60}"
        )
    image, region = ids.groups()
    ref_id = int(image) * 1000 + int(region)
    # The file has [width, height].
    sides = field(sizes, f"{image}.jpg", list, where)
    if len(sides) != 2:
        raise ValueError(
            f"{where}, size of {image}.jpg: wanted [width, height]. Received: {sides!r:.60}"
        )
    size = dict(zip(("width", "height"), sides))
    texts = located({"expressions": sentences}, "expressions", str, where, least=1)
    return records_of_ref(
        [(ref_id * 1000 + place, raw) for place, (_, raw) in enumerate(texts)],
        image_size(size, f"{where}, size of {image}.jpg"),
        image_path=root / "images" / f"{image}.jpg",
        image_id=int(image),
        ref_id=ref_id,
        split=split,
        segmentation=MaskFile(root / "mask" / f"{key}.mat"),
    )
