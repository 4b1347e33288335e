"""`keras-cmsa prepare`: what is wrong with a data set."""

from pathlib import Path

from keras_cmsa.cli.options import DataDir, Dataset, OwnData, SplitOwner
from keras_cmsa.utils.files import check_file


def prepare(
    data_dir: DataDir,
    *,
    dataset: Dataset = "refcoco",
    split_owner: SplitOwner = "unc",
    own: OwnData = OwnData(),  # frozen, so it can be shared  # noqa: B008
    problems: Path | None = None,
):
    """Open every image and mask of a data set, and say what is wrong with which.

    It also says which images of train the other splits hold out, and other data sets in the folder.

    Parameters
    ----------
    problems
        Write every expression that cannot be used, with the reason, to this CSV file. A row of a
        table or a ref that cannot be read counts as one expression; the reason names its place.
    """
    check_file(problems, source=data_dir)
    from keras_cmsa.data.check import check_records, problems_table, write_problems
    from keras_cmsa.data.leakage import held_out_images, remove_held_out
    from keras_cmsa.data.record import describe_counts
    from keras_cmsa.data.sources import read_records

    left_out = []
    records = read_records(data_dir, dataset, split_owner, on_bad=left_out, **vars(own))
    if "train" in records:
        held_out = held_out_images(data_dir, dataset, split_owner, records)
        remove_held_out(records["train"], held_out, names=[])
    good, bad = check_records([r for split in records.values() for r in split], progress=True)
    bad = [*((None, f"entry cannot be read: {reason}") for reason in left_out), *bad]
    print(describe_counts({split: [r for r in good if r.split == split] for split in records}))
    print(f"{len(bad)} of {len(good) + len(bad)} expressions cannot be used")
    if missing := " and ".join(sorted({"train", "val"} - {record.split for record in good})):
        print(f"none is in {missing}, which a training needs")
    if bad:
        print(problems_table(bad))
    if problems:
        write_problems(problems, bad)
    if not good:
        raise ValueError(f"no usable expression in {data_dir}")
