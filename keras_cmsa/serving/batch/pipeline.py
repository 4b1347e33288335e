"""A table of images and expressions through Apache Beam: read, cut into shards, segmented, written."""

import hashlib
import io
import os
from dataclasses import asdict, dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import apache_beam as beam
import pyarrow
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from pyarrow import parquet

from keras_cmsa.data.readers.pairs import ASKED, by_image, numbered, path_of
from keras_cmsa.preprocessing.reading import MAX_BYTES
from keras_cmsa.presets.files import digest_of, is_saved_model
from keras_cmsa.serving.batch import handler, output
from keras_cmsa.serving.batch.files import absolute, is_remote, read_bytes
from keras_cmsa.utils.csv_files import rows_of
from keras_cmsa.utils.files import check_folder

FLAGS = (
    # Beam's DirectRunner would download another program, Prism, and hand the work over to it, which
    # does not know the DirectRunner's flags. Not so with this one, which changes nothing else here:
    # there are no triggers.
    "--allow_unsafe_triggers",
    "--default_sdk_harness_log_level=WARNING",
)
READERS = 8  # images that a worker reads at once: remote ones keep it waiting


@dataclass(frozen=True)
class Batch:
    """What is segmented, and where the results go.

    Attributes:
        table: CSV, or Parquet by its ending, with the columns `image` and `expression`.
        model: folder of a version that `export_saved_model` wrote; every worker sees it.
        output: folder of the results.
        images: folder that paths of images are relative to; `None`: that of the table.
        outside: take images outside of that folder too.
        sentences_at_once: the most expressions about an image in one call of the model; an image
            with more is encoded again for each further so many.
        images_at_once: images in one call of the model.
        rows_per_shard: the most rows of a shard.
    """

    table: str
    model: str
    output: str
    images: str | None = None
    outside: bool = False
    sentences_at_once: int = 16
    images_at_once: int = 4
    rows_per_shard: int = 500


def segment_batch(batch, flags=()):
    """Segments a table; shards that an earlier run has written are kept.

    Args:
        batch: `Batch`. Its table, images and output may be on any file system of Beam.
        flags: Beam's own options, such as `["--runner=FlinkRunner"]`.

    Raises:
        FileNotFoundError, OSError, ValueError: if the table or the model is not what it should be,
            the output holds other results or another run has it, or no row could be done.
    """
    batch = located(batch)
    content = read_bytes(batch.table)
    pairs, made_by = rows_of_table(content, batch.table), facts_of(batch, content)
    total = len(shards_of(pairs, batch))
    with output.only_run(batch.output):
        output.check_output(batch.output, made_by)
        output.remove_partial(batch.output)
        done = output.whole_shards(batch.output, total)
        print(
            f"{len(pairs)} rows in {total} shards; {len(done)} shards were done before", flush=True
        )
        if len(done) < total:
            counts = run_pipeline(batch, made_by, done, flags)
            print(f"encoded {counts['images']} images for {counts['expressions']} expressions")
        report(batch, len(pairs))


def located(batch):
    """A batch whose paths hold in every folder of this machine."""
    if not is_saved_model(batch.model):
        raise ValueError(
            "wanted a version that keras-cmsa export wrote, such as saved_models/cmsa/1. "
            f"Received: --model {batch.model}"
        )
    handler.read_version(batch.model)  # a worker would end in a traceback
    if batch.sentences_at_once > batch.rows_per_shard:
        raise ValueError(
            "--rows-per-shard must be at least --sentences-at-once. Received: "
            f"{batch.rows_per_shard} and {batch.sentences_at_once}"
        )
    if not is_remote(batch.output):
        check_folder(batch.output)
    table = absolute(batch.table)
    return replace(
        batch,
        table=table,
        model=absolute(batch.model),
        output=absolute(batch.output),
        images=absolute(batch.images or FileSystems.split(table)[0]),
    )


def facts_of(batch, content):
    """What decides on the rows and shards of an output: dict."""
    _, digest = digest_of(Path(batch.model))
    settings = asdict(batch)
    # The same table or model may lie elsewhere; how many images go at once changes no mask.
    for name in ("table", "model", "output", "images_at_once"):
        del settings[name]
    return {"table_sha256": hashlib.sha256(content).hexdigest(), "model_sha256": digest, **settings}


