"""Reads your own data: a table of images, expressions and masks, as CSV or JSON Lines.

    image,expression,mask,split
    photos/1.jpg,the red cup,masks/1.png,train
    photos/1.jpg,cup on the left,"[[10, 12, 40, 12, 40, 50]]",train
    photos/2.jpg,the dog,"{""size"": [480, 640], ""counts"": ""...""}",val
    photos/2.jpg,the cat,masks/2.png#3,val
    photos/2.jpg,the horse,none,val

A mask is the path of an image (what is neither black nor transparent is inside; `#3` takes the pixels
with the id 3), COCO's polygons or COCO's run lengths; or `none`, where nothing in the image fits the
expression. Paths are relative to the table's folder and stay in it. In JSON Lines each line is an
object with these four keys, and polygons or run lengths are plain JSON instead of text.
"""

import io
import os
import re
from collections import defaultdict
from functools import cache, partial
from itertools import count
from pathlib import Path

from keras_cmsa.data.masks import MaskFile
from keras_cmsa.data.readers.entries import field, from_json, read_entries, select_splits
from keras_cmsa.data.record import Record
from keras_cmsa.preprocessing.reading import read_size
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.csv_files import cells_of, read_table_file, row_of
from keras_cmsa.utils.files import as_text
from keras_cmsa.utils.names import checked_split, path_inside

COLUMNS = ("image", "expression", "mask", "split")
SUFFIXES = (".csv", ".jsonl")


def read_table(path, splits=None, on_bad="raise"):
    """Reads a table of your own images, expressions and masks.

    The reader opens each image's header for its size, and no mask file; `Record.mask` reads those.

    Args:
        path: a `.csv` with a header row, or a `.jsonl`; UTF-8.
        splits, on_bad: as in `read_refer`; an entry is a row.

    Returns:
        `{split: [Record, ...]}`: one record per row, in the order of the file. Rows with the same
        image and mask are one ref.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not such a table or, with `"raise"`, a row is bad.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"wanted a table whose name ends in {' or '.join(SUFFIXES)}. Received: {path}. Give it "
            "the ending of what it is; save a spreadsheet as CSV in UTF-8, and export from a label tool "
            "as COCO JSON"
        )
    if path.suffix.lower() == ".csv":
        names, located = cells_of(read_table_file(path), path, COLUMNS)
        rows = [(f"{path}, line {line}", partial(row_of, names, cells)) for line, cells in located]
    else:
        text = as_text(path.read_bytes(), path, "Save the table in UTF-8")
        lines = enumerate(io.StringIO(text, newline=None), 1)
        rows = [
            (f"{path}, line {n}", partial(from_json, line.strip(), "an object"))
            for n, line in lines
            if line.strip()
        ]
    # Images and refs are numbered in the order of their first rows.
    image_ids, ref_ids = (defaultdict(count(1).__next__) for _ in range(2))
    records_of = partial(_records_of, path.parent, image_ids, ref_ids, cache(read_size))
    records = read_entries(rows, records_of, on_bad, "rows")
    return select_splits(splits, records, path)


def _records_of(folder, image_ids, ref_ids, size_of, located_row):
    """Yields the record of a row; `located_row` is `(where, function from where to the row)`."""
    where, row_at = located_row
    row = row_at(where)
    image, raw, split = (
        field(row, column, str, where) for column in ("image", "expression", "split")
    )
    mask = field(row, "mask", str | list | dict, where)
    split, words = checked_split(split.strip(), where), split_words(raw)
    if not words:
        raise ValueError(f"{where}: wanted an expression with a word. Received: {raw!r:.100}")
    image_path = path_inside(folder, image, where)
    try:
        height, width = size_of(image_path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
    segmentation = _segmentation(mask, folder, where)
    yield Record(
        image_path=image_path,
        image_id=image_ids[image_path],
        ref_id=ref_ids[image_path, str(mask)],
        sentence_id=int(where.rpartition(" ")[2]),
        raw=raw,
        expression=" ".join(words),
        split=split,
        height=height,
        width=width,
        segmentation=segmentation,
        targets=0 if segmentation is None else 1,
    )


def _segmentation(mask, folder, where):
    """The polygons, the run lengths, the path of a mask file or None, from the column `mask`."""
    if type(mask) is str:
        mask = mask.strip()
        if mask.lower() == "none":
            return None
        if not mask:
            raise ValueError(
                f"{where}: wanted a mask: a path, polygons, COCO's run lengths, or none where nothing "
                "fits the expression. Received: an empty cell"
            )
        if mask[:1] not in ("[", "{") or os.path.isfile(folder / mask):
            return _mask_file(mask, folder, where)
        mask = from_json(mask, "the mask", where)
    if type(mask) is list and mask and not isinstance(mask[0], (list, dict)):
        return [mask]  # a single polygon, without the list around it
    return mask


def _mask_file(name, folder, where):
    """The `MaskFile` of a name, which may end in `#` and an id."""
    if re.fullmatch(r"\d+( \d+)+", name) and not os.path.isfile(folder / name):
        raise ValueError(
            f"{where}: wanted the path of a mask, polygons or COCO's run lengths. Received: what "
            f"looks like Kaggle's run lengths: {name!r:.100}"
        )
    stem, mark, number = name.rpartition("#")
    if mark and number.isdecimal() and not os.path.isfile(folder / name):
        return MaskFile(path_inside(folder, stem, where), int(number))
    return MaskFile(path_inside(folder, name, where))
