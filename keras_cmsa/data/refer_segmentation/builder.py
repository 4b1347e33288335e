"""The builder: records grouped by image to examples of TFDS."""

import dataclasses
import io
import json
import re
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.ref_shapes import write_ref_shapes
from keras_cmsa.data.ref_shapes.layout import LAYOUTS
from keras_cmsa.data.ref_shapes.writer import MANIFEST
from keras_cmsa.data.shards import CONFIG_NAMES, config_name
from keras_cmsa.data.sources import read_records
from keras_cmsa.data.table import SUFFIXES
from keras_cmsa.image import ORIENTATION_TAG, read_image


@dataclasses.dataclass
class SourceConfig(tfds.core.BuilderConfig):
    """One data set with one owner of its splits; or, with a `flavour`, RefShapes."""

    dataset: str = ""
    split_owner: str = ""
    flavour: str = ""


def _plain(name):
    """As TFDS allows it in the name of a config."""
    return name.replace("+", "_plus")


def _config(name, dataset, split_owner="", flavour=""):
    whose = f", splits by {split_owner}" if split_owner else ""
    description = f"RefShapes, flavour {flavour}." if flavour else f"{dataset}{whose}."
    return SourceConfig(
        name=name,
        description=description,
        dataset=dataset,
        split_owner=split_owner,
        flavour=flavour,
    )


CONFIGS = [
    *(_config(name, *source) for source, name in CONFIG_NAMES.items()),
    *(
        _config(f"ref_shapes_{_plain(flavour)}", layout.dataset, layout.split_by, flavour)
        for flavour, layout in LAYOUTS.items()
    ),
]


def config_of(root, dataset, split_owner="", without=()):
    """The config of the data set in a folder.

    Args:
        root: where it lies; RefShapes is known by its `ref_shapes.json`, a table of one's own by
            its suffix, and its config is `table_<name of the file>`.
        dataset: as in `read_records`.
        split_owner: as in `read_records`.
        without: splits whose images were removed from its train; they become part of the name.

    Raises:
        ValueError: if there is no config for it.
    """
    root = Path(root)
    if root.suffix in SUFFIXES and not root.is_dir():
        return _config(f"table_{re.sub(r'[^A-Za-z0-9_-]', '_', root.stem)}", "table")
    manifest = root / MANIFEST
    if manifest.is_file():
        flavour = json.loads(manifest.read_text("utf-8"))["settings"]["flavour"]
        name = f"ref_shapes_{_plain(flavour)}"
    else:
        name = config_name(dataset, split_owner)
    config = {config.name: config for config in CONFIGS}.get(name)
    if config is None:
        raise ValueError(
            f"no config for {dataset} with splits by {split_owner!r}; there is: "
            f"{', '.join(config.name for config in CONFIGS)}"
        )
    if without:
        removed = "_and_".join(_plain(split).replace("/", "_") for split in sorted(without))
        config = dataclasses.replace(config, name=f"{name}_without_{removed}")
    return config


class ReferSegmentation(tfds.core.GeneratorBasedBuilder):
    """An example is an image with all refs to it of one split; see `README.md`.

    Attributes:
        records: `{split: [Record, ...]}` that were checked already; None reads and checks those of
            the manual folder and leaves bad ones out.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Images with their refs; masks as PNG of 0 and 1."}
    BUILDER_CONFIGS = CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = (Path(__file__).parent / "MANUAL.md").read_text("utf-8")

    records = None

    def _info(self):
        sentence = {
            "sentence_id": tfds.features.Scalar(np.int64),
            "raw": tfds.features.Text(),
            "expression": tfds.features.Text(),
            "kind": tfds.features.Text(),
        }
        ref = {
            "ref_id": tfds.features.Scalar(np.int64),
            "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "sentences": tfds.features.Sequence(sentence),
        }
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image_id": tfds.features.Scalar(np.int64),
            "file_name": tfds.features.Text(),
            "refs": tfds.features.Sequence(ref),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        records = self.records
        if records is None:
            records = self._read(dl_manager)
        return {
            split: self._generate_examples(of_split)
            for split, of_split in records.items()
            if of_split
        }

    def _read(self, dl_manager):
        config = self.builder_config
        if config.flavour:
            root = Path(dl_manager.download_dir) / config.name
            # One process: a script without a __main__ guard may be what asks for this.
            write_ref_shapes(root, config.flavour, processes=1)
        else:
            root = Path(dl_manager.manual_dir)
        records = read_records(root, config.dataset, config.split_owner, on_bad="skip")
        return {split: check_records(of_split)[0] for split, of_split in records.items()}

    def _generate_examples(self, records):
        for image_id, of_image in by_image(records):
            yield image_id, example(of_image)


def by_image(records):
    """`(image id, its records)` for each image, in the order of the ids."""
    return (
        (image_id, list(of_image))
        for image_id, of_image in groupby(sorted(records, key=_order), key=lambda r: r.image_id)
    )


def _order(record):
    return record.image_id, record.ref_id, record.sentence_id


def example(records):
    """An image's records as one example."""
    first = records[0]
    return {
        "image": stored_image(first.image_path),
        "image_id": first.image_id,
        "file_name": first.image_path.name,
        "refs": [
            {"ref_id": ref_id, "mask": mask_png(of_ref[0].mask()), "sentences": _sentences(of_ref)}
            for ref_id, group in groupby(records, key=lambda r: r.ref_id)
            for of_ref in [list(group)]
        ],
    }


def _sentences(records):
    return [
        {
            "sentence_id": record.sentence_id,
            "raw": record.raw,
            "expression": record.expression,
            "kind": record.kind,
        }
        for record in records
    ]


def stored_image(path):
    """A file's bytes where every decoder makes the same of them, else the upright RGB as PNG."""
    content = Path(path).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        plain = image.format in ("JPEG", "PNG") and image.mode in ("L", "RGB")
        if (
            plain
            and image.getexif().get(ORIENTATION_TAG, 1) == 1
            and "transparency" not in image.info
        ):
            return content
    return _png(read_image(content))


def mask_png(mask):
    """A mask `(H, W)` of 0 and 1 as the bytes of a PNG of those values."""
    return _png(mask)


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
