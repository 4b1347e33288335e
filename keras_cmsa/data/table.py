"""Reads your own data: a table of images, expressions and masks, as CSV or JSON Lines.

    image,expression,mask,split
    photos/1.jpg,the red cup,masks/1.png,train
    photos/1.jpg,cup on the left,"[[10, 12, 40, 12, 40, 50]]",train
    photos/2.jpg,the dog,"{""size"": [480, 640], ""counts"": ""...""}",val

A mask is the path of an image (pixels that are not black are inside), COCO's polygons or COCO's run
lengths. Paths are relative to the table's folder and stay in it. In JSON Lines each line is an
object of these four, and a mask that is no path is written as it is, not as text.
"""

import csv
import json
from functools import partial
from pathlib import Path

from keras_cmsa.data.reading import (
    checked_on_bad,
    field,
    gathered,
    left_out,
    only,
    warn_of,
)
from keras_cmsa.data.records import Record
from keras_cmsa.image import read_size
from keras_cmsa.text import split_words

COLUMNS = ("image", "expression", "mask", "split")
SUFFIXES = (".csv", ".jsonl")


def read_table(path, splits=None, on_bad="raise"):
    """Read a table of your own images, expressions and masks.

    Of an image only the header is read, for its size; of a mask's file nothing yet.

    Args:
        path: a `.csv` with a head line, or a `.jsonl`; UTF-8.
        splits: names of the splits wanted; None for all there are.
        on_bad: `"raise"` stops at the first bad row; `"skip"` leaves bad rows out and warns.

    Returns:
        `{split: [Record, ...]}`: a record per row, in the order of the file. Rows of the same image
        and mask are one ref.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such table or, with `"raise"`, a row in it is bad.
    """
    checked_on_bad(on_bad)
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"wanted a table as {' or '.join(SUFFIXES)}; received: {path}")
    rows = _csv_rows(path) if path.suffix == ".csv" else _json_rows(path)
    numbers = _Numbers()
    records, problems = gathered(rows, partial(_record_of, path, numbers), on_bad)
    warn_of(left_out(problems, len(rows), "rows"))
    return only(splits, records, path)


class _Numbers:
    """Ids by first appearance, and the size of each image."""

    def __init__(self):
        self.images, self.refs, self.sizes = {}, {}, {}

    def image(self, path):
        return self.images.setdefault(path, len(self.images) + 1)

    def ref(self, *key):
        return self.refs.setdefault(key, len(self.refs) + 1)

    def size(self, path):
        if path not in self.sizes:
            self.sizes[path] = read_size(path)
        return self.sizes[path]


def _csv_rows(path):
    """`[(where, {column: text}), ...]`"""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path} has no column {', '.join(missing)}; wanted a head line with "
                    f"{', '.join(COLUMNS)}"
                )
            return [(f"{path}, line {reader.line_num}", row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV in UTF-8: {error}") from error


def _json_rows(path):
    rows, number = [], 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append((f"{path}, line {number}", json.loads(line)))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON Lines in UTF-8 at line {number}: {error}") from error
    return rows


def _record_of(table, numbers, entry, room):
    where, row = entry
    if room < 1:
        raise ValueError(f"{where}: too many rows")
    image, raw, split = (
        field(row, column, str, where) for column in ("image", "expression", "split")
    )
    mask = field(row, "mask", str | list | dict, where)
    if not split.strip():
        raise ValueError(f"{where}: no split; wanted train, val, ...")
    image_path = _inside(table.parent, image, where)
    try:
        height, width = numbers.size(image_path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
    record = Record(
        image_path=image_path,
        image_id=numbers.image(image_path),
        ref_id=numbers.ref(image_path, str(mask)),
        sentence_id=int(where.rpartition(" ")[2]),
        raw=raw,
        expression=" ".join(split_words(raw)),
        split=split.strip(),
        height=height,
        width=width,
        segmentation=_segmentation(mask, table.parent, where),
    )
    return [record]


def _segmentation(mask, folder, where):
    """Polygons, run lengths or the path of a mask, from the text or the JSON that names them."""
    if type(mask) is str:
        mask = mask.strip()
        if mask[:1] not in ("[", "{"):
            return _inside(folder, mask, where)
        try:
            mask = json.loads(mask)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: mask is no JSON: {error}") from None
    if type(mask) is list and mask and not isinstance(mask[0], (list, dict)):
        return [mask]  # one polygon, not in a list of its own
    return mask


def _inside(folder, name, where):
    """A path in the table's folder; no name leads out of it."""
    path = Path(name.strip())
    if path.is_absolute() or ".." in path.parts or path == Path() or "\0" in name:
        raise ValueError(
            f"{where}: path {name!r:.100}; wanted one relative to {folder} and inside it"
        )
    return folder / path
