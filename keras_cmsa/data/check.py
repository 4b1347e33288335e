"""Checks a data set: opens every image, draws every mask, and names the bad records."""

from functools import cache
from itertools import groupby

import numpy as np
from rich.progress import track

from keras_cmsa.data.masks import MaskFile, has_no_area, rasterize
from keras_cmsa.data.readers.entries import warn_each
from keras_cmsa.preprocessing.reading import read_ids, read_image, read_stored_size
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.csv_files import write_rows
from keras_cmsa.utils.files import replaced
from keras_cmsa.utils.messages import in_words

PROBLEMS = ("split", "image", "ref_id", "sentence_id", "expression", "reason")

# What is said of records that are good all the same, with a count before it.
WHOLE = "masks cover the whole image (a white background is inside)"
WITHOUT_AREA = "masks have parts of fewer than three points, which are left out"
SMALL = "masks have fewer than 4 pixels"
SEVERAL = (
    "mask files have several ids or colours, and all of them are inside (a # and a number after the "
    "name, as in masks/1.png#2, picks one id)"
)
WITH_IDS = (".png", ".bmp", ".gif", ".tif", ".tiff")  # the others have losses, and no ids
AS_STORED = (
    "images have an EXIF orientation and are not turned, as their annotations have their size"
)


def check_records(records, progress=False):
    """Finds the records that would fail in training or evaluation.

    A record is good if its image can be decoded and has the size that the annotations declare, its
    mask is well formed and covers a pixel (unless it has no target), and its expression has a word.
    Each image is opened once. A mask is drawn once for consecutive sentences of the same ref.

    Warns of good records that are odd: masks that cover the whole image or have parts without area,
    and images that are read as stored in spite of their EXIF orientation.

    Args:
        records: list of `Record`.
        progress: whether to show a progress bar in the terminal.

    Returns:
        `(good, problems)`: the good records in their order, and a list of `(record, reason)` for
        the others. A reason is the record's first fault, as `"<fault>: <details>"`.
    """
    good, problems, remarks = [], [], {}
    fault_of = cache(_image_fault)
    shown = track(records, "checking", disable=not progress)
    for _, group in groupby(shown, key=_mask_key):
        first, *_ = group = list(group)
        declared = first.height, first.width
        fault = fault_of(first.image_path, declared, first.stored_size)
        mask = None
        if not fault:
            try:
                mask = drawn(first)
            except ValueError as error:
                fault = str(error)
        faults = [fault or _expression_fault(record) for record in group]
        problems += [(record, fault) for record, fault in zip(group, faults) if fault]
        good += [record for record, fault in zip(group, faults) if not fault]
        if not all(faults):
            for remark, what in _remarks(first, mask):
                remarks.setdefault(remark, {})[what] = None
    told = (f"{len(x):,} {remark}. The first: {next(iter(x))}" for remark, x in remarks.items())
    warn_each(*told)
    return good, problems


def problems_table(problems):
    """Formats problems: one line per fault, with a count and an example.

    Args:
        problems: as `check_records` returns them; None in the place of the record of an entry that
            the reader left out.
    """
    by_fault = {}
    for _, reason in problems:
        fault, _, details = reason.partition(": ")
        by_fault.setdefault(fault, []).append(details)
    lines = [
        f"{len(cases):7,}  {fault}, first: {cases[0]}"
        for fault, cases in sorted(by_fault.items(), key=lambda item: -len(item[1]))
    ]
    return "\n".join(lines) or "no problems"


def write_problems(path, problems):
    """Writes problems as CSV; argument as in `problems_table`."""
    with replaced(path) as file:
        rows = [
            (*((r.split, r.image_path, r.ref_id, r.sentence_id, r.raw) if r else [""] * 5), reason)
            for r, reason in problems
        ]
        write_rows(file, [PROBLEMS, *rows])


def _mask_key(record):
    return record.image_path, record.height, record.width, record.targets, id(record.segmentation)


def _image_fault(path, declared, stored_size):
    """What is wrong with an image that should be `declared = (height, width)`; else empty."""
    try:
        size = read_image(path, stored_size=stored_size).shape[:2]
    except FileNotFoundError:
        return f"image missing: {path}"
    except (OSError, ValueError) as error:
        return f"image unreadable: {in_words(error)}"
    differs = "image size differs: {} is {} x {}, declared {} x {} (height x width)"
    return "" if size == declared else differs.format(path, *size, *declared)


def drawn(record):
    """The mask of a record; an error names the ref, since its sentences share the mask."""
    if not record.targets:
        return record.mask()
    return rasterize(record.segmentation, record.height, record.width, f"ref {record.ref_id}")


def _remarks(record, mask):
    """Pairs of a remark and the image or mask that it is about."""
    mask_name = f"ref {record.ref_id}, {record.image_path}"
    parts = record.segmentation if isinstance(record.segmentation, (list, tuple)) else ()
    if mask.all():
        yield WHOLE, mask_name
    if record.targets and mask.sum() < 4:
        yield SMALL, mask_name
    file = record.segmentation
    if isinstance(file, MaskFile) and file.id is None and file.path.suffix.lower() in WITH_IDS:
        if len(set(np.unique(read_ids(file.path))) - {0}) > 1:
            yield SEVERAL, str(file.path)
    if any(has_no_area(part) for part in parts):
        yield WITHOUT_AREA, mask_name
    if record.as_stored:
        size, orientation = read_stored_size(record.image_path)
        if orientation != 1 and size == record.stored_size:
            yield AS_STORED, str(record.image_path)


def _expression_fault(record):
    return "" if split_words(record.expression) else f"expression blank: {record.describe()}"
