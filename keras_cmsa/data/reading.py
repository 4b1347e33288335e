"""What the readers share: fields that must be there, and warnings of one line each."""

import json
import os
import warnings

from keras_cmsa.data.records import count

# Ten times the largest published set. A small pickle can name one sentence a million times over.
MAX_SENTENCES = 2_000_000


def field(entry, key, kind, where):
    """`entry[key]`, which must be there and of that type."""
    if type(entry) is not dict:
        raise ValueError(f"{where}: wanted a dict, got {type(entry).__name__}")
    # To Python a boolean is an integer; a height of `true` is none.
    if isinstance(entry.get(key), kind) and type(entry[key]) is not bool:
        return entry[key]
    got = type(entry[key]).__name__ if key in entry else "nothing"
    wanted = getattr(kind, "__name__", kind)
    raise ValueError(f"{where}: wanted {key!r} of type {wanted}, got {got}")


def read_json(path):
    """The content of a JSON file; its memory is bounded by the file's size.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not whole JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}. Fetch it again") from error


def checked_on_bad(on_bad):
    if on_bad not in ("raise", "skip"):
        raise ValueError(f"wanted on_bad 'raise' or 'skip'; received: {on_bad!r}")


def gathered(entries, records_of, on_bad):
    """Reads entries one by one, each into records of one split or several.

    Args:
        entries: iterable of whatever `records_of` takes.
        records_of: `(entry, room)` to a list of at most `room` records; raises `ValueError`.
        on_bad: `"raise"` or `"skip"`.

    Returns:
        `({split: [Record, ...]}, problems)`, a line for each bad entry that was left out.
    """
    records, problems, room = {}, [], MAX_SENTENCES
    for entry in entries:
        try:
            of_entry = records_of(entry, room)
        except ValueError as error:
            if on_bad == "raise":
                raise ValueError(f"{error}. on_bad='skip' leaves such refs out") from None
            problems.append(str(error))
            continue
        room -= len(of_entry)
        for record in of_entry:
            records.setdefault(record.split, []).append(record)
    return records, problems


def checked_sentences(sentences, room, where):
    """A ref's list of sentences, if there are any and not too many."""
    if not 0 < len(sentences) <= room:
        raise ValueError(f"{where}: {len(sentences)} sentences; wanted at least 1, at most {room}")
    return sentences


def only(splits, records, path):
    """Of `{split: [Record, ...]}` the splits wanted; `None` wants all."""
    if splits is None:
        return records
    absent = [split for split in splits if split not in records]
    if absent:
        raise ValueError(
            f"{path} has no split {', '.join(absent)}; it has {', '.join(records) or 'none'}"
        )
    return {split: records[split] for split in splits}


def warn_of(*messages):
    """A warning for each message that is not empty, as from the caller of the caller."""
    for message in messages:
        if message:
            warnings.warn(message, stacklevel=3)


def left_out(problems, total, what="refs"):
    if problems:
        return f"{len(problems)} of {total} {what} are bad and left out. The first: {problems[0]}"
    return ""


def unpublished_counts(records, published, splits=None):
    """A line on the counts that differ from `{split: (refs, sentences, images)}`; None is any."""
    differences = [
        f"{split} {_in_words(found)} instead of {_in_words(wanted)}"
        for split, wanted in published.items()
        if (splits is None or split in splits)
        and _differ(found := count(records.get(split, [])), wanted)
    ]
    return f"counts differ from the published: {'; '.join(differences)}" if differences else ""


def _differ(found, published):
    return any(wanted not in (None, number) for number, wanted in zip(found, published))


def _in_words(counts):
    return "{} refs / {} sentences / {} images".format(*("?" if n is None else n for n in counts))


def missing_images(records, folder, source):
    """A line on image files that are not there, for `{split: [Record, ...]}`."""
    wanted = {record.image_path for of_split in records.values() for record in of_split}
    missing = sorted(wanted - _files_in({path.parent for path in wanted}))
    if not missing:
        return ""
    return (
        f"{len(missing)} of {len(wanted)} images are missing from {folder}, "
        f"first {missing[0].name}: put the images of {source} there"
    )


def _files_in(folders):
    # A scan of each folder instead of 20,000 questions, which take minutes on a network disk.
    files = set()
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                files.update(folder / entry.name for entry in entries)
    return files
