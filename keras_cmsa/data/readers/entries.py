"""Helpers of all readers: checks of fields and entries, and warnings of one line each."""

import json
import os
import reprlib
import warnings

from keras_cmsa.data.masks import check_size
from keras_cmsa.data.record import Record, count
from keras_cmsa.preprocessing.words import split_words

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
        check_storable(value, key, where)
        return value
    received = type(entry[key]).__name__ if key in entry else "nothing"
    wanted = getattr(kind, "__name__", kind)
    raise ValueError(f"{where}: wanted {key!r} of type {wanted}. Received: {received}")


def whole(value):
    """`480.0` as the integer 480; any other value as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def check_storable(value, key, where):
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


def check_one_object(objects, image_id, ref_id, found, where):
    """Checks that a ref is one object of its image, whose mask all of its sentences share.

    Args:
        objects: `{(image id, ref id): object}` of the entries before; the new one is added.
        image_id, ref_id: of the entry.
        found: what tells objects apart, such as the id of an annotation.
        where: file and entry, the first words of an error.

    Raises:
        ValueError: if the ref is another object already.
    """
    before = objects.setdefault((image_id, ref_id), found)
    if before != found:
        raise ValueError(
            f"{where}: wanted one object for ref {ref_id} of image {image_id}. Received: "
            f"{reprlib.repr(found)} after {reprlib.repr(before)}"
        )


def read_json(path):
    """Reads a JSON file; the memory it takes is bounded by the size of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not whole JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}. Fetch it again") from error


def entries_by_id(content, key, path):
    """`{id: entry}` of a list in COCO's JSON; `path` is its file."""
    entries = field(content, key, list, path)
    return {
        field(entry, "id", int | str, f"{path}, {key} entry {place}"): entry
        for place, entry in enumerate(entries)
    }


def read_each(entries, read, on_bad, what):
    """Reads the entries of a file one by one. Warns in one line of those that are left out.

    Args:
        entries: list of entries that `read` takes.
        read: function of an entry. It raises `ValueError` if the entry is bad.
        on_bad: the argument of a reader: `"raise"`, `"skip"` or a list, which takes a line for each
            bad entry instead of the warning.
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
                raise ValueError(f"{error}. on_bad='skip' leaves bad entries out") from None
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

    Args:
        entries, on_bad, what: as in `read_each`.
        records_of: function from `(entry, limit)` to a list of at most `limit` records. It raises
            `ValueError` if the entry is bad.

    Returns:
        `{split: [Record, ...]}`.

    Raises:
        ValueError: as in `read_each`.
    """
    records, limit = {}, MAX_SENTENCES

    def keep(entry):
        nonlocal limit
        new_records = records_of(entry, limit)
        limit -= len(new_records)
        for record in new_records:
            records.setdefault(record.split, []).append(record)

    read_each(entries, keep, on_bad, what)
    return records


def image_size(entry, where):
    """`(height, width)` of an image in pixels from its entry: a size that masks can be drawn in."""
    height, width = (field(entry, side, int, where) for side in ("height", "width"))
    check_size(height, width, where)
    return height, width


def checked_sentences(sentences, limit, where):
    """A ref's list of sentences, which must have at least 1 and at most `limit`."""
    if not 0 < len(sentences) <= limit:
        raise ValueError(
            f"{where}: wanted at least 1 and at most {limit} sentences. Received: {len(sentences)}"
        )
    return sentences


def records_of_ref(sentences, limit, where, size, **of_all):
    """One record per sentence of a ref, whose masks are of the size that is stored.

    Args:
        sentences: list of `(sentence id, text)`, at least 1 and at most `limit`.
        limit: largest number of sentences.
        where: file and entry, the first words of an error.
        size: `(height, width)` of the image.
        of_all: the other arguments of `Record`, which all sentences share.
    """
    of_all |= {"height": size[0], "width": size[1], "as_stored": True}
    return [
        Record(sentence_id=sentence_id, raw=raw, expression=" ".join(split_words(raw)), **of_all)
        for sentence_id, raw in checked_sentences(sentences, limit, where)
    ]


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


def warn_each(*messages):
    """Warns once per message that is not empty, on behalf of the reader's caller."""
    for message in messages:
        if message:
            warnings.warn(message, stacklevel=3)


def describe_unpublished_counts(records, published, splits=None):
    """A line about the counts that differ from the published ones, or an empty one.

    Args:
        records: `{split: [Record, ...]}`.
        published: `{split: (refs, sentences, images)}`; None in place of an unknown number.
        splits: names of the splits to compare; None compares all.
    """
    differences = [
        f"{split} {_format_counts(found)} instead of {_format_counts(wanted)}"
        for split, wanted in published.items()
        if (splits is None or split in splits)
        and _differ(found := count(records.get(split, [])), wanted)
    ]
    return f"counts differ from the published: {'; '.join(differences)}" if differences else ""


def _differ(found, published):
    return any(wanted not in (None, number) for number, wanted in zip(found, published))


def _format_counts(counts):
    return "{} refs / {} sentences / {} images".format(*("?" if n is None else n for n in counts))


def describe_missing_images(records, folder, source):
    """A line about the missing image files of `{split: [Record, ...]}`, or an empty one."""
    wanted = {record.image_path for split_records in records.values() for record in split_records}
    missing = sorted(wanted - _files_in({path.parent for path in wanted}))
    if not missing:
        return ""
    return (
        f"{len(missing)} of {len(wanted)} images are missing from {folder}, "
        f"first {missing[0].name}: put the images of {source} there"
    )


def _files_in(folders):
    # One scan per folder: asking for 20,000 files one by one takes minutes on a network disk.
    files = set()
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                files.update(folder / entry.name for entry in entries)
    return files
