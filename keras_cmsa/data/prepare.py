"""Records to shards of TFDS: checked, written, read back, and indexed by sentence.

    <data dir>/refer_segmentation/<config>/<version>/         written by TFDS, whole or not there
    <data dir>/refer_segmentation/<config>/<version>/sentences.json      written last, see shards.py
    <data dir>/refer_segmentation/<config>_skipped.csv        every record left out, and why
    <data dir>/refer_segmentation/<config>_checked.jsonl      what was checked already

A run that is stopped at any moment goes on when it is started again: what was checked stays checked,
and a data set that was written but not read back is read back. Only the writing starts anew.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from keras_cmsa.data.check import check_records
from keras_cmsa.data.shards import NAME, examples, write_sentences
from keras_cmsa.files import replaced

try:
    import fcntl
except ImportError:  # Windows: two runs at once are the user's to avoid
    fcntl = None

UNCOMMITTED = "incomplete."  # how TFDS begins the names of folders under way
CHUNK = 500  # records between two notes of what was checked


def prepare(records, config, data_dir, file_format="array_record", progress=False):
    """Check records, write them as a data set of TFDS, and read all of it back.

    Args:
        records: `{split: [Record, ...]}`.
        config: a `SourceConfig` of `refer_segmentation`.
        data_dir: folder of TFDS data sets.
        file_format: `"array_record"`, which the pipeline of this package and `tfds.data_source`
            read, or `"tfrecord"`, which `tfds.load` reads.
        progress: show bars in the terminal.

    Returns:
        `(good, problems)`: `{split: [Record, ...]}` and `[(record, reason), ...]`.

    Raises:
        ValueError: if there is no usable record, another run is at work on it, the data set is
            there with other records, or what was written is not what is read back (it is then
            removed).
    """
    import tensorflow_datasets as tfds

    from keras_cmsa.data.refer_segmentation import ReferSegmentation

    folder = Path(data_dir) / NAME
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{config.name}.lock"):
        good, problems = checked(records, folder / f"{config.name}_checked.jsonl", progress)
        write_skipped(folder / f"{config.name}_skipped.csv", problems)
        if not any(good.values()):
            raise ValueError(f"no usable expression: see {folder / config.name}_skipped.csv")
        for left_behind in (folder / config.name).glob(f"{UNCOMMITTED}*"):
            shutil.rmtree(left_behind)
        builder = ReferSegmentation(config=config, data_dir=data_dir)
        builder.records = good
        was_there = Path(builder.data_path).is_dir()
        if not progress:
            tfds.disable_progress_bar()
        builder.download_and_prepare(file_format=file_format)
        _verify_or_remove(builder, good, was_there)
    return good, problems


@contextlib.contextmanager
def _alone(path):
    """Holds a lock, which ends with the process, so that no other run takes this one's files."""
    with open(path, "w") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another run prepares this data set already: {path}") from None
        yield


def _verify_or_remove(builder, records, was_there):
    try:
        verify(builder, records)
    except ValueError as error:
        if was_there:
            raise ValueError(
                f"{builder.data_path} is there already with other data: {error}. Choose another "
                "output, or remove that folder"
            ) from error
        shutil.rmtree(builder.data_path)
        raise ValueError(f"{error}, so {builder.data_path} was removed. Try again") from error


def checked(records, journal, progress=False):
    """`check_records` that goes on where it was stopped.

    The journal has a line per chunk of records: the reasons of the bad ones by their place in it,
    under a key that changes with the records and with the size and time of their files.
    """
    known = _read_journal(journal)
    every = [record for of_split in records.values() for record in of_split]
    # Refs of an image are spread over a data set: side by side, it is opened once.
    in_order = sorted(every, key=lambda record: str(record.image_path))
    chunks = [in_order[start : start + CHUNK] for start in range(0, len(in_order), CHUNK)]
    reasons = {}
    with open(journal, "a", encoding="utf-8") as file:
        file.write("\n")  # ends a line that a kill cut short
        for chunk in _with_bar(chunks) if progress else chunks:
            key = _fingerprint(chunk)
            if key not in known:
                known[key] = _reasons(chunk)
                file.write(json.dumps([key, known[key]]) + "\n")
                file.flush()
            reasons |= {id(chunk[int(place)]): reason for place, reason in known[key].items()}
    good = {
        split: [record for record in of_split if id(record) not in reasons]
        for split, of_split in records.items()
    }
    return good, [(record, reasons[id(record)]) for record in every if id(record) in reasons]


def _with_bar(chunks):
    from rich.progress import track

    return track(chunks, description="checking")


def _read_journal(path):
    """`{key: {place: reason}}`; a line that a kill cut short is no line."""
    known = {}
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            try:
                key, reasons = json.loads(line)
            except ValueError:
                continue
            known[key] = reasons
    return known


def _reasons(chunk):
    _, problems = check_records(chunk)
    places = {id(record): place for place, record in enumerate(chunk)}
    return {str(places[id(record)]): reason for record, reason in problems}


def _fingerprint(chunk):
    digest = hashlib.sha256()
    stamps = {}
    for record in chunk:
        files = [record.image_path]
        if isinstance(record.segmentation, Path):
            files.append(record.segmentation)
        for file in files:
            if file not in stamps:
                stamps[file] = _stamp(file)
            digest.update(repr(stamps[file]).encode())
        digest.update(repr(record).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _stamp(path):
    try:
        found = os.stat(path)
    except OSError as error:
        return type(error).__name__
    return found.st_size, found.st_mtime_ns


def write_skipped(path, problems):
    """Every record left out with its reason, as CSV."""
    with replaced(path) as file:
        rows = csv.writer(file)
        rows.writerow(["split", "image", "ref_id", "sentence_id", "expression", "reason"])
        for r, reason in problems:
            rows.writerow([r.split, r.image_path, r.ref_id, r.sentence_id, r.raw, reason])


def verify(builder, records):
    """Reads a prepared data set back, compares it with its records, and indexes its sentences.

    Raises:
        ValueError: if they differ; says in what.
    """
    from keras_cmsa.data.refer_segmentation.builder import by_image

    entries = {}
    for split, of_split in records.items():
        if not of_split:
            continue
        if split not in builder.info.splits:
            raise ValueError(f"{split} is not there")
        expected = dict(by_image(of_split))
        entries[split] = []
        for found in examples(builder, split):
            if not _equal(found, expected.pop(found.image_id, None)):
                raise ValueError(f"image {found.image_id} of {split} is not what was to be written")
            entries[split].append(found.entry())
        if expected:
            raise ValueError(f"{len(expected)} images of {split} are not there")
    write_sentences(builder.data_path, entries)


def _equal(found, records):
    """Whether an example holds an image's records: its bytes, every sentence, every pixel."""
    from keras_cmsa.data.refer_segmentation.builder import stored_image

    if not records:
        return False
    sentences = [(r.ref_id, r.sentence_id, r.raw, r.expression, r.kind) for r in records]
    of_ref = {r.ref_id: r for r in records}
    return (
        found.image == stored_image(records[0].image_path)
        and found.sentences() == sentences
        and all(np.array_equal(found.mask(ref_id), r.mask()) for ref_id, r in of_ref.items())
    )
