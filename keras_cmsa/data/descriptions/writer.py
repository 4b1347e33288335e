"""Writes a table of expressions, masks and photos from COCO's instances, which have no sentences."""

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from keras_cmsa.data.descriptions.rules import Thing, describe
from keras_cmsa.data.masks import rasterize, run_lengths
from keras_cmsa.data.readers.coco import coco_tables, id_among, parts_of
from keras_cmsa.data.readers.entries import field, image_size, read_json, warn_each
from keras_cmsa.data.readers.table import COLUMNS
from keras_cmsa.preprocessing.reading import TURNS, read_stored_size
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.csv_files import write_rows
from keras_cmsa.utils.files import new_folder
from keras_cmsa.utils.names import path_inside

# Why an object has no sentence.
CROWD, BAD_MASK, SMALL, ALIKE = "a crowd", "without a mask", "too small", "too like another"


class Photo(NamedTuple):
    """A photo and its annotations.

    Attributes:
        name: path of the file inside the folder of the photos.
        size: `(height, width)` in pixels of its masks.
        turn: the EXIF orientation that turns the masks upright.
        objects: list of `(where, words of the class, annotation)`.
    """

    name: str
    size: tuple[int, int]
    turn: int
    objects: list[tuple[str, str, Any]]


def describe_instances(
    instances, images, output, val=0.1, most=3, min_area=0.005, seed=0, progress=False
):
    """Writes a table of sentences, each true of exactly one object of its photo.

    Photos are linked into the folder, or copied where the disk has no links. The split and the
    sentences of a photo depend on its name and its annotations alone.

    Args:
        instances: JSON file in COCO's form with categories.
        images: folder of the photos.
        output: folder for `table.csv` and `images/`, empty or not there.
        val: probability of a photo to be in val; the others are in train.
        most: largest number of sentences of an object.
        min_area: fraction of the photo; what is smaller has no sentence, but may be meant by one.
        seed: integer.
        progress: whether to show a progress bar in the terminal.

    Returns:
        `Counter` of `"photos"`, of those in `"train"` and `"val"`, of `"sentences"`, of objects that
        are `"described"`, and of the others by reason: `CROWD`, `BAD_MASK`, `SMALL`, `ALIKE`.

    Raises:
        FileNotFoundError: if the file or a photo is missing.
        FileExistsError: if the output folder holds something.
        ValueError: if the file is not as said, or a photo is not as declared in it.
    """
    images, output = Path(images), Path(output)
    if output.is_dir() and any(output.iterdir()):
        raise FileExistsError(
            f"wanted an empty or new folder. Received: {output}, which holds something. Choose "
            "another name or remove it"
        )
    photos = read_photos(Path(instances), images)
    counts, faults = Counter(photos=len(photos)), []
    with new_folder(output) as folder:
        with open(folder / "table.csv", "w", newline="", encoding="utf-8") as file:
            write_rows(file, [COLUMNS])
            for photo in track(photos, "describing", disable=not progress):
                rng = random.Random(f"{seed} {photo.name}")
                split = "val" if rng.random() < val else "train"
                rows = _rows(photo, most, min_area, rng, counts, faults)
                if rows:
                    _bring(images / photo.name, folder / "images" / photo.name)
                    write_rows(file, [(f"images/{photo.name}", *row, split) for row in rows])
                    counts[split] += 1
        if output.is_dir():
            output.rmdir()
    if faults:
        warn_each(f"{len(faults):,} masks cannot be drawn. The first: {'; '.join(faults[:5])}")
    return counts


def read_photos(path, images):
    """Reads COCO's instances and the headers of their photos: list of `Photo` with annotations.

    Raises:
        FileNotFoundError, ValueError: as in `describe_instances`.
    """
    entries, categories, annotations = coco_tables(read_json(path), path)
    names = {id: _class_name(entry, f"{path}, category {id}") for id, entry in categories.items()}
    objects = {
        id: [(where, names[id_among(names, x, "category_id", where)], x) for where, x in pairs]
        for id, pairs in annotations.items()
    }
    files = {}
    for id in objects:
        where = f"{path}, image {id}"
        files[id] = path_inside(images, field(entries[id], "file_name", str, where), where)
    missing = [file for file in files.values() if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(files)} photos are missing, first {missing[0]}. Give the "
            "folder of the photos as `images`"
        )
    for file, number in Counter(files.values()).items():
        if number > 1:
            raise ValueError(f"{path}: wanted one image for each photo. Received: {file} twice")
    return [
        _photo(file, images, image_size(entries[id], f"{path}, image {id}"), objects[id])
        for id, file in files.items()
    ]


def _class_name(category, where):
    name = field(category, "name", str, where)
    words = split_words(name.replace("_", " "))
    if not words:
        raise ValueError(f"{where}: wanted a name with a word. Received: {name!r:.100}")
    return " ".join(words)


def _photo(file, images, size, objects):
    stored, orientation = read_stored_size(file)
    if size not in (stored, stored[::-1] if orientation >= 5 else stored):
        raise ValueError(
            "{}: wanted a photo of the annotations' size, {} x {} (height x width). Received: "
            "{} x {}".format(file, *size, *stored)
        )
    # As in `Record`, masks of the size that is stored lie over the pixels as they are stored.
    turn = orientation if size == stored else 1
    return Photo(file.relative_to(images).as_posix(), size, turn, objects)


def _rows(photo, most, min_area, rng, counts, faults):
    """`[(sentence, run lengths), ...]` of a photo; counts its objects and collects bad masks."""
    things, masks, uncounted = [], [], []
    for where, name, annotation in photo.objects:
        # JSON made from CSV or XML has all values as text.
        is_crowd = str(annotation.get("iscrowd") or 0).lower() not in ("0", "false")
        try:
            mask = None if is_crowd else _mask(annotation, photo, where)
            reason = CROWD
        except ValueError as error:
            mask, reason = None, BAD_MASK
            faults.append(str(error))
        if mask is None:
            counts[reason] += 1
            uncounted.append(name)
        else:
            things.append(_thing(name, mask, min_area))
            masks.append(json.dumps(run_lengths(mask)))
    sentences = describe(things, uncounted, most, rng)
    counts["described"] += len(sentences)
    counts["sentences"] += sum(map(len, sentences.values()))
    for i, thing in enumerate(things):
        if i not in sentences:
            counts[ALIKE if thing.counts else SMALL] += 1
    return [(sentence, masks[i]) for i in sorted(sentences) for sentence in sentences[i]]


def _mask(annotation, photo, where):
    """The mask of an annotation over the upright photo."""
    mask = rasterize(parts_of(annotation, where), *photo.size, where)
    return (
        np.asarray(Image.fromarray(mask).transpose(TURNS[photo.turn])) if photo.turn > 1 else mask
    )


def _thing(name, mask, min_area):
    edges = []
    for axis in (0, 1):
        inside = np.flatnonzero(mask.any(axis))
        edges.append((inside[0] / max(mask.shape), (inside[-1] + 1) / max(mask.shape)))
    return Thing(name, tuple(edges), mask.mean(), mask.mean() >= min_area)


def _bring(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)  # the file itself, where `source` is a link
    except OSError:
        shutil.copyfile(source, target)
