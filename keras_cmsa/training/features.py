"""What frozen towers say of each image and each expression, computed once and kept on disk.

    DIR/<encoder>/<image>.npy       float16, the maps of an image one after the other

<encoder> is a checksum of all that decides the maps but the image: the weights of the encoder, how
it scales its input, the image side and the resizing. <image> is one of the file. So features of
another encoder or photo are never taken for those that are wanted, and what is there is finished.
"""

import hashlib
import json
import math
import shutil
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.utils.files import replaced

# Of a layer's configuration, what another building of the same layer may give another value.
UNSTABLE = ("name", "dtype", "trainable", "layers", "tower", "input_layers", "output_layers")


class Features:
    """Arrays that a frozen encoder gives for each input, on disk.

    Args:
        folder: where they are kept.
        encoder: `keras.Model` or layer, from a batch of inputs to an array or a list of them.
        shapes: list of the shapes of an input's arrays, without the batch.
        setting: whatever else decides them, as a text.

    Attributes:
        folder: that of this encoder within the folder.
        bytes: what an input takes on disk.
    """

    def __init__(self, folder, encoder, shapes, setting=""):
        self.encoder = encoder
        self.shapes = [tuple(shape) for shape in shapes]
        self.folder = Path(folder) / checksum_of_encoder(encoder, f"{self.shapes} {setting}")
        self.bytes = 2 * sum(math.prod(shape) for shape in self.shapes)

    def path(self, key):
        """The file of an input, whose content has the checksum `key`."""
        return self.folder / f"{key}.npy"

    def missing(self, keys):
        """The keys without a file, each once."""
        return [key for key in dict.fromkeys(keys) if not self.path(key).exists()]

    def add(self, inputs, batch_size=8, title=None):
        """Computes what is not there yet. If it is interrupted, the next call goes on.

        Args:
            inputs: `{key: function without arguments}`, which reads an input of the encoder.
            batch_size: inputs at once.
            title: label of the progress bar; `None` shows none.

        Raises:
            OSError: before anything is computed, if the disk has too little space.
        """
        missing = self.missing(inputs)
        self.check_space(len(missing))
        if title and missing:
            size = in_words(self.bytes * len(missing))
            print(f"{title}: {len(missing)} of {len(inputs)} to compute, {size} in {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        starts = range(0, len(missing), batch_size)
        for start in track(starts, title or "", disable=title is None):
            keys = missing[start : start + batch_size]
            arrays = self.encoder(np.stack([inputs[key]() for key in keys]), training=False)
            arrays = arrays if isinstance(arrays, list | tuple) else [arrays]
            arrays = [keras.ops.convert_to_numpy(x).astype("float16") for x in arrays]
            for key, *of_input in zip(keys, *arrays):
                with replaced(self.path(key), "wb") as file:
                    np.save(file, np.concatenate([x.ravel() for x in of_input]))

    def check_space(self, count):
        """Raises an `OSError` if the disk has no space for `count` more inputs."""
        there = next(x for x in (self.folder, *self.folder.parents) if x.is_dir())
        free = shutil.disk_usage(there).free
        if self.bytes * count > free:
            raise OSError(
                f"wanted {in_words(self.bytes * count)} for the features of {count} inputs in "
                f"{self.folder.parent}. Received: a disk with {in_words(free)} free. Give another "
                "folder, or a smaller image_size"
            )

    def read(self, key):
        """The arrays of an input, float16, memory-mapped.

        Raises:
            FileNotFoundError: if they have not been computed.
            ValueError: if their file is damaged.
        """
        path = self.path(key)
        flat = np.load(path, mmap_mode="r", allow_pickle=False)
        if flat.shape != (self.bytes // 2,) or flat.dtype != "float16":
            raise ValueError(
                f"{path} is damaged: wanted {self.bytes // 2} numbers of float16. Received: "
                f"{flat.dtype} of shape {flat.shape}. Delete it"
            )
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = np.split(flat, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes)]


class ImageFeatures(Features):
    """The maps of images.

        features = ImageFeatures("features/", model.image_encoder, preprocessor)
        features.add_images(records, mirrored=True, title="features")
        maps = features.maps(record, mirrored=False)

    Args:
        folder: where they are kept.
        encoder: frozen backbone, from `(B, S, S, 3)` RGB in 0..255 to a list of maps.
        preprocessor: `Preprocessor`.

    Raises:
        ValueError: if the encoder is not frozen.
    """

    def __init__(self, folder, encoder, preprocessor):
        if encoder.trainable_weights:
            raise ValueError(
                "wanted a frozen image encoder, since training would change its features. "
                f"Received: {encoder.name!r} with {len(encoder.trainable_weights)} trainable weights"
            )
        self.preprocessor = preprocessor
        shapes = [x.shape[1:] for x in encoder.outputs]
        super().__init__(folder, encoder, shapes, preprocessor.resizing)
        self.keys = {}

    def key(self, record, mirrored=False):
        """The checksum of a record's image file and of how it lies in the square."""
        which = record.image_path, record.stored_size
        if which not in self.keys:
            content = hashlib.sha256(record.image_path.read_bytes())
            content.update(repr(record.stored_size).encode())
            self.keys[which] = content.hexdigest()
        return self.keys[which] + ("-mirrored" if mirrored else "")

    def add_images(self, records, mirrored=False, batch_size=8, title=None):
        """Computes the maps of the images of some records, of each image once.

        Args:
            records: list of `Record`.
            mirrored: compute those of the mirrored images too.
            batch_size, title: as in `add`.

        Raises:
            OSError: if the disk has too little space.
            FileNotFoundError, ValueError: if an image cannot be read; names its file.
        """
        inputs = {}
        for record in records:
            for side in (False, True)[: 1 + mirrored]:
                inputs.setdefault(self.key(record, side), self.reader(record, side))
        self.add(inputs, batch_size, title)

    def reader(self, record, mirrored):
        """A function that reads a record's image as the encoder takes it."""

        def read():
            pixels = self.preprocessor.image(record.image())
            return pixels[:, ::-1] if mirrored else pixels

        return read

    def maps(self, record, mirrored=False):
        """The maps of a record's image, see `read`."""
        return self.read(self.key(record, mirrored))


class FeatureBatches(RecordBatches):
    """`RecordBatches` with the maps of a frozen image encoder in the place of images.

    The inputs are `{"maps": tuple of (B, H, W, C) float32, "words": (B, K, N)}`, those of the second
    model of `split_at_maps`. An augmentation mirrors, and no more.

    Args:
        features: `ImageFeatures`, which has the images of the records.

    The rest is as in `RecordBatches`; all rows of a batch are one process' own.
    """

    def __init__(self, *args, features, **options):
        super().__init__(*args, **options)
        if self.part is not None:
            raise ValueError("wanted one process to train on features. Received: several")
        self.features = features

    def load(self, number):
        rows, flips = self.rows(number), self.flips(number)
        first = [self.records_of(row)[0] for row in rows]
        maps = [self.features.maps(record, flip) for record, flip in zip(first, flips)]
        # tf.data, on which Keras trains, takes a list for one array.
        maps = tuple(np.stack(level).astype("float32") for level in zip(*maps))
        masks = np.stack([self.read_masks(row) for row in rows])  # (B, K, S, S, 1)
        masks[flips] = masks[flips][:, :, :, ::-1]
        return {"maps": maps, "words": self.words_of(number)}, masks, self.weights(rows)

    def read_masks(self, row):
        """The masks `(K, S, S, 1)` of a row, 0 where it has no sample."""
        masks = [self.preprocessor.mask(record.mask()) for record in self.records_of(row)]
        missing = len(row) - len(masks)
        return np.pad(np.stack(masks), [(0, missing), (0, 0), (0, 0), (0, 0)])


class SentenceFeatures(Features):
    """The vectors `(N, C)` of the words of each expression.

    Args:
        folder: where they are kept.
        encoder: frozen layer from ids `(B, N)` to vectors `(B, N, C)`.
        max_words: words per expression N.
        dim: length of a vector C.
    """

    def __init__(self, folder, encoder, max_words, dim):
        super().__init__(folder, encoder, [(max_words, dim)])

    @staticmethod
    def key(ids):
        """The checksum of the word ids `(N,)` of an expression."""
        return hashlib.sha256(np.asarray(ids, "int32").tobytes()).hexdigest()

    def add_sentences(self, words, batch_size=64, title=None):
        """Computes the vectors of expressions `(n, N)` int32, of each once."""
        inputs = {self.key(ids): lambda ids=ids: np.asarray(ids, "int32") for ids in words}
        self.add(inputs, batch_size, title)

    def vectors(self, ids):
        """The vectors `(N, C)` of an expression's ids `(N,)`, see `read`."""
        return self.read(self.key(ids))[0]


def checksum_of_encoder(encoder, setting=""):
    """A checksum of an encoder's weights and layers, and of a setting in words."""
    digest = hashlib.sha256(setting.encode())
    for layer in encoder._flatten_layers():
        config = {k: v for k, v in layer.get_config().items() if k not in UNSTABLE}
        digest.update(f"{type(layer).__name__} {json.dumps(config, default=type_name)}".encode())
    for weight in encoder.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    return digest.hexdigest()[:16]


def type_name(value):
    # An object would be written with its place in memory.
    return type(value).__name__


def in_words(size):
    """A number of bytes as people say it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
