"""Opens every image and draws every mask of a data set, and says what is wrong with which."""

from functools import cache
from itertools import groupby

from keras_cmsa.data.records import rasterize
from keras_cmsa.image import read_image
from keras_cmsa.text import split_words


def check_records(records, progress=False):
    """Find the records that training or evaluation would trip over.

    A record is good when its image can be decoded and has the size that the annotations declare,
    its mask is well formed and covers a pixel, and its expression has a word. Every image is
    opened once, and a mask drawn once for the sentences of a ref that follow each other.

    Args:
        records: a list of `Record`.
        progress: show a bar in the terminal.

    Returns:
        `(good, problems)`: the good records in their order, and a list of `(record, reason)` with
        the first fault of each of the others, as `"<fault>: <details>"`.
    """
    good, problems = [], []
    image_size = cache(_image_size)
    for _, group in groupby(_with_bar(records) if progress else records, key=_mask_key):
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
    """The `(record, reason)` of `check_records` as text: per fault a count and the first case."""
    by_fault = {}
    for _, reason in problems:
        fault, _, details = reason.partition(": ")
        by_fault.setdefault(fault, []).append(details)
    lines = [
        f"{len(cases):7,}  {fault}, first: {cases[0]}"
        for fault, cases in sorted(by_fault.items(), key=lambda item: -len(item[1]))
    ]
    return "\n".join(lines) or "no problems"


def _with_bar(records):
    from rich.progress import track

    return track(records, description="checking")


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
