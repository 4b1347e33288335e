"""Helpers of all readers: checks of fields and entries, and warnings of one line each."""

import contextlib
import json
import os
import reprlib
import warnings
from itertools import islice
from pathlib import Path

from keras_cmsa.data.masks import check_size
from keras_cmsa.data.record import Record, count
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.files import shown

# Ten times the largest published data set. A small pickle can repeat one sentence a million times.
MAX_SENTENCES = 2_000_000


def field(entry, key, kind, where):
    """Gets a field of an entry and checks its type.

    A whole number that is written as `480.0` is an integer.

    Args:
        entry: the entry, which should be a dict.
        key: name of the field.
        kind: wanted type or union of types.
        where: file and entry, the first words of an error.

    Returns:
        `entry[key]`.

    Raises:
        ValueError: if the entry is not a dict, the field is missing or of another type, or later
            steps cannot store it: an integer beyond 64 bits, text with half a character.
    """
    if type(entry) is not dict:
        raise ValueError(f"{where}: wanted a dict. Received: {type(entry).__name__}")
    value = entry.get(key)
    if isinstance(0, kind):
        value = whole(value)
    # A boolean is an integer to Python, but `true` is not a height.
    if isinstance(value, kind) and type(value) is not bool:
        _check_storable(value, key, where)
        return value
    received = type(entry[key]).__name__ if key in entry else "nothing"
    wanted = getattr(kind, "__name__", kind)
    raise ValueError(f"{where}: wanted {key!r} of type {wanted}. Received: {received}")


def whole(value):
    """`480.0` as the integer 480; any other value as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def _check_storable(value, key, where):
    """Raises a `ValueError` for an integer or a text of an entry that later steps cannot store."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        # Its digits may be too many to print.
        raise ValueError(
            f"{where}: wanted {key!r} as an integer of 64 bits. Received: one of "
            f"{value.bit_length()} bits"
        )
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON and pickles can hold half of a pair of UTF-16
            raise ValueError(
                f"{where}: wanted {key!r} as text. Received half a character: {value!a:.100}"
            ) from None


def located(entry, key, kind, where, least=0):
    """Yields `(place, value)` of a list in an entry, whose values are all of one kind.

    A place is file, entry and number, the first words of an error. A list may have millions of
    values: whoever bounds them takes no more.

    Args, Raises:
        as in `field`; also raises a `ValueError` for fewer than `least` values.
    """
    values = field(entry, key, list, where)
    if len(values) < least:
        raise ValueError(f"{where}: wanted at least {least} {key}. Received: {len(values)}")
    for number, value in enumerate(values):
        place = f"{where}, {key} entry {number}"
        yield place, field({key: value}, key, kind, place)


def read_json(path, kind=object):
    """Reads a JSON file of a dict or a list; its size bounds the memory that this takes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not whole JSON, or holds something of another type than `kind`.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}. Fetch it again") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path}: wanted a {kind.__name__}. Received: {type(content).__name__}")
    return content


def from_json(text, what, where):
    """What a text in JSON holds; an error names it as `what`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where}: wanted {what} in JSON. Received: {shown(text)}: {error}"
        ) from None


def entries_by_id(content, key, path, id_key="id", kind=int | str):
    """`{id: entry}` of a table in the JSON of a file `path`: a list, or a dict by whatever key.

    Raises:
        ValueError: if an entry has no id, or two that differ have the same.
    """
    entries = field(content, key, list | dict, path)
    by_id = {}
    for place in entries if type(entries) is dict else range(len(entries)):
        where = f"{path}, {key} entry {place}"
        number = field(entries[place], id_key, kind, where)
        if by_id.setdefault(number, entries[place]) != entries[place]:
            raise ValueError(
                f"{where}: wanted an {id_key} of its own. Received: {number!r}, which an entry before "
                "it has too, with another content"
            )
    return by_id


def read_each(entries, read, on_bad, what):
    """Reads the entries of a file one by one. Warns in one line of those that are left out.

    Args:
        entries: list of entries that `read` takes.
        read: function of an entry. It raises `ValueError` if the entry is bad.
        on_bad: as in `read_refer`.
        what: what the entries are, for the warning.

    Returns:
        List of what `read` returns for the good entries.

    Raises:
        ValueError: if `on_bad` is something else, or an entry is bad and `on_bad` is `"raise"`.
    """
    if on_bad not in ("raise", "skip") and type(on_bad) is not list:
        raise ValueError(f"on_bad must be 'raise', 'skip' or a list. Received: {on_bad!r}")
    contents, problems = [], on_bad if type(on_bad) is list else []
    for entry in entries:
        try:
            contents.append(read(entry))
        except ValueError as error:
            if on_bad == "raise":
                raise ValueError(
                    f"{error}. on_bad='skip' leaves bad entries out; keras-cmsa prepare lists all"
                ) from None
            problems.append(str(error))
    if problems and problems is not on_bad:
        warnings.warn(
            f"{len(problems)} of {len(entries)} {what} are bad and left out. "
            f"The first: {problems[0]}",
            stacklevel=4,
        )
    return contents


