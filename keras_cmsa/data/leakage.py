"""Images of a training set that are held out elsewhere.

RefCOCO, RefCOCO+, RefCOCOg and Google Refexp draw from the same images of COCO, each with splits of
its own, and google's splits share images with each other; REFER's refclef and the ReferIt release
are one collection. What is trained on one and tested on another, or starts from weights that were,
may have seen the images it is tested on.
"""

import warnings
from pathlib import Path

from keras_cmsa.data.google_refexp import NAME, SPLITS
from keras_cmsa.data.reading import read_json
from keras_cmsa.data.refer import IMAGES
from keras_cmsa.data.referit import QUERY, REGION
from keras_cmsa.data.restricted_pickle import read_plain_pickle
from keras_cmsa.data.shards import CONFIG_NAMES, SENTENCES
from keras_cmsa.data.shards import NAME as SHARDS

COLLECTIONS = {**IMAGES, "refexp": IMAGES["refcocog"], "referit": IMAGES["refclef"]}
COLLECTIONS |= {name: COLLECTIONS[dataset] for (dataset, _), name in CONFIG_NAMES.items()}


def held_out_images(root, dataset):
    """The images of the held-out splits in a folder that are of the same collection as a data set.

    Args:
        root: the folder of one data set or several.
        dataset: as in `read_records`; only data sets of the same images are looked at.

    Returns:
        `{"<dataset>/<split owner>/<split>": {image id, ...}}` of all splits but train; a release
        without split owners is `"<dataset>/<split>"`, a prepared data set `"<config>/<split>"`.
        Warns of files that cannot be read.
    """
    if dataset not in COLLECTIONS:  # a table of one's own
        return {}
    root, images = Path(root), {}
    for read in (_shards_images, _refs_images, _refexp_images, _referit_images):
        try:
            for source, name, image_id in read(root):
                if COLLECTIONS.get(source) is COLLECTIONS[dataset]:
                    images.setdefault(name, set()).add(image_id)
        except (ValueError, TypeError, AttributeError) as error:
            # Of the data set that is trained on, its reader will say so; another's is no obstacle.
            warnings.warn(f"not all was looked at for shared images: {error}", stacklevel=2)
    return {
        name: of - {None}
        for name, of in images.items()
        if not name.endswith(("/train", "/trainval"))
    }


def shared_images(records, held_out):
    """How many images of the records are held out where: `{name: number}`, zeros left out."""
    images = {record.image_id for record in records}
    numbers = {name: len(images & of) for name, of in held_out.items()}
    return {name: number for name, number in numbers.items() if number}


def without_images_of(names, records, held_out):
    """The records whose images are in none of the splits named.

    Args:
        names: list of a split, such as `"refcoco+/unc/testA"`, a part of it from the start, such as
            `"refcoco+"`, for all splits below, or `"all"`.
        records: list of `Record`.
        held_out: from `held_out_images`.

    Raises:
        ValueError: if a name stands for no split.
    """
    images = set()
    for name in names:
        found = [of for split, of in held_out.items() if name == "all" or _is_below(split, name)]
        if not found:
            raise ValueError(
                f"no held-out split is named {name!r}; there is: {', '.join(held_out) or 'none'}"
            )
        images.update(*found)
    return [record for record in records if record.image_id not in images]


def guard(records, held_out, leave_out):
    """Takes the images out of a training set that shall not be in it, and tells of others that are.

    Args:
        records: list of `Record` to train on.
        held_out: from `held_out_images`.
        leave_out: names, as `without_images_of` takes them.

    Returns:
        List of `Record`. Prints a line per split that still shares images with them.

    Raises:
        ValueError: if a name stands for no split.
    """
    records = without_images_of(leave_out, records, held_out)
    if shared := shared_images(records, held_out):
        print(describe_shared(shared))
    return records


def describe_shared(shared):
    """A line per split that shares images with the training set."""
    return "\n".join(
        f"The training set has {number:,} images of {name} (--exclude-images-of {name} removes them)"
        for name, number in shared.items()
    )


def _is_below(split, name):
    return f"{split}/".startswith(f"{name.rstrip('/')}/")


# Each yields `(data set or config, "<its name>/<split>", image id)`; what is amiss with an entry its
# reader will say.


def _shards_images(root):
    for path in sorted(root.glob(f"{SHARDS}/*/[0-9]*/{SENTENCES}")):
        config = path.parent.parent.name
        for split, entries in read_json(path).items():
            for image_id, *_ in entries:
                yield config, f"{config}/{split}", image_id


def _refs_images(root):
    for path in sorted(root.glob("*/refs(*).p")):
        owner = path.stem.removeprefix("refs(").removesuffix(")")
        refs = read_plain_pickle(path)
        for ref in refs if type(refs) is list else ():
            if type(ref) is dict and type(ref.get("split")) is str:
                name = f"{path.parent.name}/{owner}/{ref['split']}"
                yield path.parent.name, name, _image_id(ref)


def _refexp_images(root):
    for split in SPLITS:
        for path in root.glob(f"{NAME.format(split)}*.json"):
            annotations = read_json(path).get("annotations", [])
            entries = annotations.values() if type(annotations) is dict else annotations
            for entry in entries:
                yield "refexp", f"refexp/{split}", _image_id(entry)


def _referit_images(root):
    for split in ("train", "val", "trainval", "test"):
        for path in (root / QUERY.format(split), root / "data" / QUERY.format(split)):
            if path.is_file():
                for key in read_json(path):
                    if region := REGION.fullmatch(key):
                        yield "referit", f"referit/{split}", int(region[1])


def _image_id(entry):
    """The id, or None, which is no record's, of an entry without one."""
    image_id = entry.get("image_id") if type(entry) is dict else None
    return image_id if type(image_id) is int else None
