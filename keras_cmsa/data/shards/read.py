"""Reads the TFDS shards that `keras-cmsa prepare` wrote, in random order, sentence by sentence.

An epoch has each sentence once, in random order, but the shards hold each image once, with all of
its sentences. So the sentences are kept in memory, with their masks as run lengths (about 100 MB
for UNC's 120,624 sentences). The image of a sentence is read from its shard when it is needed.
`read_shards` returns records, like every other reader.

    sentences.json      {split: [image, ...]}, in the order of the shards
        image           [image id, file name, height, width, [ref, ...]]
        ref             [ref id, run lengths, [sentence, ...]]
        sentence        [sentence id, raw, expression, kind]
"""

import json
from pathlib import Path

import numpy as np

from keras_cmsa.data.masks import run_lengths
from keras_cmsa.data.readers.entries import read_json, select_splits
from keras_cmsa.data.record import Record
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import replaced

TFDS_NAME = "refer_segmentation"
INDEX_FILE = "sentences.json"

# In the name of a config, before the splits whose images were left out of train.
WITHOUT = "_without_"

# {(dataset, split owner) of `read_records`: name of the config}
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
TABLE = "table_"  # how the names of configs of tables begin


class StoredImage:
    """An image file in a shard. `read_image` takes it in place of a path.

    Args:
        source: sequence of serialised examples.
        place: place of the example in the sequence.
        name: name of the original image file.
    """

    def __init__(self, source, place, name):
        self.source = source
        self.place = place
        self.name = name

    def read_bytes(self):
        """The bytes of the image file.

        Raises:
            ValueError: if the shard is missing or damaged (it has checksums).
        """
        try:
            return StoredExample(self.source[self.place]).image
        except Exception as error:  # ArrayRecord, protobuf and the disk share no class of errors
            raise _shard_error(self, error) from error

    def __str__(self):
        return f"{self.name} (example {self.place})"


class StoredExample:
    """An example of `refer_segmentation`, parsed from its bytes without TensorFlow."""

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
        """The sentences: `[(ref id, sentence id, raw, expression, kind), ...]`."""
        lengths = self._sentence_feature("raw", "row_lengths_0").int64_list.value
        ref_ids = np.repeat(self.ref_ids, lengths).tolist()
        sentence_ids = self._sentence_feature("sentence_id", "flat_values").int64_list.value
        texts = []
        for name in ("raw", "expression", "kind"):
            values = self._sentence_feature(name, "flat_values").bytes_list.value
            texts.append([text.decode("utf-8") for text in values])
        return list(zip(ref_ids, sentence_ids, *texts))

    def _sentence_feature(self, name, part):
        return self.features[f"refs/sentences/{name}/ragged_{part}"]

    def entry(self):
        """The example's entry in `sentences.json`."""
        by_ref = {ref_id: [] for ref_id in self.ref_ids}
        for ref_id, *sentence in self.sentences():
            by_ref[ref_id].append(sentence)
        masks = {ref_id: self.mask(ref_id) for ref_id in by_ref}
        height, width = next(iter(masks.values())).shape
        name = self.features["file_name"].bytes_list.value[0].decode("utf-8")
        refs = [
            [ref_id, run_lengths(masks[ref_id])["counts"], sentences]
            for ref_id, sentences in by_ref.items()
        ]
        return [self.image_id, name, height, width, refs]


def _shard_error(what, error):
    return ValueError(f"{what} cannot be read from its shard: {error}. Prepare the data set again")


def config_name(dataset, split_owner):
    """The config for the arguments of `read_records`; an unknown `dataset` is a config's name."""
    names = CONFIG_NAMES.get((dataset, split_owner)), CONFIG_NAMES.get((dataset, ""))
    return next((name for name in names if name), dataset)


def prepared_configs(data_dir):
    """The names of the configs that are prepared in a folder of TFDS data sets."""
    return sorted(
        path.parent.parent.name
        for path in Path(data_dir).glob(f"{TFDS_NAME}/*/[0-9]*/dataset_info.json")
    )


