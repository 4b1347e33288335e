"""Offline inference: a table of images and expressions to masks, on one machine or a cluster.

    python recipes/batch_segment.py pairs.csv --model runs/demo --output results
    python recipes/batch_segment.py pairs.csv --model runs/demo --output results \
        -- --direct_running_mode multi_processing --direct_num_workers 4
    python recipes/batch_segment.py gs://B/pairs.csv --images gs://B/photos --output gs://B/results \
        --model /models/demo -- --runner FlinkRunner --flink_master HOST:8081

The table is that of keras-cmsa segment --csv. Each image is read and encoded once for its expressions. Masks
go to results/*.parquet as COCO's run lengths, other rows to failures.csv with the reason; docs/serving.md has
the columns, and the flags of Flink, Spark and Dataflow. After a kill, run the command again: the output is
whole or not there.

pip install "keras-cmsa[tensorflow,beam]". Cost: that of the model on each image and expression; each worker is
a process that loads Keras and the model.
"""

from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.cli.command_line import run_script
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.silence import import_keras, silenced


def main(
    table: str,
    *beam: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str,
    output: str,
    images: str | None = None,
    outside: Annotated[bool, Parameter(negative=())] = False,
):
    """Segment every row of a table on Apache Beam.

    Parameters
    ----------
    table
        CSV with the columns image and expression.
    beam
        Beam's own options, behind --, such as -- --runner FlinkRunner.
    model
        A preset, or what keras-cmsa export wrote. Loading an export runs its graph: take only those you trust.
    output
        Folder of the results, which is not there yet.
    images
        Folder that the paths of images are relative to; that of the table unless it is given.
    outside
        Take images outside of that folder too: absolute paths, addresses, and those with a "..".
    """
    if beam and not beam[0].startswith("-"):
        raise ValueError(f"wanted options of Beam, behind --. Received: {beam[0]!r}")
    with silenced():  # of Google's libraries, which Beam finds to be missing
        require("apache_beam", "beam", "A batch")
    import_keras()
    from keras_cmsa.serving.batch import segment_batch

    segment_batch(table, model, output, images, outside, beam)


if __name__ == "__main__":
    run_script(main)
