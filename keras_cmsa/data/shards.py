"""Reads data sets that `keras-cmsa prepare` wrote: TFDS shards, at random, by sentence.

An epoch is every sentence once in random order, while the shards hold images, each once with all
its sentences. So the sentences are kept in memory, with their masks as run lengths (some 100 MB for
the 120,624 of UNC), and an image is read from its shard, by its place, when a sentence of it comes.
What `read_shards` gives are records as from any other reader.

    sentences.json      {split: [[image id, file name, height, width,
                                  [[ref id, run lengths, [[sentence id, raw, expression, kind], ...]], ...]],
                                 ...]}      an entry per image, in the order of the shards
"""

import importlib
import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from keras_cmsa.data.reading import only, read_json
from keras_cmsa.data.records import Record
from keras_cmsa.files import replaced
from keras_cmsa.image import read_image

NAME = "refer_segmentation"
SENTENCES = "sentences.json"

# (dataset, split owner) of `read_records`: name of its config.
CONFIG_NAMES = {
    ("refcoco", "unc"): "unc",
    ("refcoco", "google"): "refcoco_google",
    ("refcoco+", "unc"): "unc_plus",
    ("refcocog", "google"): "gref_google",
    ("refcocog", "umd"): "gref_umd",
    ("refexp", ""): "refexp",
    ("refclef", "unc"): "refclef_unc",
    ("refclef", "berkeley"): "refclef_berkeley",
    ("referit", ""): "referit",
}


class StoredImage:
    """An image file in a shard. `read_image` takes it like a path.

    Args:
        source: sequence of serialised examples.
        place: of the example in it.
        name: of the file it once was.
    """

    def __init__(self, source, place, name):
        self.source = source
        self.place = place
        self.name = name

    def read_bytes(self):
        """The bytes of the image file.

        Raises:
            ValueError: if the shard is damaged (it has checksums) or gone.
        """
        try:
            return Example(self.source[self.place]).image
        except Exception as error:  # ArrayRecord's, protobuf's or the disk's: no common base
            raise _damaged(self, error) from error

    def __str__(self):
        return f"{self.name} (example {self.place})"


class Example:
    """A serialised example of `refer_segmentation`, taken apart without TensorFlow."""

    def __init__(self, serialised):
        from tensorflow_datasets.proto import tf_example_generated_pb2

        self.features = tf_example_generated_pb2.Example.FromString(serialised).features.feature

    @property
    def image(self):
        return self.features["image"].bytes_list.value[0]

    @property
    def image_id(self):
        return self.features["image_id"].int64_list.value[0]

    @property
    def ref_ids(self):
        return list(self.features["refs/ref_id"].int64_list.value)

    def mask(self, ref_id):
        """A ref's mask: `(H, W)` uint8 of 0 and 1."""
        png = self.features["refs/mask"].bytes_list.value[self.ref_ids.index(ref_id)]
        return np.ascontiguousarray(read_image(png)[..., 0])

    def sentences(self):
        """`[(ref id, sentence id, raw, expression, kind), ...]`"""
        inside = "refs/sentences/{}/ragged_{}"
        lengths = self.features[inside.format("raw", "row_lengths_0")].int64_list.value
        ids = self.features[inside.format("sentence_id", "flat_values")].int64_list.value
        texts = (
            [text.decode("utf-8") for text in values]
            for name in ("raw", "expression", "kind")
            for values in [self.features[inside.format(name, "flat_values")].bytes_list.value]
        )
        return list(zip(np.repeat(self.ref_ids, lengths).tolist(), ids, *texts))

    def entry(self):
        """What `sentences.json` holds of it."""
        by_ref = {ref_id: [] for ref_id in self.ref_ids}
        for ref_id, *sentence in self.sentences():
            by_ref[ref_id].append(sentence)
        masks = {ref_id: self.mask(ref_id) for ref_id in by_ref}
        height, width = next(iter(masks.values())).shape
        name = self.features["file_name"].bytes_list.value[0].decode("utf-8")
        refs = [[ref_id, _run_lengths(masks[ref_id]), of] for ref_id, of in by_ref.items()]
        return [self.image_id, name, height, width, refs]


def _damaged(what, error):
    return ValueError(f"{what} cannot be read from its shard: {error}. Prepare the data set anew")


