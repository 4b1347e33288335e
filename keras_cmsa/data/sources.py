"""Reads any data set, given its name and its folder, or a file of one's own."""

import re
from pathlib import Path

from keras_cmsa.data.readers.coco import COCO_JSON, ROBOFLOW
from keras_cmsa.data.readers.google_refexp import read_google_refexp
from keras_cmsa.data.readers.label_studio import LABEL_STUDIO
from keras_cmsa.data.readers.labelme import LABELME
from keras_cmsa.data.readers.parquet import read_parquet
from keras_cmsa.data.readers.phrasecut import read_phrasecut
from keras_cmsa.data.readers.phrases import read_phrases
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.readers.referit import read_referit
from keras_cmsa.data.readers.split_files import split_files
from keras_cmsa.data.readers.table import SUFFIXES, read_table

# Data sets of one layout each, in a folder. Any other name is that of a folder in REFER's layout.
RELEASES = {"refexp": read_google_refexp, "referit": read_referit, "phrasecut": read_phrasecut}
# What label tools write.
TOOLS = {"coco": COCO_JSON, "label_studio": LABEL_STUDIO, "labelme": LABELME}

HEAD = 100_000  # bytes of a JSON file that tell its form; LabelMe's image comes last


def read_records(
    root,
    dataset="refcoco",
    split_owner="unc",
    splits=None,
    on_bad="raise",
    instances=None,
    text=None,
    one_each=False,
    images=None,
):
    """Reads a data set of any layout.

    Args:
        root: one of

            - the folder of the data set;
            - data of your own, for which `dataset` and `split_owner` are ignored: a table (`.csv` or
              `.jsonl`); what a label tool writes, which is JSON of COCO, Label Studio or LabelMe, a
              folder of LabelMe's files or an export of Roboflow; rows of Hugging Face in `.parquet`
              or a folder of them.
        dataset: `"refcoco"`, `"refcoco+"`, `"refcocog"`, `"refclef"`, `"grefcoco"` or the name of
            another folder in REFER's layout, `"refexp"` for the Google Refexp release, `"referit"`
            for the ReferIt release, `"phrasecut"`.
        split_owner: who made the splits, in REFER's layout: `"unc"`, `"google"`, `"umd"` or
            `"berkeley"`; `"final"` of Ref-ZOM.
        splits: names of the splits to read; None reads all.
        on_bad: `"raise"`, `"skip"` or a list, as in `read_refer`.
        instances: as in `read_refer`, in REFER's layout.
        text: the field of a label tool's file that has the phrases, as in `read_phrases`.
        one_each: whether to leave out phrases of several objects, likewise.
        images: folder of the images, where they are not beside such a file, and for data sets of
            other names in REFER's layout.

    Returns:
        `{split: [Record, ...]}`.

    Raises:
        FileNotFoundError: if a file is missing.
        ModuleNotFoundError: for `.parquet` without pyarrow.
        ValueError: if a file is damaged, a split is unknown or an argument would be ignored.
    """
    root, form = Path(root), form_of(root)
    if (text or one_each) and form not in TOOLS:
        given = "text" if text else "one_each"
        raise ValueError(f"`{given}` would be ignored: {root} is of no label tool")
    if images is not None and (form == "table" or (form is None and dataset in RELEASES)):
        raise ValueError(f"`images` would be ignored: those of {root} have a place of their own")
    if form in TOOLS:
        return read_phrases(TOOLS[form], root, splits, on_bad, text, one_each, images)
    if form == "parquet":
        return read_parquet(root, splits, on_bad, images)
    if form == "table":
        return read_table(root, splits, on_bad)
    if dataset in RELEASES:
        return RELEASES[dataset](root, splits, on_bad)
    return read_refer(root, dataset, split_owner, splits, on_bad, instances, images)


def form_of(root):
    """The form of data of your own: `"table"`, `"parquet"` or a key of `TOOLS`; None of other data.

    Of a file it reads the beginning alone.
    """
    root = Path(root)
    suffix = root.suffix.lower()
    if root.is_dir():
        source = next(iter(split_files(root).values()))
        if (source / ROBOFLOW).is_file():
            return "coco"
        if any(root.glob("*.parquet")):
            return "parquet"
        first = min(source.glob("*.json"), default=None)
        return "labelme" if first and _form_of_json(first) == "labelme" else None
    if suffix == ".json":
        return _form_of_json(root)
    if suffix == ".parquet":
        return "parquet"
    return "table" if root.is_file() or suffix in SUFFIXES else None


def _form_of_json(path):
    head = b""
    if path.is_file():
        with open(path, "rb") as file:
            head = file.read(HEAD)
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
        return "label_studio"
    return "labelme" if re.search(rb'"shapes"\s*:\s*\[', head) else "coco"
