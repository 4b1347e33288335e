"""`keras-cmsa prepare`: what is wrong with a data set, and its shards."""

from pathlib import Path
from typing import Literal

from keras_cmsa.cli.options import DataDir, Dataset, SplitOwner
from keras_cmsa.utils.files import check_file, check_folder


def prepare(
    data_dir: DataDir,
    *,
    dataset: Dataset = "refcoco",
    split_owner: SplitOwner = "unc",
    output: Path | None = None,
    exclude_images_of: tuple[str, ...] = (),
    file_format: Literal["array_record", "tfrecord"] = "array_record",
    problems: Path | None = None,
):
    """Open every image and mask of a data set, say what is wrong with which, and write shards.

    With an output it can be stopped at any moment and resumes when it is started again.

    Parameters
    ----------
    output
        Write the good expressions as refer_segmentation of TensorFlow Datasets into this folder,
        which training takes as --data-dir.
    exclude_images_of
        Leave images out of train that are held out elsewhere in data_dir: refcoco+, refcocog/umd,
        refcoco/unc/testA, all, ...
    file_format
        array_record for training, tfrecord for tfds.load.
    problems
        Write every expression that has to be skipped, with the reason, to this CSV file. (With an
        output it is there in any case, beside the data set.)
    """
    check_folder(output)
    check_file(problems)
    from keras_cmsa.data.check import problems_table
    from keras_cmsa.data.leakage import held_out_images, remove_held_out
    from keras_cmsa.data.record import describe_counts
    from keras_cmsa.data.shards.prepare import write_skipped
    from keras_cmsa.data.sources import read_records

    records = read_records(data_dir, dataset, split_owner, on_bad="skip")
    if "train" in records:
        held_out = held_out_images(data_dir, dataset, records)
        records["train"] = remove_held_out(records["train"], held_out, exclude_images_of)
    if output:
        source = data_dir, dataset, split_owner, exclude_images_of
        good, bad = write_shards(records, source, output, file_format)
    else:
        good, bad = check(records)
    print(describe_counts(good))
    number = sum(map(len, good.values()))
    print(f"{len(bad)} of {number + len(bad)} expressions skipped")
    if bad:
        print(problems_table(bad))
    if problems:
        write_skipped(problems, bad)
    if not number:
        raise ValueError(f"no usable expression in {data_dir}")


def check(records):
    """The good records by split, and the bad ones with their reasons."""
    from keras_cmsa.data.check import check_records

    flat, bad = check_records([r for split in records.values() for r in split], progress=True)
    return {split: [r for r in flat if r.split == split] for split in records}, bad


def write_shards(records, source, output, file_format):
    """`check`, with the good records as shards of a config named after their source."""
    from absl import logging

    from keras_cmsa.data.refer_segmentation import config_of
    from keras_cmsa.data.shards import prepare

    logging.set_verbosity(logging.ERROR)  # TFDS warns of itself
    return prepare.prepare(records, config_of(*source), output, file_format, progress=True)