def rows_of_table(content, path):
    """The rows of a table, see `keras_cmsa.data.readers.pairs.numbered`.

    Args:
        content: `bytes` of the file.
        path: its path; one that ends in `.parquet` is Parquet, any other CSV.

    Raises:
        ValueError: if it is not such a table.
    """
    if not path.lower().endswith(".parquet"):
        return numbered([row for _, row in rows_of(content, path, ASKED)], path)
    try:
        table = parquet.read_table(io.BytesIO(content), columns=list(ASKED))
        columns = [table[name].cast(pyarrow.string()).to_pylist() for name in ASKED]
    except (pyarrow.ArrowException, LookupError) as error:
        raise ValueError(
            f"{path}: wanted Parquet with the columns {', '.join(ASKED)} of text. {error}"
        ) from None
    # What is missing is an empty text, as in CSV, and its row fails alone.
    return numbered([dict(zip(ASKED, (x or "" for x in row))) for row in zip(*columns)], path)


def shards_of(pairs, batch):
    """Cuts rows into shards, in the order in which their images first appear.

    Args:
        pairs: rows, see `rows_of_table`.
        batch: `Batch`.

    Returns:
        List of shards, lists of `Piece`: the rows of an image lie in as few pieces as can be.
    """
    shards, size = [], 0
    for rows in by_image(pairs).values():
        for start in range(0, len(rows), batch.sentences_at_once):
            piece = handler.Piece(rows[start : start + batch.sentences_at_once])
            size += len(piece.rows)
            if not shards or size > batch.rows_per_shard:
                shards.append([])
                size = len(piece.rows)
            shards[-1].append(piece)
    return shards


def run_pipeline(batch, made_by, done, flags):
    """Segments the shards whose numbers are not in `done`; gives Beam's counters, a dict."""
    options = PipelineOptions([*FLAGS, *flags])
    pipeline = beam.Pipeline(options=options)
    _ = (
        pipeline
        # A worker reads the table, for which the graph of a pipeline is too small.
        | beam.Create([batch])
        | "Cut" >> beam.FlatMap(missing_shards, made_by, done)
        | beam.Reshuffle()
        | "Read" >> beam.Map(read_shard, batch)
        | RunInference(handler.ShardHandler(batch.model, batch.images_at_once))
        | "Write" >> beam.Map(output.write_shard, batch.output)
    )
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace(handler.__name__))["counters"]
    return {"images": 0, "expressions": 0} | {x.key.metric.name: x.result for x in found}


def missing_shards(batch, made_by, done):
    """`(name, pieces)` of each shard whose number is not in `done`."""
    content = read_bytes(batch.table)
    if facts_of(batch, content) != made_by:
        raise ValueError(f"{batch.table} or the model is another to a worker than to the start")
    shards = shards_of(rows_of_table(content, batch.table), batch)
    for number, shard in enumerate(shards):
        if number not in done:
            yield output.name_of(number, len(shards)), shard


def read_shard(shard, batch):
    """A shard `(name, pieces)` with the files of its images."""
    name, pieces = shard
    with ThreadPool(READERS) as readers:
        return name, readers.map(lambda piece: with_file(piece, batch), pieces)


def with_file(piece, batch):
    """A piece with the file of its image, or with the reason why there is none."""
    try:
        address = address_of(piece.rows[0]["image"], batch)
        file = read_bytes(address, MAX_BYTES)
        if len(file) > MAX_BYTES:
            raise ValueError(f"{address}: wanted an image file of at most {MAX_BYTES:,} bytes")
        return piece._replace(file=file, address=address)
    except Exception as error:  # each file system has errors of its own
        return piece._replace(reason=str(error) or type(error).__name__)


def address_of(image, batch):
    """The address of a row's image, by the rule of `path_of`."""
    path_of(Path(batch.images), image, batch.table, batch.outside)
    image = image.strip()
    if batch.outside and (is_remote(image) or os.path.isabs(image)):
        return image
    return FileSystems.join(batch.images, image)


def report(batch, rows):
    """Prints what became of the rows.

    Raises:
        ValueError: if rows are missing, or no row could be done.
    """
    counts = output.count_rows(batch.output)
    good, bad = counts[output.RESULTS], counts[output.DEAD_LETTERS]
    if good + bad != rows:
        raise ValueError(
            f"{batch.output} has {good + bad} of {rows} rows: start again to do the rest"
        )
    print(f"{good} of {rows} rows segmented: {FileSystems.join(batch.output, output.RESULTS)}")
    letters = FileSystems.join(batch.output, output.DEAD_LETTERS)
    if bad:
        print(f"{bad} rows could not be, and why: {letters}")
    if not good:
        raise ValueError(f"no row of {batch.table} could be segmented: see {letters}")
