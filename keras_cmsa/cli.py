"""`keras-cmsa`: the package from a terminal. Each command imports what it needs when it runs."""

import csv
import sys
import warnings
from pathlib import Path
from typing import Literal

import cyclopts

app = cyclopts.App(
    name="keras-cmsa",
    help="Find, in a photo, the thing that a sentence speaks of. Training is in recipes/.",
)


def main(arguments=None):
    """Runs a command. Bad input ends in one line and exit code 2, without a traceback.

    Args:
        arguments: list of `str`; `None` takes the process' own.
    """
    warnings.formatwarning = lambda message, *_, **__: f"keras-cmsa: {message}\n"
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except (OSError, ValueError) as error:
        print(f"keras-cmsa: {error}", file=sys.stderr)
        sys.exit(2)


@app.command
def prepare(
    data_dir: Path,
    *,
    dataset: str = "refcoco",
    split_owner: str = "unc",
    problems: Path | None = None,
):
    """Open every image and mask of a data set and say what is wrong with which.

    Parameters
    ----------
    data_dir
        REFER root: <dataset>/refs(<split owner>).p, <dataset>/instances.json, images/.
    dataset
        refcoco, refcoco+, refcocog or refclef.
    split_owner
        Whose splits: unc, google, umd or berkeley.
    problems
        Write every expression that has to be skipped, with the reason, to this CSV file.
    """
    from keras_cmsa.data.check import check_records, problems_table
    from keras_cmsa.data.records import describe_counts
    from keras_cmsa.data.refer import read_refer
    from keras_cmsa.files import replaced

    records = read_refer(data_dir, dataset, split_owner, on_bad="skip")
    good, bad = check_records([r for split in records.values() for r in split], progress=True)
    print(describe_counts({split: [r for r in good if r.split == split] for split in records}))
    print(f"{len(bad)} of {len(good) + len(bad)} expressions skipped")
    if bad:
        print(problems_table(bad))
    if problems:
        with replaced(problems) as file:
            rows = csv.writer(file)
            rows.writerow(["split", "image", "ref_id", "sentence_id", "expression", "reason"])
            for r, reason in bad:
                rows.writerow([r.split, r.image_path, r.ref_id, r.sentence_id, r.raw, reason])
    if not good:
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
