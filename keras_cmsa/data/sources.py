"""Reads any data set, given its name and its folder."""

from pathlib import Path

from keras_cmsa.data.readers.google_refexp import read_google_refexp
from keras_cmsa.data.readers.phrasecut import read_phrasecut
from keras_cmsa.data.readers.refer import IMAGES, read_refer
from keras_cmsa.data.readers.referit import read_referit
from keras_cmsa.data.readers.table import is_table, read_table

DATASETS = (*IMAGES, "refexp", "referit", "phrasecut")


def read_records(
    root, dataset="refcoco", split_owner="unc", splits=None, on_bad="raise", instances=None
):
    """Reads a data set of any layout.

    Args:
        root: one of

            - the folder of the data set;
            - a table of your own data (`.csv` or `.jsonl`); `dataset` and `split_owner` are then
              ignored.
        dataset: `"refcoco"`, `"refcoco+"`, `"refcocog"`, `"refclef"` or `"grefcoco"` in REFER's
            layout, `"refexp"` for the Google Refexp release, `"referit"` for the ReferIt release,
            `"phrasecut"`.
        split_owner: who made the splits, in REFER's layout: `"unc"`, `"google"`, `"umd"` or
            `"berkeley"`.
        splits: names of the splits to read; None reads all.
        on_bad: `"raise"`, `"skip"` or a list, as in `read_refer`.
        instances: as in `read_refer`, in REFER's layout.

    Returns:
        `{split: [Record, ...]}`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, or the data set or a split is unknown.
    """
    root = Path(root)
    if is_table(root):
        return read_table(root, splits, on_bad)
    if dataset == "refexp":
        return read_google_refexp(root, splits, on_bad)
    if dataset == "referit":
        return read_referit(root, splits, on_bad)
    if dataset == "phrasecut":
        return read_phrasecut(root, splits, on_bad)
    if dataset in IMAGES:
        return read_refer(root, dataset, split_owner, splits, on_bad, instances)
    raise ValueError(f"dataset must be one of {', '.join(DATASETS)}. Received: {dataset!r}")
