"""`keras-cmsa`: the package from a terminal. Each command imports what it needs when it runs."""

import sys
import warnings
from pathlib import Path
from typing import Literal

import cyclopts

app = cyclopts.App(
    name="keras-cmsa",
    help="Find, in a photo, the thing that a sentence speaks of. Training is in recipes/, or `train`.",
)

# Imported when asked for.
for _name in ("segment", "evaluate", "explain", "demo", "train", "export", "info"):
    app.command(f"keras_cmsa.commands.{_name}:{_name}")


def main(arguments=None):
    """Runs a command. Bad input ends in one line and exit code 2, without a traceback.

    Args:
        arguments: list of `str`; `None` takes the process' own.
    """
    warnings.formatwarning = lambda message, *_, **__: f"keras-cmsa: {message}\n"
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"keras-cmsa: {error}", file=sys.stderr)
        sys.exit(2)


@app.command
def prepare(
    data_dir: Path,
    *,
    dataset: str = "refcoco",
    split_owner: str = "unc",
    output: Path | None = None,
    exclude_images_of: tuple[str, ...] = (),
    file_format: Literal["array_record", "tfrecord"] = "array_record",
    problems: Path | None = None,
):
    """Open every image and mask of a data set, say what is wrong with which, and write shards.

    With an output it can be stopped at any moment and goes on when it is started again.

    Parameters
    ----------
    data_dir
        REFER root: <dataset>/refs(<split owner>).p, <dataset>/instances.json, images/. Or the folder
        of a release of Google Refexp or ReferIt, or a table of your own (.csv, .jsonl).
    dataset
        refcoco, refcoco+, refcocog or refclef in REFER's layout; refexp; referit.
    split_owner
        Whose splits: unc, google, umd or berkeley.
    output
        Write the good expressions as refer_segmentation of TensorFlow Datasets into this folder,
        which train_*.py take as --data-dir.
    exclude_images_of
        Leave images out of train that are held out elsewhere in data_dir: refcoco+, refcocog/umd,
        refcoco/unc/testA, all, ...
    file_format
        array_record for training, tfrecord for tfds.load.
    problems
        Write every expression that has to be skipped, with the reason, to this CSV file. (With an
        output it is there in any case, beside the data set.)
    """
    from keras_cmsa.data.check import check_records, problems_table
    from keras_cmsa.data.leakage import guard, held_out_images
    from keras_cmsa.data.prepare import prepare as write_shards
    from keras_cmsa.data.prepare import write_skipped
    from keras_cmsa.data.records import describe_counts
    from keras_cmsa.data.sources import read_records

    records = read_records(data_dir, dataset, split_owner, on_bad="skip")
    if "train" in records:
        held_out = held_out_images(data_dir, dataset)
        records["train"] = guard(records["train"], held_out, exclude_images_of)
    if output:
        from absl import logging

        from keras_cmsa.data.refer_segmentation import config_of

        logging.set_verbosity(logging.ERROR)  # TFDS warns of itself
        config = config_of(data_dir, dataset, split_owner, exclude_images_of)
        good, bad = write_shards(records, config, output, file_format, progress=True)
    else:
        flat, bad = check_records([r for split in records.values() for r in split], progress=True)
        good = {split: [r for r in flat if r.split == split] for split in records}
    print(describe_counts(good))
    number = sum(map(len, good.values()))
    print(f"{len(bad)} of {number + len(bad)} expressions skipped")
    if bad:
        print(problems_table(bad))
    if problems:
        write_skipped(problems, bad)
    if not number:
        raise ValueError(f"no usable expression of {dataset} ({split_owner}) in {data_dir}")


@app.command
def synthesize(
    root: Path, *, flavour: Literal["unc", "unc+", "gref", "referit"] = "unc", seed: int = 0
):
    """Draw RefShapes, scenes with unambiguous expressions, as a REFER root.

    Parameters
    ----------
    root
        Folder to write; must not hold other data.
    flavour
        Which data set it mirrors.
    seed
        The same seed gives the same files.
    """
    from keras_cmsa.data.ref_shapes import write_ref_shapes

    write_ref_shapes(root, flavour, seed=seed)


if __name__ == "__main__":
    main()