def _run_lengths(mask):
    """COCO's compressed run lengths, as text."""
    return coco_mask.encode(np.asfortranarray(mask))["counts"].decode("ascii")


def config_name(dataset, split_owner):
    """The config of a data set by the names of `read_records`; any other name is taken as it is."""
    names = CONFIG_NAMES.get((dataset, split_owner)), CONFIG_NAMES.get((dataset, ""))
    return next((name for name in names if name), dataset)


def prepared_configs(data_dir):
    """Names of the configs that are prepared in a folder of TFDS data sets."""
    return sorted(
        path.parent.parent.name
        for path in Path(data_dir).glob(f"{NAME}/*/[0-9]*/dataset_info.json")
    )


def read_shards(data_dir, config="unc", splits=None):
    """Read a prepared data set.

    Args:
        data_dir: folder of TFDS data sets.
        config: its name, such as `"unc"`; see `refer_segmentation/README.md`.
        splits: names of the splits wanted; None for all there are.

    Returns:
        `{split: [Record, ...]}`: a record per sentence; its `image_path` is a `StoredImage`.

    Raises:
        FileNotFoundError: if there is no such data set.
        ValueError: if it is in a format that cannot be read at random, or a split is not there.
        ImportError: if TensorFlow Datasets or ArrayRecord is not installed.
    """
    folder = _folder(Path(data_dir), config)
    builder = _builder(folder)
    if builder.info.file_format.value != "array_record":
        raise ValueError(
            f"{folder} is in the format {builder.info.file_format.value}, which is read from start "
            "to end only; prepare it as array_record"
        )
    path = folder / SENTENCES
    if not path.is_file():
        write_sentences(folder, index(builder))
    try:
        records = {
            split: _records(serialised(builder, split), split, entries)
            for split, entries in read_json(path).items()
        }
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{path} is damaged, or of other shards: remove it. {error}") from error
    return only(splits, records, folder)


def _records(source, split, entries):
    if len(source) != len(entries):
        raise ValueError(
            f"{split}: {len(entries)} images in the index, {len(source)} in the shards"
        )
    records = []
    for place, (image_id, name, height, width, refs) in enumerate(entries):
        image = StoredImage(source, place, name)
        for ref_id, counts, sentences in refs:
            segmentation = {"size": [height, width], "counts": counts}
            for sentence_id, raw, expression, kind in sentences:
                record = Record(
                    image, image_id, ref_id, sentence_id, raw, expression, split,
                    height, width, segmentation, kind,
                )  # fmt: skip
                records.append(record)
    return records


def _folder(data_dir, config):
    # A folder under way is none: TFDS renames it when it is whole.
    found = sorted((data_dir / NAME / config).glob("[0-9]*/dataset_info.json"))
    if not found:
        raise FileNotFoundError(
            f"No {NAME}/{config} is prepared in {data_dir}; there is: "
            f"{', '.join(prepared_configs(data_dir)) or 'none'}"
        )
    return found[-1].parent


def _builder(folder):
    try:
        import tensorflow_datasets as tfds

        importlib.import_module("array_record")  # TFDS would say so later, and less clearly
    except ImportError as error:
        raise ImportError(
            f'{error.name} is needed to read shards: pip install "keras-cmsa[data]"'
        ) from error
    return tfds.builder_from_directory(folder)


def serialised(builder, split):
    """The examples of a split as bytes: a sequence, or of TFRecord an iterable."""
    if builder.info.file_format.value == "array_record":
        from tensorflow_datasets.core.decode import DeserializeMethod

        return builder.as_data_source(split, deserialize_method=DeserializeMethod.RAW_BYTES)
    import tensorflow as tf

    paths = [str(path) for path in builder.info.splits[split].filepaths]
    return (record.numpy() for record in tf.data.TFRecordDataset(paths))


def examples(builder, split):
    """The examples of a split, one after the other.

    Raises:
        ValueError: if a shard is damaged.
    """
    try:
        yield from map(Example, serialised(builder, split))
    except Exception as error:  # as in `StoredImage.read_bytes`
        raise _damaged(f"an example of {split}", error) from error


def index(builder):
    """What `sentences.json` holds, by reading all shards."""
    return {
        split: [example.entry() for example in examples(builder, split)]
        for split in builder.info.splits
    }


def write_sentences(folder, entries):
    with replaced(Path(folder) / SENTENCES) as file:
        json.dump(entries, file, separators=(",", ":"))
