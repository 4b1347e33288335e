"""Writes RefShapes to disk in REFER's layout, for the same code to read that reads RefCOCO."""

import json
import multiprocessing
import os
import pickle
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
from rich.console import Console
from rich.progress import track

from keras_cmsa.data.ref_shapes.layout import LAYOUTS, checked_settings
from keras_cmsa.data.ref_shapes.samples import CATEGORIES, draw_sample

MANIFEST = "ref_shapes.json"
SCENES_PER_PROCESS = 300  # with fewer, starting another process takes longer than it saves


class Job(NamedTuple):
    """One image to draw: the scene `index` of a split."""

    image_id: int
    split: str
    index: int


def write_ref_shapes(
    root, flavour="unc", scenes=None, size=240, seed=0, processes=None, progress=True
):
    """Writes synthetic scenes with expressions that are unambiguous by construction.

    The same settings give the same bytes, however many processes write them. All of it is written
    beside `root` and renamed at the end: `root` is complete or it is not there. If it is there with
    the same settings, nothing is done. (A run that was killed leaves `<root>.partial-...` behind.)
    A script that calls this needs the usual `if __name__ == "__main__":` around its work, since
    processes are spawned and import the script.

    Args:
        root: the REFER root to make. A root holds one flavour.
        flavour: `"unc"`, `"unc+"` (no words of place), `"gref"` (whole sentences) or `"referit"`
            (sky, water and ground too). They stand in for REFER's refcoco, refcoco+, refcocog and
            refclef and are found under these names.
        scenes: the number of images by split, such as `{"train": 2000, "val": 200}`. By default
            all splits of the flavour in the sizes of `layout.SCENES`.
        size: the side of the images in pixels.
        seed: a whole number, 0 or more.
        processes: how many to use. By default as many as the cores, fewer for few scenes.
        progress: whether to show a progress bar.

    Returns:
        `root` as a `Path`.

    Raises:
        ValueError: if an argument is out of range.
        FileExistsError: if `root` holds anything but the data asked for.
    """
    settings = checked_settings(flavour, scenes, size, seed)
    root = Path(root).absolute()
    if _is_complete(root, settings):
        return root
    jobs = _list_jobs(settings)
    if processes is None:
        processes = min(os.cpu_count(), 1 + len(jobs) // SCENES_PER_PROCESS)
    folder = root.with_name(f"{root.name}.partial-{uuid4().hex[:8]}")
    try:
        _write(folder, settings, _drawn(folder, settings, jobs, processes, progress))
        _rename(folder, root, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return root


def _is_complete(root, settings):
    """Whether `root` holds the data of these settings; False if there is nothing yet."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise FileExistsError(
            f"The root of RefShapes must be a new or empty folder, but {root} holds something else "
            f"(there is no {MANIFEST} in it). Choose another root."
        )
    found = json.loads(manifest.read_text())["settings"]
    if found != settings:
        raise FileExistsError(
            f"{root} holds RefShapes with other settings; a root holds one flavour with one choice "
            f"of settings. Choose another root, or remove this folder. Received: {settings}; "
            f"there already: {found}"
        )
    return True


def _rename(folder, root, settings):
    """Puts the finished folder in its place, unless another run was quicker with the same data."""
    try:
        folder.rename(root)
    except OSError:
        if not _is_complete(root, settings):
            raise


def _list_jobs(settings):
    splits = LAYOUTS[settings["flavour"]].splits
    order = [(s, index) for s in splits for index in range(settings["scenes"].get(s, 0))]
    return [Job(image_id, split, index) for image_id, (split, index) in enumerate(order, start=1)]


def _drawn(folder, settings, jobs, processes, progress):
    """Draws the jobs' images into `folder`; yields `(job, annotations, refs)` in order."""
    draw = partial(_draw, folder, settings)
    bar = partial(
        track,
        description="Drawing RefShapes",
        total=len(jobs),
        console=Console(stderr=True),
        disable=not progress,
    )
    if processes == 1:
        yield from bar(map(draw, jobs))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            yield from bar(pool.imap(draw, jobs, chunksize=16))


def _draw(folder, settings, job):
    """Draws one image, which depends on the settings and the job alone.

    Annotations and refs come as JSON. As objects, the strings that refs share would depend on how
    they came here, and with them the bytes of the pickle.
    """
    flavour, size = settings["flavour"], settings["size"]
    layout = LAYOUTS[flavour]
    stream = [list(LAYOUTS).index(flavour), layout.splits.index(job.split), job.index]
    rng = np.random.default_rng([settings["seed"], *stream])
    file_name = layout.image_name.format(job.image_id)
    sample = draw_sample(rng, flavour, job.split, job.image_id, file_name, size)
    (folder / layout.images / file_name).write_bytes(sample.jpeg)
    return job, json.dumps(sample.annotations), json.dumps(sample.refs)


def _write(folder, settings, drawn):
    """Writes all files but the images, which `drawn` writes as it goes."""
    layout = LAYOUTS[settings["flavour"]]
    dataset = folder / layout.dataset
    dataset.mkdir(parents=True)
    (folder / layout.images).mkdir(parents=True)
    images, refs = [], []
    with open(dataset / "instances.json", "w", encoding="utf-8") as file:
        # Annotations go to disk as they come, since they are most of the data.
        file.write('{"annotations": [\n')
        for job, new_annotations, new_refs in drawn:
            file.write(",\n" * bool(images) + new_annotations[1:-1])
            images.append(_image_record(job.image_id, layout, settings["size"]))
            refs += json.loads(new_refs)
        rest = {"images": images, "categories": _CATEGORIES, "info": {"description": "RefShapes"}}
        file.write("\n],\n" + json.dumps(rest)[1:])
    (dataset / f"refs({layout.split_by}).p").write_bytes(pickle.dumps(refs, protocol=4))
    manifest = {"settings": settings, "counts": _count(refs)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))


_CATEGORIES = [
    {"id": number, "name": name, "supercategory": kind}
    for number, (name, kind) in enumerate(CATEGORIES, start=1)
]


def _image_record(image_id, layout, size):
    file_name = layout.image_name.format(image_id)
    return {"id": image_id, "file_name": file_name, "width": size, "height": size}


def _count(refs):
    """By split: the numbers of images, refs and sentences, and of the sentences of each kind."""
    counts = {}
    for split in dict.fromkeys(ref["split"] for ref in refs):
        of_split = [ref for ref in refs if ref["split"] == split]
        kinds = Counter(sentence["kind"] for ref in of_split for sentence in ref["sentences"])
        counts[split] = {
            "images": len({ref["image_id"] for ref in of_split}),
            "refs": len(of_split),
            "sentences": kinds.total(),
            "kinds": dict(sorted(kinds.items())),
        }
    return counts
