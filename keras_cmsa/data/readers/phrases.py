"""From the annotated images of a label tool to records: which text is the phrase, and which objects
of the image it means.

A reader of a tool's files makes an `AnnotatedImage` of each image, with the tool's own entries in
it. A field of an entry is named as `annotations.caption` or `annotations.attributes.NAME`.
"""

import sys
from collections import defaultdict
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from keras_cmsa.data.readers.entries import (
    check_storable,
    describe_missing_images,
    read_entries,
    select_splits,
    warn_each,
)
from keras_cmsa.data.readers.split_files import hold_out
from keras_cmsa.data.record import Record
from keras_cmsa.preprocessing.words import split_words


class AnnotatedObject(NamedTuple):
    """An object of an image.

    Attributes:
        where: file and entry, the first words of an error.
        entries: `{table: entry}`, where its texts are.
        parts: COCO's segmentation as a list of its parts; empty if the object has no mask.
        category: name of its class, or an empty text.
    """

    where: str
    entries: dict[str, Any]
    parts: list
    category: str = ""


class AnnotatedImage(NamedTuple):
    """An image and its objects.

    Attributes:
        where: file and entry, the first words of an error.
        split: name of the split; None if nothing tells it.
        path: the image file.
        size: `(height, width)` in pixels.
        entries: `{table: entry}`, where texts about all of its objects are.
        objects: list of `AnnotatedObject`.
    """

    where: str
    split: str | None
    path: Path
    size: tuple[int, int]
    entries: dict[str, Any]
    objects: list[AnnotatedObject]


def phrase_records(
    images, path, folder, usual, class_field, text, one_each, splits, on_bad, as_stored=False
):
    """Makes records of annotated images.

    The objects of an image with the same text are the targets of one phrase, and the phrase of an
    image means all of its objects. A text of several lines, or a list, is several phrases. Says
    which field has the text, and warns of what is left out: objects without text, phrases with an
    object that has no mask and, with `one_each`, phrases of several objects.

    Args:
        images: list of `AnnotatedImage`.
        path: file or folder of the data.
        folder: the folder of the image files.
        usual: pattern of the fields that are made for text. The only one that has text is taken.
        class_field: the field of the class, which is taken if there is no text.
        text: the field to take; None finds it.
        one_each: whether to leave out phrases of several objects.
        splits, on_bad: as in `read_records`.
        as_stored: as in `Record`.

    Returns:
        `{split: [Record, ...]}`.

    Raises:
        ValueError: if no field or more than one fits, a split is not there or, with `"raise"`, a
            text is none.
    """
    field = _checked_field(images, path, usual, class_field, text)
    left_out, numbers, segmentations = defaultdict(list), defaultdict(count(1).__next__), {}

    def records_of(image, limit):
        phrases = _phrases_of(image, field, one_each, left_out)
        if len(phrases) > limit:
            raise ValueError(f"{image.where}: too many phrases")
        return [_record(image, as_stored, numbers, segmentations, *phrase) for phrase in phrases]

    records = read_entries(images, records_of, on_bad, "images")
    give_splits(records, path)
    reasons = "; ".join(
        f"{len(places):,} {reason} (the first: {places[0]})" for reason, places in left_out.items()
    )
    if reasons and not records:
        raise ValueError(f"{path}: wanted phrases of objects with masks. Received: {reasons}")
    warn_each(
        f"{path}: left out are {reasons}" if reasons else "",
        missing_images(records, folder, path),
    )
    return select_splits(splits, records, path)


def missing_images(records, folder, path):
    """A line about the missing image files of records that were read from a path, or an empty one."""
    missing = describe_missing_images(records, folder, path)
    return missing and f"{missing}, or give their folder as `images`"


def give_splits(records, path):
    """Moves the records without a split, those of None, to train and val, and says so."""
    if rest := records.pop(None, []):
        names = {record.image_path.name for record in rest}
        held_out = hold_out(names)
        print(
            f"{path} has no splits: {len(held_out):,} of its {len(names):,} images are val, the "
            "others train",
            file=sys.stderr,
        )
        for record in rest:
            split = "val" if record.image_path.name in held_out else "train"
            records.setdefault(split, []).append(replace(record, split=split))


