"""The settings of RefShapes: flavours, their splits and sizes, and where their files lie."""

from operator import index
from typing import NamedTuple

VERSION = 1  # increases whenever the same settings give other data
SCENES = {"train": 6000, "val": 200, "testA": 200, "testB": 200, "test": 200}
MIN_SIZE = 96  # pixels; in smaller images the textures of small things blur


class Layout(NamedTuple):
    """The REFER data set that a flavour imitates.

    Attributes:
        dataset: folder of the annotations.
        split_by: who made the splits, as in `refs(<split_by>).p`.
        splits: names of the splits.
        images: folder of the images.
        image_name: file name of an image, with a place for its id.
    """

    dataset: str
    split_by: str
    splits: tuple
    images: str = "images/mscoco/images/train2014"
    image_name: str = "COCO_train2014_{:012d}.jpg"


LAYOUTS = {
    "unc": Layout("refcoco", "unc", ("train", "val", "testA", "testB")),
    "unc+": Layout("refcoco+", "unc", ("train", "val", "testA", "testB")),
    "gref": Layout("refcocog", "google", ("train", "val")),
    "referit": Layout(
        "refclef", "berkeley", ("train", "val", "test"), "images/saiapr_tc-12", "{}.jpg"
    ),
}


def checked_settings(flavour, scenes, size, seed):
    """Checks the settings that determine every byte, and returns them as a dict of plain values.

    Raises:
        ValueError: if one of them is out of range.
    """
    if flavour not in LAYOUTS:
        raise ValueError(f"flavour must be one of {list(LAYOUTS)}. Received: {flavour!r}")
    splits = LAYOUTS[flavour].splits
    if scenes is None:
        scenes = {split: SCENES[split] for split in splits}
    if not scenes or not set(scenes) <= set(splits):
        raise ValueError(
            f"scenes must give numbers of images for some of the splits {list(splits)} of flavour "
            f"{flavour!r}. Received: {scenes}"
        )
    if min(scenes.values()) < 1:
        raise ValueError(
            f"scenes must be 1 or more for each split. Received: {scenes}. "
            "Leave out a split that you do not want"
        )
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels. Received: {size}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more. Received: {seed}")
    return {
        "version": VERSION,
        "flavour": flavour,
        "scenes": {split: index(number) for split, number in scenes.items()},
        "size": index(size),
        "seed": index(seed),
    }
