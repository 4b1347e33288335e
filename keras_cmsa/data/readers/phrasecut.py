"""Reads PhraseCut: phrases about images of Visual Genome, each of one object or several.

    <root>/refer_train.json         [{"image_id", "phrase", "Polygons", ...}, ...]
    <root>/refer_val.json           likewise refer_test.json and refer_miniv.json, images beside val's
    <root>/image_data_split.json    [{"image_id", "width", "height", "split", ...}, ...]
    <root>/skip.json                [{"image_id", "phrase", "reason", ...}, ...]; it need not be there
    <root>/images/<image id>.jpg

`skip.json` has what annotators skipped. Nothing fits the phrases whose reason is "Not in Image"; the
others are wrong, ambiguous or difficult. Source: https://github.com/ChenyunWu/PhraseCutDataset, whose
code calls the reason `skip_reason`.
"""

import reprlib
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path

from keras_cmsa.data.readers.entries import (
    field,
    files_of_splits,
    image_size,
    read_entries,
    read_json,
    records_of_ref,
    select_splits,
    selected,
)

REFER, SIZES, SKIPPED = "refer_{}.json", "image_data_split.json", "skip.json"
REASONS, ABSENT = ("reason", "skip_reason"), "Not in Image"
# Phrases of each file without `skip.json`. Each is a ref. The paper counts those of miniv to val.
PHRASES = {"train": 310816, "val": 20316 - 821, "test": 14354, "miniv": 821}
PUBLISHED_COUNTS = {split: (phrases, phrases, None) for split, phrases in PHRASES.items()}


def read_phrasecut(root, splits=None, on_bad="raise"):
    """Reads PhraseCut. The mask of a phrase is the union of all objects that it refers to.

    The phrases of `skip.json` that nothing fits are records without a target, in the split of their
    image. Warns, in one line each, about phrases that are left out, missing images, and counts that
    differ from the published ones.

    Args:
        root: the folder with the JSON files and `images/`.
        splits, on_bad: as in `read_refer`; an entry is a phrase. Bad ones of `skip.json` never stop
            the reading.

    Returns:
        `{split: [Record, ...]}`: one record per phrase. `ref_id` and `sentence_id` are the image's
        number followed by six digits for the phrase's place among those of its image; in `skip.json`
        -1, -2, ... in its order.

    Raises:
        FileNotFoundError, ValueError: as in `read_refer`.
    """
    root = Path(root)
    files = select_splits(splits, files_of_splits(root, [REFER], PHRASES), root)
    images = {field(entry, "image_id", int, where): entry for where, entry in _read(root / SIZES)}
    tasks = [
        (where, split, None, entry) for split, path in files.items() for where, entry in _read(path)
    ]
    records_of = partial(_records_of, root, images, Counter())
    records = read_entries(tasks, records_of, on_bad, "phrases")
    if (root / SKIPPED).is_file():
        numbered = enumerate(_read(root / SKIPPED), start=1)
        skipped = [(w, None, -n, entry) for n, (w, entry) in numbered if _may_be_absent(entry)]
        lenient = "skip" if on_bad == "raise" else on_bad
        absent = read_entries(skipped, records_of, lenient, f"phrases of {SKIPPED}")
        records = {split: of + absent.get(split, []) for split, of in records.items()}
    published = {split: PUBLISHED_COUNTS[split] for split in files}
    return selected(records, splits, root, root / "images", "Visual Genome", published)


def _read(path):
    """`[(where, entry), ...]` of a file that holds a list."""
    return [(f"{path}, entry {n}", entry) for n, entry in enumerate(read_json(path, list))]


def _may_be_absent(entry):
    """Whether a phrase of `skip.json` fits nothing, or is bad, which its reader tells."""
    return type(entry) is not dict or ABSENT in map(entry.get, REASONS) or not {*REASONS} & {*entry}


def _records_of(root, images, phrases, located_entry):
    """The record of a phrase.

    Args:
        root, images: of the data set.
        phrases: `Counter` of the phrases of each image so far.
        located_entry: `(where, split, ref id, entry)`; split or ref id is None.
    """
    where, split, ref_id, entry = located_entry
    image_id = field(entry, "image_id", int, where)
    if image_id not in images:
        raise ValueError(f"{where}: image {image_id} is not in {SIZES}")
    if split is None and not {*REASONS} & {*entry}:
        raise ValueError(f"{where}: wanted a 'reason'. Received: {reprlib.repr(entry)}")
    if not 0 <= image_id < 10**9 or phrases[image_id] == 10**6:
        raise ValueError(
            f"{where}: wanted an image id of at most nine digits, with at most a million phrases. "
            f"Received: {image_id}"
        )
    if split:
        ref_id = image_id * 10**6 + phrases[image_id]
        phrases[image_id] += 1
    outlines = _outlines(entry, where) if split else []
    return records_of_ref(
        [(ref_id, field(entry, "phrase", str, where))],
        image_size(images[image_id], f"{where}, image {image_id}"),
        image_path=root / "images" / f"{image_id}.jpg",
        image_id=image_id,
        ref_id=ref_id,
        split=split or field(images[image_id], "split", str, where),
        segmentation=list(chain(*outlines)) or None,
        targets=len(outlines),
    )


def _outlines(entry, where):
    """The polygons of each object of a phrase: `[[[x0, y0, x1, y1, ...], ...], ...]`."""
    objects = field(entry, "Polygons", list, where)
    try:
        outlines = [[[c for x, y in part for c in (x, y)] for part in parts] for parts in objects]
    except (TypeError, ValueError):
        outlines = []
    if not outlines or not all(outlines):
        raise ValueError(
            f"{where}: wanted 'Polygons' as a list for each object, of polygons [[x, y], ...]. "
            f"Received: {reprlib.repr(objects)}"
        )
    return outlines
