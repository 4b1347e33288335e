"""The settings of RefShapes: its splits and sizes, and where its files lie."""

from operator import index

from keras_cmsa.data.readers.refer import COCO
from keras_cmsa.data.ref_shapes.scene import MIN_COLOURS
from keras_cmsa.data.ref_shapes.things import COLOURS
from keras_cmsa.utils.messages import check_at_least

VERSION = 2  # increases whenever the same settings give other data
DATASET, SPLIT_OWNER = "refcoco", "unc"  # as in REFER's layout
DATASETS = {"one": DATASET, "any": "grefcoco"}  # {targets: data set}
IMAGE_FOLDER, IMAGE_NAME = COCO.folder, COCO.name_of_id
SPLITS = ("train", "val", "testA", "testB")
SCENES = {"train": 6000, "val": 200, "testA": 200, "testB": 200}
MIN_SIZE = 96  # pixels; in smaller images the textures of small things blur


def checked_settings(scenes, size, seed, targets, colours):
    """Checks the settings that determine every byte, and returns them as a dict of plain values.

    `targets` and `colours` are in it only where they are not the default.

    Raises:
        ValueError: if one of them is out of range.
    """
    scenes = SCENES if scenes is None else scenes
    if not scenes or not set(scenes) <= set(SPLITS) or min(scenes.values()) < 1:
        raise ValueError(
            f"scenes must give 1 or more images for one or more of the splits {list(SPLITS)}. "
            f"Received: {scenes}"
        )
    check_at_least(MIN_SIZE, size=size)
    check_at_least(0, seed=seed)
    if targets not in DATASETS:
        raise ValueError(f"`targets` must be one of {', '.join(DATASETS)}. Received: {targets!r}")
    settings = {
        "version": VERSION,
        "scenes": {split: index(number) for split, number in scenes.items()},
        "size": index(size),
        "seed": index(seed),
    }
    if targets != "one":
        settings["targets"] = targets
    if colours is not None:
        if not MIN_COLOURS <= len(set(colours)) or not set(colours) <= set(COLOURS):
            raise ValueError(
                f"`colours` must be {MIN_COLOURS} or more of {', '.join(COLOURS)}. "
                f"Received: {', '.join(map(str, colours)) or 'none'}"
            )
        # In one order, so that any order of them gives the same bytes.
        settings["colours"] = [colour for colour in COLOURS if colour in colours]
    return settings
