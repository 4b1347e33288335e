"""Reads PhraseCut: phrases about images of Visual Genome, each of one object or several.

    <root>/refer_train.json         [{"task_id", "image_id", "phrase", "Polygons", ...}, ...]
    <root>/refer_val.json           likewise refer_test.json, and refer_miniv.json, a part of val
    <root>/image_data_split.json    [{"image_id", "width", "height", "split", ...}, ...]
    <root>/skip.json                phrases that nothing in their image fits; it need not be there
    <root>/images/<image id>.jpg

The layout of `skip.json` is not documented. Assumed is a list of dicts with a `phrase` and an
`image_id` or a `task_id`. Layout of the rest: https://github.com/ChenyunWu/PhraseCutDataset
"""

import re
import reprlib
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
TASK = re.compile(r"(\d{1,9})__(\d{1,6})")  # image, phrase; a ref id holds both in one number

# Phrases of each split without `skip.json`. Each is a ref.
PHRASES = {"train": 310816, "val": 20316, "test": 14354, "miniv": 821}
PUBLISHED_COUNTS = {split: (phrases, phrases, None) for split, phrases in PHRASES.items()}


def read_phrasecut(root, splits=None, on_bad="raise"):
    """Reads PhraseCut. The mask of a phrase is the union of all objects that it refers to.

    The phrases of `skip.json` are records without a target, in the split of their image. Warns, in
    one line each, about phrases that are left out, missing images, and counts that differ from the
    published ones.

    Args:
        root: the folder with the JSON files and `images/`.
        splits: names of the splits to read; None reads those that are there.
        on_bad: `"raise"` stops at the first bad phrase; `"skip"` leaves bad ones out and warns;
            a list takes a line about each instead. Bad ones of `skip.json` never stop it.

    Returns:
        `{split: [Record, ...]}`: one record per phrase. `ref_id` and `sentence_id` are the image's
        number followed by six digits for the phrase's; in `skip.json` -1, -2, ... in its order.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there is none of a wanted split, a file is damaged or, with `"raise"`, a phrase
            is bad.
    """
    root = Path(root)
    files = select_splits(splits, files_of_splits(root, [REFER], PHRASES), root)
    images = {field(entry, "image_id", int, where): entry for where, entry in _read(root / SIZES)}
    tasks = [
        (where, split, None, entry) for split, path in files.items() for where, entry in _read(path)
    ]
    records_of = partial(_records_of, root, images)
    records = read_entries(tasks, records_of, on_bad, "phrases")
    if (root / SKIPPED).is_file():
        numbered = enumerate(_read(root / SKIPPED), start=1)
        skipped = [(where, None, -number, entry) for number, (where, entry) in numbered]
        lenient = "skip" if on_bad == "raise" else on_bad
        absent = read_entries(skipped, records_of, lenient, f"phrases of {SKIPPED}")
        records = {split: of + absent.get(split, []) for split, of in records.items()}
    published = {split: PUBLISHED_COUNTS[split] for split in files}
    return selected(records, splits, root, root / "images", "Visual Genome", published)


def _read(path):
    """`[(where, entry), ...]` of a file that holds a list."""
    return [(f"{path}, entry {n}", entry) for n, entry in enumerate(read_json(path, list))]


def _records_of(root, images, located_entry):
    """The record of a phrase; `located_entry` is `(where, split, ref id, entry)`."""
    where, split, ref_id, entry = located_entry  # split or ref id is None
    has_id = type(entry) is not dict or "image_id" in entry
    image_id = field(entry, "image_id", int, where) if has_id else _task(entry, where)[0]
    if image_id not in images:
        raise ValueError(f"{where}: image {image_id} is not in {SIZES}")
    outlines = _outlines(entry, where) if split else []
    ref_id = ref_id or int("{}{:06}".format(*_task(entry, where)))
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


def _task(entry, where):
    """`(image id, number)` of a phrase."""
    task = field(entry, "task_id", str, where)
    if not (ids := TASK.fullmatch(task)):
        raise ValueError(f"{where}: wanted '<image>__<n>' as 'task_id'. Received: {task!r:.60}")
    return int(ids[1]), int(ids[2])


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
