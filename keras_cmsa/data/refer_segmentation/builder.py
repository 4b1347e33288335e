"""The TFDS builder: groups records by image and makes one example per image."""

import io
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.ref_shapes import layout, write_ref_shapes
from keras_cmsa.data.sources import read_records
from keras_cmsa.preprocessing.reading import read_image, read_stored_size

REF_SHAPES = "ref_shapes"

# {name of the config: (data set, owner of its splits)}
SOURCES = {
    "unc": ("refcoco", "unc"),
    "refcoco_google": ("refcoco", "google"),
    "unc_plus": ("refcoco+", "unc"),
    "gref_google": ("refcocog", "google"),
    "gref_umd": ("refcocog", "umd"),
    "grefcoco": ("grefcoco", "unc"),
    "refexp": ("refexp", ""),
    "refclef_unc": ("refclef", "unc"),
    "refclef_berkeley": ("refclef", "berkeley"),
    "referit": ("referit", ""),
    "phrasecut": ("phrasecut", ""),
    REF_SHAPES: (layout.DATASET, layout.SPLIT_OWNER),
}


class ReferSegmentation(tfds.core.GeneratorBasedBuilder):
    """Writes one example per image and split, with all refs of the image; see `README.md`.

    It reads and checks the records of the manual folder, and leaves out the bad ones.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Images with their refs; masks as PNG of 0 and 1."}
    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=name) for name in SOURCES]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (Path(__file__).parent / "MANUAL.md").read_text("utf-8")

    def _info(self):
        sentence = {
            "sentence_id": tfds.features.Scalar(np.int64),
            "raw": tfds.features.Text(),
            "expression": tfds.features.Text(),
            "kind": tfds.features.Text(),
        }
        ref = {
            "ref_id": tfds.features.Scalar(np.int64),
            "targets": tfds.features.Scalar(np.int32),
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
        name = self.builder_config.name
        if name == REF_SHAPES:
            root = Path(dl_manager.download_dir) / name
            # One process only, because the calling script may have no __main__ guard.
            write_ref_shapes(root, processes=1)
        else:
            root = Path(dl_manager.manual_dir)
        records = read_records(root, *SOURCES[name], on_bad="skip")
        good = {split: check_records(x)[0] for split, x in records.items()}
        return {split: self._generate_examples(x) for split, x in good.items() if x}

    def _generate_examples(self, records):
        ordered = sorted(records, key=lambda r: (r.image_id, r.ref_id, r.sentence_id))
        for image_id, group in groupby(ordered, key=lambda r: r.image_id):
            yield image_id, make_example(list(group))


def make_example(records):
    """Makes an example from all records of an image, sorted by ref."""
    first, refs = records[0], []
    for ref_id, group in groupby(records, key=lambda r: r.ref_id):
        group = list(group)
        names = ("sentence_id", "raw", "expression", "kind")
        sentences = [{name: getattr(record, name) for name in names} for record in group]
        target = {"targets": group[0].targets, "mask": png(group[0].mask())}
        refs.append({"ref_id": ref_id, **target, "sentences": sentences})
    return {
        "image": stored_image(first.image_path, first.stored_size),
        "image_id": first.image_id,
        "file_name": first.image_path.name,
        "refs": refs,
    }


def stored_image(path, stored_size=None):
    """The bytes of an image to store; arguments as in `read_image`.

    A plain JPEG or PNG, which all decoders read alike, is stored as it is. Any other image is
    stored as a PNG of the RGB that `read_image` gives.
    """
    _, orientation = read_stored_size(path)
    with Image.open(path) as image:
        is_plain = (
            image.format in ("JPEG", "PNG")
            and image.mode in ("L", "RGB")
            and orientation == 1
            and "transparency" not in image.info
        )
    return path.read_bytes() if is_plain else png(read_image(path, stored_size=stored_size))


def png(pixels):
    """The bytes of a PNG of pixels `(H, W, 3)` or a mask `(H, W)`, uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