def only_table(data_dir):
    """The config of a table of one's own if it is all that is prepared in a folder, else None.

    Like the table itself it needs no name.
    """
    names = prepared_configs(data_dir)
    return names[0] if len(names) == 1 and names[0].startswith(TABLE) else None


def read_shards(data_dir, config="unc", splits=None):
    """Reads a prepared data set.

    Args:
        data_dir: folder of TFDS data sets.
        config: name of the config, such as `"unc"`; see `refer_segmentation/README.md`.
        splits: names of the splits to read; None reads all.

    Returns:
        `{split: [Record, ...]}`: one record per sentence. Its `image_path` is a `StoredImage`.

    Raises:
        FileNotFoundError: if there is no such data set.
        ValueError: if its format does not allow random access, its index is damaged, or a split is
            not there.
        ModuleNotFoundError: if TensorFlow Datasets or ArrayRecord is not installed.
    """
    folder = _config_folder(Path(data_dir), config)
    builder = _load_builder(folder)
    if builder.info.file_format.value != "array_record":
        raise ValueError(
            f"{folder}: wanted the format array_record, which allows random access. "
            f"Received: {builder.info.file_format.value}. Prepare it as array_record"
        )
    path = folder / INDEX_FILE
    if not path.is_file():
        write_index(folder, build_index(builder))
    try:
        records = {
            split: _records(serialised_examples(builder, split), split, entries)
            for split, entries in read_json(path).items()
        }
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged or belongs to other shards: {error}. Remove this file"
        ) from error
    return select_splits(splits, records, folder)


def _records(source, split, entries):
    if len(source) != len(entries):
        raise ValueError(
            f"{split} has {len(entries)} images in the index, but {len(source)} in the shards"
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


def _config_folder(data_dir, config):
    """The folder of a config's latest version."""
    # An incomplete folder does not match: TFDS renames it when it is written completely.
    found = sorted((data_dir / TFDS_NAME / config).glob("[0-9]*/dataset_info.json"))
    if not found:
        there = prepared_configs(data_dir)
        what_to_do = "Give its name as `dataset`, or prepare" if there else "Prepare"
        raise FileNotFoundError(
            f"wanted {TFDS_NAME}/{config} in {data_dir}. Received: {', '.join(there) or 'none'}. "
            f"{what_to_do} the data set there: keras-cmsa prepare"
        )
    return found[-1].parent


def _load_builder(folder):
    tfds = require("tensorflow_datasets", "data", "Reading shards")
    require("array_record", "data", "Reading shards")  # the error of TFDS is later and less clear
    return tfds.builder_from_directory(folder)


def serialised_examples(builder, split):
    """The examples of a split as bytes: a sequence from ArrayRecord, an iterable from TFRecord."""
    if builder.info.file_format.value == "array_record":
        from tensorflow_datasets.core.decode import DeserializeMethod

        return builder.as_data_source(split, deserialize_method=DeserializeMethod.RAW_BYTES)
    import tensorflow as tf

    paths = [str(path) for path in builder.info.splits[split].filepaths]
    return (record.numpy() for record in tf.data.TFRecordDataset(paths))


def read_examples(builder, split):
    """Yields the examples of a split as `StoredExample`, in order.

    Raises:
        ValueError: if a shard is damaged.
    """
    try:
        yield from map(StoredExample, serialised_examples(builder, split))
    except Exception as error:  # as in `StoredImage.read_bytes`
        raise _shard_error(f"an example of {split}", error) from error


def build_index(builder):
    """Reads all shards and makes the content of `sentences.json`."""
    return {
        split: [example.entry() for example in read_examples(builder, split)]
        for split in builder.info.splits
    }


def write_index(folder, entries):
    """Writes `sentences.json` into a data set's folder."""
    with replaced(Path(folder) / INDEX_FILE) as file:
        json.dump(entries, file, separators=(",", ":"))
