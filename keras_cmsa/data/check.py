"""Checks a data set: opens every image, draws every mask, and names the bad records."""

from functools import cache
from itertools import groupby

from keras_cmsa.data.masks import rasterize
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.preprocessing.text import split_words
from keras_cmsa.utils.progress import with_progress_bar


def check_records(records, progress=False):
    """Finds the records that would fail in training or evaluation.

    A record is good if its image can be decoded and has the size that the annotations declare, its
    mask is well formed and covers a pixel, and its expression has a word. Each image is opened
    once. A mask is drawn once for consecutive sentences of the same ref.

    Args:
        records: list of `Record`.
        progress: whether to show a progress bar in the terminal.

    Returns:
        `(good, problems)`: the good records in their order, and a list of `(record, reason)` for
        the others. A reason is the record's first fault, as `"<fault>: <details>"`.
    """
    good, problems = [], []
    image_size = cache(_image_size)
    shown = with_progress_bar(records, "checking", show=progress)
    for _, group in groupby(shown, key=_mask_key):
        group = list(group)
        shared_fault = _image_fault(group[0], image_size) or _mask_fault(group[0])
        for record in group:
            reason = shared_fault or _expression_fault(record)
            if reason:
                problems.append((record, reason))
            else:
                good.append(record)
    return good, problems


def problems_table(problems):
    """Formats the problems of `check_records`: one line per fault, with a count and an example."""
    by_fault = {}
    for _, reason in problems:
        fault, _, details = reason.partition(": ")
        by_fault.setdefault(fault, []).append(details)
    lines = [
        f"{len(cases):7,}  {fault}, first: {cases[0]}"
        for fault, cases in sorted(by_fault.items(), key=lambda item: -len(item[1]))
    ]
    return "\n".join(lines) or "no problems"


def _mask_key(record):
    return record.image_path, record.height, record.width, id(record.segmentation)


def _image_size(path):
    """`((height, width), "")` of an upright image, or `(None, fault)`."""
    try:
        return read_image(path).shape[:2], ""
    except FileNotFoundError:
        return None, f"image missing: {path}"
    except (OSError, ValueError) as error:
        return None, f"image unreadable: {error}"


def _image_fault(record, image_size):
    size, fault = image_size(record.image_path)
    declared = record.height, record.width
    if fault or size == declared:
        return fault
    return "image size differs: {} is {} x {}, declared {} x {} (height x width)".format(
        record.image_path, *size, *declared
    )


def _mask_fault(record):
    try:
        rasterize(record.segmentation, record.height, record.width, f"ref {record.ref_id}")
    except ValueError as error:
        return str(error)
    return ""


def _expression_fault(record):
    return "" if split_words(record.expression) else f"expression blank: {record.describe()}"
