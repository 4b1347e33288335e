"""Prepares records as TFDS shards: checks them, writes them, reads them back and indexes them.

    <data dir>/refer_segmentation/<config>/<version>/         written by TFDS, whole or not there
    <data dir>/refer_segmentation/<config>/<version>/sentences.json      written last, see read.py
    <data dir>/refer_segmentation/<config>_skipped.csv        the records that are left out, and why
    <data dir>/refer_segmentation/<config>_checked.jsonl      the journal of checked records

A run that was stopped resumes when it is started again. It does not check the same records again,
and it reads back a data set that was written but not verified. Only writing starts from the
beginning.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from keras_cmsa.data.check import describe_remarks, examine
from keras_cmsa.data.readers.entries import warn_each
from keras_cmsa.data.shards.read import TFDS_NAME, read_examples, write_index
from keras_cmsa.utils.csv_files import write_rows
from keras_cmsa.utils.files import replaced
from keras_cmsa.utils.locks import locked
from keras_cmsa.utils.messages import with_progress_bar

INCOMPLETE_PREFIX = "incomplete."  # TFDS gives it to a folder until it is written completely
CHUNK_SIZE = 500  # records per line of the journal
SKIPPED = ("split", "image", "ref_id", "sentence_id", "expression", "reason")


def prepare(records, config, data_dir, file_format="array_record", progress=False):
    """Checks records, writes the good ones as a TFDS data set, and reads it back.

    Args:
        records: `{split: [Record, ...]}`.
        config: a `SourceConfig` of `refer_segmentation`.
        data_dir: folder of TFDS data sets.
        file_format: `"array_record"`, for this package's pipeline and `tfds.data_source`, or
            `"tfrecord"`, for `tfds.load`.
        progress: whether to show progress bars in the terminal.

    Returns:
        `(good, problems)`: `{split: [Record, ...]}` and `[(record, reason), ...]`.

    Raises:
        ValueError: if no record is good, another run prepares the same data set, the data set is
            there already with other records, or the data that is read back differs from the
            records. In the last case the data set is removed.
    """
    import tensorflow_datasets as tfds

    from keras_cmsa.data.refer_segmentation import ReferSegmentation

    folder = Path(data_dir) / TFDS_NAME
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{config.name}.lock", "another run prepares this data set"):
        journal = folder / f"{config.name}_checked.jsonl"
        good, problems = check_with_journal(records, journal, progress)
        write_skipped(folder / f"{config.name}_skipped.csv", problems)
        if not any(good.values()):
            raise ValueError(f"no usable expression: see {folder / config.name}_skipped.csv")
        for incomplete in (folder / config.name).glob(f"{INCOMPLETE_PREFIX}*"):
            shutil.rmtree(incomplete)
        builder = ReferSegmentation(config=config, data_dir=data_dir)
        builder.records = good
        was_there = Path(builder.data_path).is_dir()
        if not progress:
            tfds.disable_progress_bar()
        builder.download_and_prepare(file_format=file_format)
        _verify_or_remove(builder, good, was_there)
    return good, problems


def _verify_or_remove(builder, records, was_there):
    try:
        verify(builder, records)
    except ValueError as error:
        if was_there:
            raise ValueError(
                f"{builder.data_path} is there already with other data: {error}. Choose another "
                "output, or remove this folder"
            ) from error
        shutil.rmtree(builder.data_path)
        raise ValueError(f"{error}, so {builder.data_path} was removed. Try again") from error


def check_with_journal(records, journal, progress=False):
    """Checks records as `check_records` does, and resumes a check that was stopped.

    Each line of the journal is a chunk of records: `[key, {place in the chunk: reason}, remarks]`
    with the bad records, and the remarks of `examine`. The key changes if a record changes, or the
    size or the time of one of its files.

    Args:
        records: `{split: [Record, ...]}`.
        journal: `Path` of the journal; it need not be there.
        progress: whether to show a progress bar in the terminal.

    Returns:
        `(good, problems)`: `{split: [Record, ...]}` and `[(record, reason), ...]`.
    """
    known = _read_journal(journal)
    all_records = [record for split_records in records.values() for record in split_records]
    # The refs of an image are spread over a data set. Sorted by image, each image is opened once.
    by_image = sorted(all_records, key=lambda record: str(record.image_path))
    chunks = [by_image[start : start + CHUNK_SIZE] for start in range(0, len(by_image), CHUNK_SIZE)]
    reasons, remarks = {}, []
    with open(journal, "a", encoding="utf-8") as file:
        file.write("\n")  # ends the last line if a killed run left it incomplete
        for chunk in with_progress_bar(chunks, "checking", show=progress):
            key = _fingerprint(chunk)
            if key not in known:
                known[key] = _check_chunk(chunk)
                file.write(json.dumps([key, *known[key]]) + "\n")
                file.flush()
            by_place, of_chunk = known[key]
            reasons |= {id(chunk[int(place)]): reason for place, reason in by_place.items()}
            remarks += of_chunk
    warn_each(*describe_remarks(remarks))
    good = {
        split: [record for record in split_records if id(record) not in reasons]
        for split, split_records in records.items()
    }
    return good, [(record, reasons[id(record)]) for record in all_records if id(record) in reasons]


def _read_journal(path):
    """`{key: ({place: reason}, remarks)}`; an incomplete line of a killed run is skipped."""
    known = {}
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            try:
                key, reasons, remarks = json.loads(line)
            except ValueError:
                continue
            known[key] = reasons, remarks
    return known


def _check_chunk(chunk):
    """`({place in the chunk: reason}, remarks)`, the former of the bad records."""
    _, problems, remarks = examine(chunk)
    places = {id(record): place for place, record in enumerate(chunk)}
    return {str(places[id(record)]): reason for record, reason in problems}, remarks


def _fingerprint(chunk):
    """A hash of a chunk's records, and of the size and time of their files."""
    digest = hashlib.sha256()
    stamps = {}
    for record in chunk:
        files = [record.image_path]
        if isinstance(record.segmentation, Path):
            files.append(record.segmentation)
        for file in files:
            if file not in stamps:
                stamps[file] = _size_and_time(file)
            digest.update(repr(stamps[file]).encode())
        digest.update(repr(record).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _size_and_time(path):
    try:
        status = os.stat(path)
    except OSError as error:
        return type(error).__name__
    return status.st_size, status.st_mtime_ns


def write_skipped(path, problems):
    """Writes the records that are left out, `[(record, reason), ...]`, as CSV."""
    with replaced(path) as file:
        rows = [
            (r.split, r.image_path, r.ref_id, r.sentence_id, r.raw, reason)
            for r, reason in problems
        ]
        write_rows(file, [SKIPPED, *rows])


def verify(builder, records):
    """Reads a prepared data set back, compares it with its records, and writes its index.

    Raises:
        ValueError: if it differs from the records; names the difference.
    """
    from keras_cmsa.data.refer_segmentation.builder import by_image

    entries = {}
    for split, split_records in records.items():
        if not split_records:
            continue
        if split not in builder.info.splits:
            raise ValueError(f"the split {split} is missing")
        expected = dict(by_image(split_records))
        entries[split] = []
        for found in read_examples(builder, split):
            if not _equal(found, expected.pop(found.image_id, None)):
                raise ValueError(f"image {found.image_id} of {split} differs from its records")
            entries[split].append(found.entry())
        if expected:
            raise ValueError(f"{len(expected)} images of {split} are missing")
    write_index(builder.data_path, entries)


def _equal(found, records):
    """Whether an example equals an image's records: the file's bytes, sentences and masks."""
    from keras_cmsa.data.refer_segmentation.builder import stored_image

    if not records:
        return False
    sentences = [(r.ref_id, r.sentence_id, r.raw, r.expression, r.kind) for r in records]
    refs = {r.ref_id: r for r in records}
    return (
        found.image == stored_image(records[0].image_path, records[0].stored_size)
        and found.sentences() == sentences
        and all(np.array_equal(found.mask(ref_id), r.mask()) for ref_id, r in refs.items())
    )
