"""From the annotated images of a label tool to records: which text is the phrase, and which objects
of the image it means.

A reader of a tool's files makes an `AnnotatedImage` of each image, with the tool's own entries in
it. A field of an entry is named as `annotations.caption` or `annotations.attributes.NAME`.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from keras_cmsa.data.readers.entries import located, read_entries, selected, warn_each
from keras_cmsa.data.readers.split_files import hold_out
from keras_cmsa.data.record import Record
from keras_cmsa.preprocessing.words import split_words

GIVE_FOLDER = ", or give their folder as `images`"  # what follows the source of missing images


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


class Tool(NamedTuple):
    """What a label tool writes.

    Attributes:
        images_of: function from `(root, images, on_bad)`, arguments of `read_phrases`, to a list of
            `AnnotatedImage`.
        usual: pattern of the fields that are made for text. The only one that has text is taken.
        class_field: the field of the class, which is taken if there is no text.
        as_stored: as in `Record`.
    """

    images_of: Callable
    usual: re.Pattern
    class_field: str
    as_stored: bool = False


def read_phrases(tool, root, splits=None, on_bad="raise", text=None, one_each=False, images=None):
    """Reads what a label tool wrote.

    The objects of an image with the same text are the targets of one phrase, and the phrase of an
    image means all of its objects. A text of several lines, or a list, is several phrases. Says
    which field has the text, and warns of what is left out: objects without text, phrases with an
    object that has no mask and, with `one_each`, phrases of several objects.

    Args:
        tool: `Tool`.
        root: file or folder of the data, as the module of the tool says.
        splits, on_bad: as in `read_refer`; an entry is an image.
        text: the field with the phrases, such as `"annotations.caption"` or
            `"annotations.attributes.NAME"`; None finds it.
        one_each: whether to leave out phrases that several objects of an image have.
        images: folder of the images; that of their file unless given.

    Returns:
        `{split: [Record, ...]}`: one record per image and phrase, whose mask joins all objects of
        the image with that phrase.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is damaged, no field or more than one has phrases, a split is not
            there or, with `"raise"`, an image is bad.
    """
    root, images = Path(root), None if images is None else Path(images)
    photos = tool.images_of(root, images, on_bad)
    field = _checked_field(photos, root, tool, text)
    is_of_image = any(field.partition(".")[0] in photo.entries for photo in photos)
    left_out, numbers, segmentations = defaultdict(list), defaultdict(count(1).__next__), {}

    def records_of(photo):
        for phrase in _phrases_of(photo, field, is_of_image, one_each, left_out):
            yield _record(photo, tool.as_stored, numbers, segmentations, *phrase)

    records = read_entries(photos, records_of, on_bad, "images")
    give_splits(records, root)
    reasons = "; ".join(
        f"{len(places):,} {reason} (the first: {places[0]})" for reason, places in left_out.items()
    )
    if reasons and not records:
        raise ValueError(f"{root}: wanted phrases of objects with masks. Received: {reasons}")
    warn_each(f"{root}: left out are {reasons}" if reasons else "")
    folder = images or (root if root.is_dir() else root.parent)
    return selected(records, splits, root, folder, f"{root}{GIVE_FOLDER}")


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


def _checked_field(images, path, tool, text):
    """The field that has the phrases, which must be one."""
    holders = (holder for image in images for holder in (image, *image.objects))
    fields = sorted({field for holder in holders for field in _text_fields(holder.entries)})
    usual = [field for field in fields if tool.usual.fullmatch(field)]
    wanted = text or tool.class_field
    fitting = [field for field in fields if field == wanted] if text or not usual else usual
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
    texts = value if type(value) is list else [] if value is None else [value]
    for _, text in located({field: texts}, field, str, holder.where):
        for line in text.splitlines():
            # Classes are written as coffee_cup.
            if words := split_words(line.replace("_", " ")):
                phrases.setdefault(" ".join(words), line.strip())
    return phrases


def _phrases_of(image, field, is_of_image, one_each, left_out):
    """Yields the phrases of an image; names what is left out in `{reason: [place, ...]}`.

    A phrase is `(expression, as it was written, its objects, classes of all objects)`.
    """
    targets, written = defaultdict(list), {}
    for holder in [image] if is_of_image else image.objects:
        texts = _texts(holder, field)
        if not texts:
            left_out[f"{'images' if is_of_image else 'objects'} without text"].append(holder.where)
        for expression, raw in texts.items():
            targets[expression].append(holder)
            written.setdefault(expression, raw)
    # The classes of an image that has one phrase need not be all that are there.
    classes = frozenset() if is_of_image else _classes(image.objects)
    for expression, holders in targets.items():
        objects = image.objects if is_of_image else holders
        place = f"{image.where}, {written[expression]!r:.60}"
        if not all(thing.parts for thing in objects):
            left_out["phrases with an object that has no mask"].append(place)
        elif one_each and len(objects) > 1:
            left_out["phrases of several objects"].append(place)
        else:
            yield expression, written[expression], objects, classes


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
