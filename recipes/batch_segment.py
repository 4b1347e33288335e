"""Offline inference: a table of images and expressions to masks, on one machine or a cluster.

    python recipes/batch_segment.py pairs.csv --model saved_models/cmsa/1 --output results
    python recipes/batch_segment.py pairs.csv --model saved_models/cmsa/1 --output results \
        -- --direct_running_mode multi_processing --direct_num_workers 4
    python recipes/batch_segment.py gs://B/pairs.parquet --images gs://B/photos --output gs://B/results \
        --model /models/cmsa/1 -- --runner FlinkRunner --flink_master HOST:8081

A table, CSV or Parquet, has the columns image and expression. Each image is encoded once for its
expressions. The masks go to results/ as COCO's run lengths, rows that cannot be answered to
dead_letters/ with the reason; docs/serving.md has the columns, and the flags of Flink, Spark and Dataflow.
A run that is stopped and started again keeps every shard that was written.

pip install "keras-cmsa[tensorflow,beam]". Cost: that of the model on each image and expression; each worker is
a process that loads TensorFlow and the model.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from keras_cmsa.cli import command_line
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.silence import import_keras

AtLeastOne = Annotated[int, Parameter(validator=Number(gte=1))]


def main(
    table: str,
    *beam: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: Path,
    output: str,
    images: str | None = None,
    outside: Annotated[bool, Parameter(negative=())] = False,
    sentences_at_once: AtLeastOne = 16,
    images_at_once: AtLeastOne = 4,
    rows_per_shard: AtLeastOne = 500,
):
    """Segment every row of a table with an exported model, on Apache Beam.

    Parameters
    ----------
    table
        CSV, or Parquet by its ending, with the columns image and expression.
    beam
        Beam's own options, behind --, such as -- --runner FlinkRunner.
    model
        A version that keras-cmsa export wrote. Loading it runs its graph: take only those you trust.
    output
        Folder of the results. One that a stopped run left is completed.
    images
        Folder that the paths of images are relative to; that of the table unless it is given.
    outside
        Take images outside of that folder too: absolute paths, addresses, and those with a "..".
    sentences_at_once
        The most expressions about an image in one call of the model.
    images_at_once
        Images in one call of the model.
    rows_per_shard
        The most rows of a shard. A stop loses the shards under way.
    """
    if beam and not beam[0].startswith("-"):
        raise ValueError(f"wanted options of Beam, behind --. Received: {beam[0]!r}")
    logging.disable(logging.WARNING)  # of Google's libraries, which Beam finds to be missing
    require("apache_beam", "beam", "A batch")
    logging.disable(logging.NOTSET)
    import_keras()
    from keras_cmsa.serving.batch.pipeline import Batch, segment_batch

    batch = Batch(
        table,
        str(model),
        output,
        images,
        outside,
        sentences_at_once,
        images_at_once,
        rows_per_shard,
    )
    segment_batch(batch, beam)


if __name__ == "__main__":
    app = cyclopts.App()
    app.default(main)
    command_line.run(app, sys.argv[1:], sys.argv[0])
