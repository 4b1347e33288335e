"""Writes RefShapes to disk in REFER's layout: as RefCOCO, or as gRefCOCO with any targets."""

import json
import multiprocessing
import os
import pickle
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from keras_cmsa.data.readers.entries import read_json
from keras_cmsa.data.ref_shapes.layout import (
    DATASETS,
    IMAGE_FOLDER,
    IMAGE_NAME,
    SPLIT_OWNER,
    SPLITS,
    checked_settings,
)
from keras_cmsa.data.ref_shapes.samples import CATEGORIES, draw_sample
from keras_cmsa.data.ref_shapes.things import COLOURS
from keras_cmsa.utils.files import new_folder

MANIFEST = "ref_shapes.json"
SCENES_PER_PROCESS = 300  # for fewer scenes, another process takes more time than it saves


def write_ref_shapes(
    root,
    scenes=None,
    size=240,
    seed=0,
    processes=None,
    progress=True,
    targets="one",
    colours=None,
):
    """Writes synthetic scenes with expressions that are unambiguous by construction.

    The same settings give the same bytes, for any number of processes. `root` is either complete or
    not there. Nothing is written if it already holds data of the same settings.

    A script that calls this function needs `if __name__ == "__main__":` around its work, because
    the spawned processes import the script.

    Args:
        root: folder to write, a REFER root with the data set refcoco, or grefcoco for any targets,
            and UNC's splits.
        scenes: number of images per split, such as `{"train": 2000, "val": 200}`. None means those
            of `layout.SCENES`.
        size: side of the images in pixels.
        seed: integer, 0 or more.
        processes: number of processes. None means one per core, and fewer for few scenes.
        progress: whether to show a progress bar.
        targets: `"one"`: each sentence refers to one thing. `"any"`: half of them do, a quarter
            refer to several and a quarter to none, in the form of gRefCOCO
            (https://arxiv.org/abs/2306.00968).
        colours: names of the colours that things may have, 4 or more of `things.COLOURS`. None
            means all.

    Returns:
        `root` as a `Path`.

    Raises:
        ValueError: if an argument is out of range, or `ref_shapes.json` in `root` is damaged.
        FileExistsError: if `root` holds other data.
    """
    settings = checked_settings(scenes, size, seed, targets, colours)
    root = Path(root).absolute()
    if _is_complete(root, settings):
        return root
    # Image id, split and number of the scene in its split of each image to draw.
    order = [(s, index) for s in SPLITS for index in range(settings["scenes"].get(s, 0))]
    jobs = [(image_id, *scene) for image_id, scene in enumerate(order, start=1)]
    if processes is None:
        processes = min(os.cpu_count(), 1 + len(jobs) // SCENES_PER_PROCESS)
    try:
        with new_folder(root) as folder:
            _write(folder, settings, _draw_all(folder, settings, jobs, processes, progress))
            if root.is_dir() and not any(root.iterdir()):
                root.rmdir()
    except FileExistsError:  # another process may have drawn the same meanwhile
        if not _is_complete(root, settings):
            raise
    return root


def _is_complete(root, settings):
    """Whether `root` holds the data of these settings; False if it is empty or not there."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if not (root / MANIFEST).is_file():
        raise FileExistsError(
            f"wanted a new or empty folder as the root of RefShapes. Received: {root}, which holds "
            f"something else (it has no {MANIFEST}). Choose another root"
        )
    content = read_json(root / MANIFEST)
    others = content.get("settings") if type(content) is dict else None
    if others != settings:
        raise FileExistsError(
            f"{root} holds RefShapes with other settings. Wanted: {settings}. Received: {others}. "
            "Choose another root, or remove this folder"
        )
    return True


def _draw_all(folder, settings, jobs, processes, progress):
    """Draws the images of all jobs into `folder`; yields `(image id, annotations, refs)`."""
    draw, spawn = partial(_draw, folder, settings), multiprocessing.get_context("spawn")
    options = {"total": len(jobs), "console": Console(stderr=True), "disable": not progress}
    with nullcontext() if processes == 1 else spawn.Pool(processes) as pool:
        drawn = pool.imap(draw, jobs, chunksize=16) if pool else map(draw, jobs)
        yield from track(drawn, "Drawing RefShapes", **options)


def _draw(folder, settings, job):
    """Draws the image of a job, which depends only on the settings and the job.

    Returns annotations and refs as JSON, because the bytes of a pickle depend on which strings its
    objects share, and objects from another process share other strings.
    """
    image_id, split, index = job
    # The 0 is a part of the seed: without it a seed would give other scenes.
    rng = np.random.default_rng([settings["seed"], 0, SPLITS.index(split), index])
    jpeg, annotations, refs = draw_sample(
        rng,
        split,
        image_id,
        settings["size"],
        settings.get("targets", "one"),
        settings.get("colours", COLOURS),
    )
    (folder / IMAGE_FOLDER / IMAGE_NAME.format(image_id)).write_bytes(jpeg)
    return image_id, json.dumps(annotations), json.dumps(refs)


def _write(folder, settings, drawn):
    """Writes all files but the images, which are written while `drawn` is iterated."""
    targets = settings.get("targets", "one")
    dataset = folder / DATASETS[targets]
    dataset.mkdir()
    (folder / IMAGE_FOLDER).mkdir(parents=True)
    images, refs = [], []
    with open(dataset / "instances.json", "w", encoding="utf-8") as file:
        # Annotations, most of the data, are written at once instead of being kept in memory.
        file.write('{"annotations": [\n')
        for image_id, new_annotations, new_refs in drawn:
            separator = ",\n" if images else ""
            file.write(separator + new_annotations[1:-1])
            entry = {"id": image_id, "file_name": IMAGE_NAME.format(image_id)}
            images.append({**entry, "width": settings["size"], "height": settings["size"]})
            refs += json.loads(new_refs)
        info = {"description": "RefShapes"}
        rest = {"images": images, "categories": CATEGORIES, "info": info}
        file.write("\n],\n" + json.dumps(rest)[1:])
    if targets == "any":
        (dataset / f"grefs({SPLIT_OWNER}).json").write_text(json.dumps(refs))
    else:
        (dataset / f"refs({SPLIT_OWNER}).p").write_bytes(pickle.dumps(refs, protocol=4))
    (folder / MANIFEST).write_text(json.dumps({"settings": settings}, indent=2))
