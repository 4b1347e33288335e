"""Reads Google Refexp, the release of G-Ref by its authors: JSON instead of REFER's pickles.

    <root>/google_refexp_train_201511_coco_aligned.json     as the toolbox's setup.py leaves it
    <root>/google_refexp_val_201511_coco_aligned.json
    <root>/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg

The files as downloaded, without `_coco_aligned`, have no outlines; they are read with COCO's
`instances_train2014.json` in the same folder, in `annotations/` or in `external/coco/annotations/`.
Layout: https://github.com/mjhucla/Google_Refexp_toolbox
"""

from functools import partial
from pathlib import Path

from keras_cmsa.data.reading import (
    checked_on_bad,
    checked_sentences,
    field,
    gathered,
    left_out,
    missing_images,
    only,
    read_json,
    warn_of,
)
from keras_cmsa.data.records import Record
from keras_cmsa.data.refer import COCO, image_path
from keras_cmsa.text import split_words

SPLITS = ("train", "val")
NAME = "google_refexp_{}_201511"
COCO_FOLDERS = ("", "annotations", "external/coco/annotations")


def read_google_refexp(root, splits=None, on_bad="raise"):
    """Read the release of Google Refexp, with or without COCO's outlines in it.

    The val split is of images of COCO's train2014 too, and shares some of them with train. Warns
    of refs left out and of images that are missing.

    Args:
        root: the folder with the JSON files and `images/`.
        splits: of `"train"` and `"val"` those wanted; None for those that are there.
        on_bad: `"raise"` stops at the first bad annotation; `"skip"` leaves bad ones out and warns.

    Returns:
        `{split: [Record, ...]}`: a record per expression. `ref_id` is COCO's annotation id.

    Raises:
        FileNotFoundError: if no file, or none of a split wanted, is there.
        ValueError: if a file is damaged or, with `"raise"`, an annotation in it is bad.
    """
    checked_on_bad(on_bad)
    root = Path(root)
    paths = _paths(root, splits)
    contents = {split: _read(path, root) for split, path in paths.items()}
    entries = [
        (split, content, f"{paths[split]}, annotation {annotation_id}", annotation_id, annotation)
        for split, content in contents.items()
        for annotation_id, annotation in content["annotations"]
    ]
    records, problems = gathered(entries, partial(_records_of, root), on_bad)
    warn_of(
        left_out(problems, len(entries), "annotations"),
        missing_images(records, root / COCO.folder, COCO.source),
    )
    return only(splits, records, root)


def _paths(root, splits):
    """`{split: file}`, the aligned one where there are both."""
    paths = {}
    for split in splits or SPLITS:
        for name in (f"{NAME}_coco_aligned.json", f"{NAME}.json"):
            if (root / name.format(split)).is_file():
                paths.setdefault(split, root / name.format(split))
    if not paths or (splits and len(paths) < len(splits)):
        present = ", ".join(sorted(path.name for path in root.glob("google_refexp_*.json")))
        raise FileNotFoundError(
            f"Wanted {NAME.format('<split>')}_coco_aligned.json in {root} for the splits "
            f"{', '.join(splits or SPLITS)}; there is: {present or 'none'}"
        )
    return paths


def _read(path, root):
    """`annotations` as a list of `(id, entry)`, with outlines; `images` and `refexps` by id."""
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
        # Google's own entries hold the expressions, and only those are wanted of them.
        annotations = [
            (key, {**outlines.get(key, {}), "refexp_ids": entry.get("refexp_ids")})
            for key, entry in annotations
        ]
    return {"annotations": annotations, "images": images, "refexps": refexps}


def _coco_annotations(root, path):
    for folder in COCO_FOLDERS:
        found = root / folder / "instances_train2014.json"
        if found.is_file():
            return found
    raise FileNotFoundError(
        f"{path} has no outlines: wanted {path.stem}_coco_aligned.json, or COCO's "
        f"instances_train2014.json in {root}"
    )


def _with_ids(content, key, id_key, path):
    """`[(id, entry), ...]` of a table: a list of entries, or a dict by the id as text."""
    entries = field(content, key, list | dict, path)
    places = list(entries) if type(entries) is dict else range(len(entries))
    return [
        (field(entries[place], id_key, int, f"{path}, {key} entry {place}"), entries[place])
        for place in places
    ]


def _records_of(root, numbered, room):
    split, content, where, annotation_id, entry = numbered
    image_id = field(entry, "image_id", int, where)
    if image_id not in content["images"]:
        raise ValueError(f"{where}: image {image_id} is not in the file")
    image = content["images"][image_id]
    height, width = (field(image, side, int, f"{where}, image") for side in ("height", "width"))
    if height < 1 or width < 1:
        raise ValueError(f"{where}: image of {height} x {width} pixels; wanted at least 1")
    segmentation = field(entry, "segmentation", list | dict, where)
    path = image_path({**image, "id": image_id}, root, COCO, where)
    records = []
    for refexp_id in checked_sentences(field(entry, "refexp_ids", list, where), room, where):
        if type(refexp_id) is not int or refexp_id not in content["refexps"]:
            raise ValueError(f"{where}: expression {refexp_id!r:.40} is not in the file")
        raw = field(content["refexps"][refexp_id], "raw", str, where)
        records.append(
            Record(
                image_path=path,
                image_id=image_id,
                ref_id=annotation_id,
                sentence_id=refexp_id,
                raw=raw,
                expression=" ".join(split_words(raw)),
                split=split,
                height=height,
                width=width,
                segmentation=segmentation,
            )
        )
    return records
