"""Offline inference at scale: a table of images and expressions through Apache Beam. Extra `beam`.

The table is that of `keras-cmsa segment --csv`. An image with all of its expressions is one element
of the pipeline, so that it is read and encoded once. Each row ends in one of two places:

    <output>/results/part-00000-of-00004.parquet    rows with a mask
    <output>/failures.csv    rows without, each with its reason; a table to run again
"""

import contextlib
import csv
import io
import json
import os
import warnings
from pathlib import Path

import apache_beam as beam
import pyarrow
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from keras_cmsa.data.readers.pairs import ASKED, by_image, pairs_of, path_of
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.presets.files import opened
from keras_cmsa.utils.csv_files import rows_of
from keras_cmsa.utils.files import check_folder, new_folder
from keras_cmsa.utils.messages import in_words

MAX_BYTES = 300_000_000  # of a file that is read: 50 million pixels uncompressed take half of it
OPTIONS = (
    "--runner=FnApiRunner",  # this machine; Beam's own choice may download another program
    "--default_sdk_harness_log_level=WARNING",
)
FAILURES = "failures.csv"
FAILURE_COLUMNS = ("row", *ASKED, "reason")
SCHEMA = pyarrow.schema(
    {
        "row": pyarrow.int64(),
        **dict.fromkeys(ASKED, pyarrow.string()),
        "score": pyarrow.float32(),
        "exists": pyarrow.bool_(),
        "box": pyarrow.list_(pyarrow.int32()),
        "area": pyarrow.int64(),
        "segmentation": pyarrow.string(),
    }
)


def segment_batch(table, model, output, images=None, outside=False, options=()):
    """Segments every row of a table.

    Args:
        table: CSV with the columns `image` and `expression`. It, the images and the output may be
            on any file system of Beam.
        model: as `Predictor.from_preset` takes it; every worker sees the folder.
        output: folder that is not there yet. A local one gets its name when it is whole.
        images: folder that paths of images are relative to; `None`: that of the table.
        outside: take images outside of that folder too.
        options: list of Beam's own options, such as `["--runner=FlinkRunner"]`.

    Raises:
        FileNotFoundError, ValueError: if the table or the model is not what it should be, the
            output is there, Beam stops, or no row could be segmented.
    """
    table, output, model = absolute(table), absolute(output), absolute(opened(model)[0])
    images = absolute(images or FileSystems.split(table)[0])
    count = len(pairs_of(read_bytes(table), table))  # here too: a worker's errors are long
    handler = PredictorHandler(model, images, table, outside)
    with new_output(output) as folder:
        run_pipeline(table, handler, str(folder), options)
    failures = FileSystems.join(output, FAILURES)
    bad = len(rows_of(read_bytes(failures), failures, FAILURE_COLUMNS))
    print(f"{count - bad} of {count} rows segmented: {output}")
    if bad:
        print(f"{bad} rows could not be, and why: {failures}")
    if bad == count:
        raise ValueError(f"no row of {table} could be segmented")


def run_pipeline(table, handler, folder, options):
    """Segments a table into a folder."""
    pipeline = beam.Pipeline(options=PipelineOptions([*OPTIONS, *options]))
    results, failures = (
        pipeline
        | beam.Create([table])
        | "Group" >> beam.FlatMap(lambda path: by_image(pairs_of(read_bytes(path), path)).values())
        | beam.Reshuffle()
        | RunInference(handler)
        | beam.FlatMap(lambda answers: answers)
        | beam.Partition(lambda answer, _: int("reason" in answer), 2)
    )
    path = FileSystems.join(folder, "results", "part")
    results | "Results" >> beam.io.WriteToParquet(path, SCHEMA, file_name_suffix=".parquet")
    path, head = FileSystems.join(folder, FAILURES), ",".join(FAILURE_COLUMNS)
    to_csv = beam.io.WriteToText(path, shard_name_template="", header=head)
    failures | beam.Map(as_csv) | "Failures" >> to_csv
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:  # runners wrap what a worker raised, with its traceback
        raise ValueError(f"Beam stopped: {str(error).strip().splitlines()[-1]}") from error


class PredictorHandler(ModelHandler):
    """Answers rows about one image with a `Predictor`, for Beam's `RunInference`.

    Args:
        model: folder of a preset or an export.
        images, table, outside: as in `segment_batch`; text.
    """

    def __init__(self, model, images, table, outside):
        super().__init__()
        self.model, self.images, self.table, self.outside = model, images, table, outside

    def batch_elements_kwargs(self):
        return {"min_batch_size": 1, "max_batch_size": 1}  # an image: it may have many expressions

    def load_model(self):
        return Predictor.from_preset(self.model)

    def run_inference(self, batch, model, inference_args=None):
        for rows in batch:
            try:
                yield answers_of(model, self.read(rows[0]["image"]), rows)
            except Exception as error:  # each file system has errors of its own
                yield [{**row, "reason": reason_of(error)} for row in rows]

    def read(self, image):
        """The pixels of an image as the table names it: `(H, W, 3)` uint8."""
        path_of(Path(self.images), image, self.table, self.outside)
        path = image.strip()
        if not (self.outside and "://" in path):
            path = FileSystems.join(self.images, path)
        file = io.BytesIO(read_bytes(path))
        file.name = path  # in errors
        return read_image(file)


def answers_of(predictor, pixels, rows):
    """Rows about one image with the columns of `SCHEMA`, or with a `reason`: list of dicts."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown words of each row would drown the rest
            predictions = predictor(pixels, [row["expression"] for row in rows])
    except Exception as error:  # a bad expression, or say a want of memory: not the others' fault
        if len(rows) == 1:
            return [{**rows[0], "reason": reason_of(error)}]
        halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        return [answer for half in halves for answer in answers_of(predictor, pixels, half)]
    return [
        {
            **row,
            "score": prediction.score,
            "exists": prediction.exists,
            "box": prediction.box,
            "area": int(prediction.mask.sum()),
            "segmentation": json.dumps(prediction.run_lengths),
        }
        for row, prediction in zip(rows, predictions)
    ]


def reason_of(error):
    """The first line of an error, in words."""
    return in_words(error).split("\n")[0] or type(error).__name__


def as_csv(row):
    """A line of `failures.csv`, without its end."""
    line = io.StringIO()
    csv.writer(line).writerow(row[name] for name in FAILURE_COLUMNS)
    return line.getvalue().removesuffix("\r\n")


def read_bytes(path):
    """The bytes of a file as they are: no ending makes Beam unpack them."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: wanted a file of at most {MAX_BYTES:,} bytes. Received: more")
    return content


def absolute(path):
    """A path as `str`; a local one is absolute, since a worker may run in another folder."""
    return str(path) if "://" in str(path) else os.path.abspath(path)


def new_output(output):
    """The folder to write, as a context; a local one is renamed to `output` when it is whole."""
    if os.path.lexists(output) or FileSystems.match([f"{output}/*"])[0].metadata_list:
        raise ValueError(f"`output` must be a folder that is not there yet. Received: {output}")
    if set(output) & set("*?["):  # a pattern, to Beam
        raise ValueError(f"`output` must have no *, ? and [ in its path. Received: {output}")
    if "://" in output:
        return contextlib.nullcontext(output)
    check_folder(output)
    return new_folder(output)