def _checked_field(images, path, usual, class_field, text):
    """The field that has the phrases, which must be one."""
    holders = (holder for image in images for holder in (image, *image.objects))
    fields = sorted({field for holder in holders for field in _text_fields(holder.entries)})
    fitting = [field for field in fields if (field == text if text else usual.fullmatch(field))]
    if not text and not fitting:
        fitting = [field for field in fields if field == class_field]
    if len(fitting) != 1:
        received = repr(text) if text else " and ".join(fitting) or "no text"
        raise ValueError(
            f"{path}: wanted one field with the phrases. Received: {received}. Give one of these as "
            f"`text`: {', '.join(fields) or 'there is none'}"
        )
    if not text:
        print(f"{path}: the phrases are {fitting[0]} (`text` takes another)", file=sys.stderr)
    return fitting[0]


def _text_fields(tables):
    """Yields the names of the fields of some entries that have text."""
    for table, entry in tables.items():
        for key, value in entry.items():
            if key == "attributes" and type(value) is dict:
                yield from _text_fields({f"{table}.attributes": value})
            elif value and type(value) in (str, list):
                if all(type(line) is str for line in ([value] if type(value) is str else value)):
                    yield f"{table}.{key}"


def _texts(holder, field):
    """The phrases in a field of an image or an object: `{expression: as it was written}`."""
    table, _, key = field.partition(".")
    entry, phrases = holder.entries[table], {}
    if key.startswith("attributes.") and type(entry.get("attributes")) is dict:
        entry, key = entry["attributes"], key.removeprefix("attributes.")
    value = entry.get(key)
    for text in value if type(value) is list else [] if value is None else [value]:
        if type(text) is not str:
            raise ValueError(f"{holder.where}: wanted {field} as text. Received: {value!r:.100}")
        check_storable(text, field, holder.where)
        for line in text.splitlines():
            # Classes are written as coffee_cup.
            if words := split_words(line.replace("_", " ")):
                phrases.setdefault(" ".join(words), line.strip())
    return phrases


def _phrases_of(image, field, one_each, left_out):
    """The phrases of an image; names what is left out in `{reason: [place, ...]}`.

    Returns:
        `[(expression, as it was written, its objects, classes of all objects), ...]`.
    """
    of_image = field.partition(".")[0] in image.entries
    targets, written = defaultdict(list), {}
    for holder in [image] if of_image else image.objects:
        texts = _texts(holder, field)
        if not texts:
            left_out[f"{'images' if of_image else 'objects'} without text"].append(holder.where)
        for expression, raw in texts.items():
            targets[expression].append(holder)
            written.setdefault(expression, raw)
    # The classes of an image that has one phrase need not be all that are there.
    classes = frozenset() if of_image else _classes(image.objects)
    phrases = []
    for expression, holders in targets.items():
        objects = image.objects if of_image else holders
        place = f"{image.where}, {written[expression]!r:.60}"
        if not all(thing.parts for thing in objects):
            left_out["phrases with an object that has no mask"].append(place)
        elif one_each and len(objects) > 1:
            left_out["phrases of several objects"].append(place)
        else:
            phrases.append((expression, written[expression], objects, classes))
    return phrases


def _classes(objects):
    return frozenset(thing.category for thing in objects) - {""}


def _record(image, as_stored, numbers, segmentations, expression, raw, objects, classes):
    """The record of a phrase. What phrases share is kept once: an image may have thousands."""
    ref_id = numbers[image.where, *(tuple(thing.where for thing in objects) or (expression,))]
    parts = [part for thing in objects for part in thing.parts] or None
    return Record(
        image_path=image.path,
        image_id=numbers[image.path],
        ref_id=ref_id,
        sentence_id=numbers[ref_id, expression],
        raw=raw,
        expression=expression,
        split=image.split,
        height=image.size[0],
        width=image.size[1],
        segmentation=segmentations.setdefault(ref_id, parts),
        as_stored=as_stored,
        targets=len(objects),
        categories=_classes(objects) & classes,
        image_categories=classes,
    )