def read_entries(entries, records_of, on_bad, what="refs"):
    """Turns the entries of a file into records, as `read_each` reads them.

    A ref is one object of its image, or the same objects, whose mask all of its sentences share.

    Args:
        entries, on_bad, what: as in `read_each`; an entry is a tuple of its file and place, the
            first words of an error, and whatever `records_of` takes.
        records_of: function from an entry to an iterable of records. It raises `ValueError` if the
            entry is bad.

    Returns:
        `{split: [Record, ...]}`.

    Raises:
        ValueError: as in `read_each`.
    """
    records, objects, left = {}, {}, MAX_SENTENCES

    def keep(entry):
        nonlocal left
        new_records = list(islice(records_of(entry), left + 1))
        if len(new_records) > left:
            left = 0  # also of what follows, which may be as long
            raise ValueError(
                f"{entry[0]}: wanted at most {MAX_SENTENCES:,} sentences in a data set"
            )
        for record in new_records:
            if record.targets:  # in R-RefCOCO the same ref has sentences that fit nothing
                ref = record.image_id, record.ref_id
                before = objects.setdefault(ref, record.segmentation)
                if before is not record.segmentation and before != record.segmentation:
                    raise ValueError(
                        f"{entry[0]}: wanted one object for ref {record.ref_id} of image "
                        f"{record.image_id}. Received: {reprlib.repr(record.segmentation)} after "
                        f"{reprlib.repr(before)}"
                    )
        left -= len(new_records)
        for record in new_records:
            records.setdefault(record.split, []).append(record)

    read_each(entries, keep, on_bad, what)
    return records


def image_size(entry, where):
    """`(height, width)` of an image in pixels from its entry: a size that masks can be drawn in."""
    height, width = (field(entry, side, int, where) for side in ("height", "width"))
    check_size(height, width, where)
    return height, width


def records_of_ref(sentences, size, **of_all):
    """Yields a record per sentence of a ref, whose masks are of the size that is stored.

    Args:
        sentences: `(sentence id, text)` of each.
        size: `(height, width)` of the image.
        of_all: the other arguments of `Record`, which all sentences share.
    """
    of_all |= {"height": size[0], "width": size[1], "as_stored": True}
    for sentence_id, raw in sentences:
        expression = " ".join(split_words(raw))
        yield Record(sentence_id=sentence_id, raw=raw, expression=expression, **of_all)


def files_of_splits(root, names, known):
    """The files of a release, one for each split.

    Args:
        root: the folder.
        names: possible names of a file with a place for the split; the first that is there counts.
        known: names of the splits.

    Returns:
        `{split: Path}` of those that are there.

    Raises:
        FileNotFoundError: if none is there.
    """
    files = {}
    for split in known:
        paths = (root / name.format(split) for name in names)
        if path := next(filter(Path.is_file, paths), None):
            files[split] = path
    if not files:
        wanted = ", ".join(names[0].format(split) for split in known)
        raise FileNotFoundError(f"wanted {wanted} in {root}. Received: none of them")
    return files


def select_splits(splits, records, path):
    """Selects the wanted splits of `{split: [Record, ...]}`; `None` selects all."""
    if splits is None:
        return records
    absent = [split for split in splits if split not in records]
    if absent:
        raise ValueError(
            f"{path} has no split {', '.join(absent)}; it has {', '.join(records) or 'none'}"
        )
    return {split: records[split] for split in splits}


def selected(records, splits, path, folder, source, published=()):
    """Selects the wanted splits as `select_splits`, and warns on behalf of the reader's caller.

    It warns, in one line each, of counts that differ from the published ones and of missing images.

    Args:
        records, splits, path: as in `select_splits`.
        folder: the folder of the image files.
        source: where to get them.
        published: `{split: (refs, sentences, images)}` of what has a target; None in place of an
            unknown number.
    """
    records = select_splits(splits, records, path)
    differences = []
    for split in (split for split in published if splits is None or split in splits):
        counts = count([record for record in records.get(split, []) if record.targets])
        if any(number not in (None, of) for number, of in zip(published[split], counts)):
            texts = (_format_counts(x) for x in (counts, published[split]))
            differences.append(f"{split} {' instead of '.join(texts)}")
    warn_each(
        f"counts differ from the published: {'; '.join(differences)}" if differences else "",
        _missing_images(records, folder, source),
        stacklevel=4,
    )
    return records


def _format_counts(counts):
    return "{} refs / {} sentences / {} images".format(*("?" if n is None else n for n in counts))


def _missing_images(records, folder, source):
    """A line about the missing image files of `{split: [Record, ...]}`, or an empty one."""
    paths = {record.image_path for split_records in records.values() for record in split_records}
    files = set()
    for parent in {path.parent for path in paths}:
        # One scan per folder: asking for 20,000 files one by one takes minutes on a network disk.
        with contextlib.suppress(OSError), os.scandir(parent) as entries:
            files.update(parent / entry.name for entry in entries)
    missing = sorted(paths - files)
    if not missing:
        return ""
    return (
        f"{len(missing)} of {len(paths)} images are missing from {folder}, "
        f"first {missing[0].name}: put there the images of {source}"
    )


def warn_each(*messages, stacklevel=3):
    """Warns once per message that is not empty, on behalf of the reader's caller."""
    for message in filter(None, messages):
        warnings.warn(message, stacklevel=stacklevel)
