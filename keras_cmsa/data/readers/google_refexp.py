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
    check_one_object,
    describe_missing_images,
    field,
    image_size,
    read_entries,
    read_json,
    records_of_ref,
    select_splits,
    warn_each,
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
        splits: names of the splits to read, `"train"` or `"val"`; None reads those that are there.
        on_bad: `"raise"` stops at the first bad annotation; `"skip"` leaves bad ones out and warns;
            a list takes a line about each instead.

    Returns:
        `{split: [Record, ...]}`: one record per expression. `ref_id` is COCO's annotation id.

    Raises:
        FileNotFoundError: if there is no file at all, or none of a wanted split.
        ValueError: if a file is damaged or, with `"raise"`, an annotation is bad.
    """
    root = Path(root)
    paths = _paths(root, splits)
    contents = {split: _read(path, root) for split, path in paths.items()}
    entries = [
        (split, content, f"{paths[split]}, annotation {annotation_id}", annotation_id, annotation)
        for split, content in contents.items()
        for annotation_id, annotation in content["annotations"]
    ]
    records = read_entries(entries, partial(_records_of, root, {}), on_bad, "annotations")
    warn_each(describe_missing_images(records, root / COCO.folder, COCO.source))
    return select_splits(splits, records, root)


def _paths(root, splits):
    """`{split: file}`; the aligned file if there are both."""
    paths = {}
    for split in splits or SPLITS:
        for name in (f"{FILE_NAME}_coco_aligned.json", f"{FILE_NAME}.json"):
            if (root / name.format(split)).is_file():
                paths.setdefault(split, root / name.format(split))
    if not paths or (splits and len(paths) < len(splits)):
        present = ", ".join(sorted(path.name for path in root.glob("google_refexp_*.json")))
        raise FileNotFoundError(
            f"wanted {FILE_NAME.format('<split>')}_coco_aligned.json in {root} for the splits "
            f"{', '.join(splits or SPLITS)}. Received: {present or 'none'}"
        )
    return paths


def _read(path, root):
    """Reads a file and adds COCO's outlines.

    Returns:
        `{"annotations": [(id, entry), ...], "images": {id: entry}, "refexps": {id: entry}}`.
    """
    content = read_json(path)
    annotations = _with_ids(content, "annotations", "annotation_id", path)
    refexps = dict(_with_ids(content, "refexps", "refexp_id", path))
    if path.stem.endswith("_coco_aligned"):
        images = dict(_with_ids(content, "images", "image_id", path))
    else:
        coco_path = _coco_annotations(root, path)
        coco = read_json(coco_path)
        images = dict(_with_ids(coco, "images", "id", coco_path))
        outlines = dict(_with_ids(coco, "annotations", "id", coco_path))
        # COCO's entries replace Google's, which add only the ids of their expressions.
        annotations = [
            (
                annotation_id,
                {**outlines.get(annotation_id, {}), "refexp_ids": entry.get("refexp_ids")},
            )
            for annotation_id, entry in annotations
        ]
    return {"annotations": annotations, "images": images, "refexps": refexps}


def _coco_annotations(root, path):
    for folder in COCO_FOLDERS:
        found = root / folder / "instances_train2014.json"
        if found.is_file():
            return found
    raise FileNotFoundError(
        f"{path} has no outlines: wanted {path.stem}_coco_aligned.json or COCO's "
        f"instances_train2014.json in {root}. Received: neither"
    )


def _with_ids(content, key, id_key, path):
    """`[(id, entry), ...]` of a table, which is a list of entries or a dict by id."""
    entries = field(content, key, list | dict, path)
    places = list(entries) if type(entries) is dict else range(len(entries))
    return [
        (field(entries[place], id_key, int, f"{path}, {key} entry {place}"), entries[place])
        for place in places
    ]


def _records_of(root, objects, located_entry, limit):
    """One record per expression of an annotation, at most `limit`."""
    split, content, where, annotation_id, entry = located_entry
    image_id = field(entry, "image_id", int, where)
    if image_id not in content["images"]:
        raise ValueError(f"{where}: image {image_id} is not in the file")
    image = content["images"][image_id]
    size = image_size(image, f"{where}, image")
    segmentation = field(entry, "segmentation", list | dict, where)
    check_one_object(objects, image_id, annotation_id, segmentation, where)
    path = image_path(image, image_id, root, COCO, where)
    sentences = []
    for refexp_id in field(entry, "refexp_ids", list, where):
        if type(refexp_id) is not int or refexp_id not in content["refexps"]:
            raise ValueError(f"{where}: expression {refexp_id!r:.40} is not in the file")
        sentences.append((refexp_id, field(content["refexps"][refexp_id], "raw", str, where)))
    return records_of_ref(
        sentences,
        limit,
        where,
        size,
        image_path=path,
        image_id=image_id,
        ref_id=annotation_id,
        split=split,
        segmentation=segmentation,
    )
