"""The results of a batch: two Parquet files for each shard, each whole or not there.

    <output>/made_by.json                                what all of it was made of
    <output>/dead_letters/part-00000-of-00008.parquet    the rows that cannot be answered, and why
    <output>/results/part-00000-of-00008.parquet         the others
    <output>/partial/                                    files that are being written

A shard is whole when both of its files are there.
"""

import contextlib
import io
import json
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pyarrow
from apache_beam.io.filesystems import FileSystems
from pyarrow import parquet

from keras_cmsa.serving.batch.files import (
    is_remote,
    names_of,
    read_bytes,
    remove_files,
    write_whole,
)
from keras_cmsa.utils.locks import locked
from keras_cmsa.utils.messages import differences

MADE_BY, PARTIAL, LOCK = "made_by.json", "partial", ".lock"
RESULTS, DEAD_LETTERS = "results", "dead_letters"
ROW = [("row", pyarrow.int64()), ("image", pyarrow.string()), ("expression", pyarrow.string())]
SCHEMAS = {
    DEAD_LETTERS: pyarrow.schema([*ROW, ("reason", pyarrow.string())]),
    RESULTS: pyarrow.schema(
        [
            *ROW,
            ("score", pyarrow.float32()),
            ("box", pyarrow.list_(pyarrow.int32())),
            ("area", pyarrow.int64()),
            ("segmentation", pyarrow.string()),
        ]
    ),
}
READERS = 16  # footers that are read at once


@contextlib.contextmanager
def only_run(output):
    """Makes the folders of a local output and keeps other runs out of it.

    Raises:
        ValueError: if another run has it.
    """
    if is_remote(output):  # an object store has neither folders nor locks
        yield
        return
    for folder in (*SCHEMAS, PARTIAL):
        Path(output, folder).mkdir(parents=True, exist_ok=True)
    with locked(Path(output, LOCK), "another run writes these results"):
        yield


def check_output(output, made_by):
    """Notes what an output is made of, or checks that it is the same as before.

    Args:
        output: the folder.
        made_by: dict of what decides on rows and shards.

    Raises:
        ValueError: if the output holds results of something else; names each difference.
    """
    path = FileSystems.join(output, MADE_BY)
    if FileSystems.exists(path):
        try:
            before = dict(json.loads(read_bytes(path)))
        except (ValueError, TypeError):  # a damaged note says nothing
            before = {}
        found = differences(before, made_by)
        if found:
            raise ValueError(
                f"{output} was begun with another table or other settings: "
                f"{'; '.join(found)}. Give the same or another --output"
            )
    elif any(names_in(output, folder) for folder in SCHEMAS):
        raise ValueError(f"{output} holds results of something else: give another --output")
    else:
        content = json.dumps(made_by, indent=1).encode()
        write_whole(path, content, FileSystems.join(output, PARTIAL))


def names_in(output, folder):
    """Names of the files of shards in a folder of the output: set."""
    names = names_of(FileSystems.join(output, folder))
    return {name for name in names if name.startswith("part-")}


def name_of(number, total):
    """The name of a shard's two files."""
    return f"part-{number:05d}-of-{total:05d}.parquet"


def whole_shards(output, total):
    """The numbers of the shards that are written: set."""
    both = set.intersection(*(names_in(output, folder) for folder in SCHEMAS))
    return {number for number in range(total) if name_of(number, total) in both}


def remove_partial(output):
    """Removes what a stop left half-written."""
    remove_files(FileSystems.join(output, PARTIAL))


def write_shard(shard, output):
    """Writes a shard `(name, rows)`; gives its name."""
    name, rows = shard
    rows = sorted(rows, key=lambda row: row["row"])
    for folder, schema in SCHEMAS.items():
        in_folder = [row for row in rows if ("reason" in row) == (folder == DEAD_LETTERS)]
        content = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(in_folder, schema), content)
        path = FileSystems.join(output, folder, name)
        write_whole(path, content.getvalue(), FileSystems.join(output, PARTIAL))
    return name


def count_rows(output):
    """The numbers of rows that all shards have, by folder: dict."""

    def count(path):
        with FileSystems.open(path) as file:
            return parquet.read_metadata(file).num_rows

    with ThreadPool(READERS) as readers:
        return {
            folder: sum(
                readers.imap(
                    count, [FileSystems.join(output, folder, x) for x in names_in(output, folder)]
                )
            )
            for folder in SCHEMAS
        }
