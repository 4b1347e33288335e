"""Reads Google Refexp, G-Ref in its authors' own release (JSON, where REFER has pickles).

    <root>/google_refexp_train_201511_coco_aligned.json     written by the toolbox's setup.py
    <root>/google_refexp_val_201511_coco_aligned.json
    <root>/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg

The downloaded files, without `_coco_aligned`, have no outlines. They are read with COCO's
`instances_train2014.json` in the same folder, in `annotations/` or in `external/coco/annotations/`.
Layout: https://github.com/mjhucla/Google_Refexp_toolbox
"""

from functools import partial
from pathlib import Path

from keras_cmsa.data.readers.entries import (
    entries_by_id,
    field,
    files_of_splits,
    image_size,
    located,
    read_entries,
    read_json,
    records_of_ref,
    select_splits,
    selected,
)
from keras_cmsa.data.readers.refer import COCO, image_path

SPLITS = ("train", "val")
FILE_NAME = "google_refexp_{}_201511"  # without the suffix
COCO_FOLDERS = ("", "annotations", "external/coco/annotations")


def read_google_refexp(root, splits=None, on_bad="raise"):
    """Reads the Google Refexp release, with or without COCO's outlines in its files.

    The images of val also come from COCO's train2014, and train and val share some images. Warns
    about refs that are left out and about missing images.

    Args:
        root: the folder with the JSON files and `images/`.
        splits, on_bad: as in `read_refer`; the splits are train and val, an entry is an annotation.

    Returns:
        `{split: [Record, ...]}`: one record per expression. `ref_id` is COCO's annotation id.

    Raises:
        FileNotFoundError, ValueError: as in `read_refer`.
    """
    root = Path(root)
    files = files_of_splits(root, [f"{FILE_NAME}_coco_aligned.json", f"{FILE_NAME}.json"], SPLITS)
    entries = []
    for split, path in select_splits(splits, files, root).items():
        annotations, *tables = _read(path, root)
        entries += [
            (f"{path}, annotation {annotation_id}", split, annotation_id, annotation, *tables)
            for annotation_id, annotation in annotations.items()
        ]
    records = read_entries(entries, partial(_records_of, root), on_bad, "annotations")
    return selected(records, splits, root, root / COCO.folder, COCO.source)


def _read(path, root):
    """The annotations with COCO's outlines, the images and the expressions: `{id: entry}` each."""
    content = read_json(path)
    annotations, refexps = (
        entries_by_id(content, f"{key}s", path, f"{key}_id", int)
        for key in ("annotation", "refexp")
    )
    if len(annotations) < len(content["annotations"]):
        raise ValueError(f"{path}: wanted each annotation_id once. Received: one twice")
    if path.stem.endswith("_coco_aligned"):
        images = entries_by_id(content, "images", path, "image_id", int)
    else:
        places = (root / folder / "instances_train2014.json" for folder in COCO_FOLDERS)
        coco_path = next(filter(Path.is_file, places), None)
        if not coco_path:
            raise FileNotFoundError(
                f"{path} has no outlines: wanted {path.stem}_coco_aligned.json or COCO's "
                f"instances_train2014.json in {root}. Received: neither"
            )
        coco = read_json(coco_path)
        images, outlines = (
            entries_by_id(coco, key, coco_path) for key in ("images", "annotations")
        )
        # COCO's entries replace Google's, which add only the ids of their expressions.
        for annotation_id, entry in annotations.items():
            ids = {"refexp_ids": entry.get("refexp_ids")}
            annotations[annotation_id] = outlines.get(annotation_id, {}) | ids
    return annotations, images, refexps


def _records_of(root, located_entry):
    """A record per expression of an annotation."""
    where, split, annotation_id, entry, images, refexps = located_entry
    image_id = field(entry, "image_id", int, where)
    if image_id not in images:
        raise ValueError(f"{where}: image {image_id} is not in the file")
    return records_of_ref(
        _sentences(entry, refexps, where),
        image_size(images[image_id], f"{where}, image"),
        image_path=image_path(images[image_id], image_id, root, COCO, where),
        image_id=image_id,
        ref_id=annotation_id,
        split=split,
        segmentation=field(entry, "segmentation", list | dict, where),
    )


def _sentences(entry, refexps, where):
    """Yields the expressions of an annotation: `(id, text)`."""
    for place, refexp_id in located(entry, "refexp_ids", int, where, least=1):
        if refexp_id not in refexps:
            raise ValueError(f"{place}: expression {refexp_id} is not in the file")
        yield refexp_id, field(refexps[refexp_id], "raw", str, place)
