"""Every data set by one name and one folder, as the recipes and the command line take them."""

from pathlib import Path

from keras_cmsa.data.google_refexp import read_google_refexp
from keras_cmsa.data.refer import IMAGES, read_refer
from keras_cmsa.data.referit import read_referit
from keras_cmsa.data.shards import NAME, config_name, read_shards
from keras_cmsa.data.table import SUFFIXES, read_table

DATASETS = (*IMAGES, "refexp", "referit")


def read_records(root, dataset="refcoco", split_owner="unc", splits=None, on_bad="raise"):
    """Read a data set, whatever its layout.

    Args:
        root: the folder that holds it; or the file of a table of your own (`.csv`, `.jsonl`), for
            which `dataset` and `split_owner` do not matter; or a folder of TFDS data sets that
            `keras-cmsa prepare` wrote, where `dataset` may be the name of a config too.
        dataset: `"refcoco"`, `"refcoco+"`, `"refcocog"` or `"refclef"` in REFER's layout,
            `"refexp"` for the Google Refexp release, `"referit"` for the ReferIt release.
        split_owner: whose splits, in REFER's layout: `"unc"`, `"google"`, `"umd"` or `"berkeley"`.
        splits: names of the splits wanted; None for all there are.
        on_bad: `"raise"` or `"skip"`, as in `read_refer`.

    Returns:
        `{split: [Record, ...]}`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, the data set is unknown, or a split wanted is not there.
    """
    root = Path(root)
    if root.suffix in SUFFIXES and not root.is_dir():
        return read_table(root, splits, on_bad)
    if (root / NAME).is_dir():
        return read_shards(root, config_name(dataset, split_owner), splits)
    if dataset == "refexp":
        return read_google_refexp(root, splits, on_bad)
    if dataset == "referit":
        return read_referit(root, splits, on_bad)
    if dataset in IMAGES:
        return read_refer(root, dataset, split_owner, splits, on_bad)
    raise ValueError(f"wanted a dataset of {', '.join(DATASETS)}; received: {dataset!r}")
