"""The maps that a frozen tower gives of each image, computed once and kept on disk.

    DIR/<encoder>/<image>.float16       the maps of an image one after the other, as numbers alone

<encoder> is a checksum of all that decides the maps but the image: the weights of the encoder, its
precision, how it scales its input, the image side and the resizing. <image> is one of the file. So
features of another encoder or photo are never taken for those that are wanted, and what is there is
finished.

Vectors of frozen words are not kept: MiniLM takes an eighth of the time that the head takes for the
same sentences, and words that are left out at random make other sentences of them each time.
"""

import hashlib
import json
import math
import shutil
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from keras_cmsa.data.pipeline import MAP_DROPOUT, RecordBatches
from keras_cmsa.data.samples import read_image_and_masks, target_of
from keras_cmsa.utils.files import remove_left, replaced

LARGEST = float(np.finfo("float16").max)
# Of a layer's configuration, what another building of the same layer may give another value.
UNSTABLE = ("name", "dtype", "trainable", "layers", "tower", "input_layers", "output_layers")


class ImageFeatures:
    """The maps that a frozen image encoder gives for images, on disk.

        features = ImageFeatures("features/", model.image_encoder, preprocessor)
        features.add_images(records, mirrored=records)
        maps = features.maps(record, mirrored=False)

    Args:
        folder: where they are kept.
        encoder: frozen backbone, from `(B, S, S, 3)` RGB in 0..255 to a list of maps.
        preprocessor: `Preprocessor`.

    Attributes:
        folder: that of this encoder within the folder.
        bytes: what an image takes on disk.

    Raises:
        ValueError: if the encoder is not frozen.
    """

    def __init__(self, folder, encoder, preprocessor):
        if encoder.trainable_weights:
            raise ValueError(
                "wanted a frozen image encoder, since training would change its features. "
                f"Received: {encoder.name!r} with {len(encoder.trainable_weights)} trainable weights"
            )
        self.encoder, self.preprocessor = encoder, preprocessor
        self.shapes = [tuple(x.shape[1:]) for x in encoder.outputs]
        setting = f"{self.shapes} {preprocessor.resizing}"
        self.folder = Path(folder) / checksum_of_encoder(encoder, setting)
        self.bytes = 2 * sum(math.prod(shape) for shape in self.shapes)
        self.keys = {}

    def path(self, record, mirrored=False):
        """The file of a record's image, named by its content and by how it lies in the square."""
        which = record.image_path, record.stored_size
        if which not in self.keys:
            content = hashlib.sha256(record.image_path.read_bytes())
            content.update(repr(record.stored_size).encode())
            self.keys[which] = content.hexdigest()
        return self.folder / f"{self.keys[which]}{'-mirrored' if mirrored else ''}.float16"

    def add_images(self, records, mirrored=(), batch_size=8, title=None):
        """Computes the maps that are not there yet, of each image once.

        If it is interrupted, the next call goes on.

        Args:
            records: list of `Record`, whose images are wanted.
            mirrored: list of those whose mirrored images are wanted too.
            batch_size: images at once.
            title: label of the progress bar; `None` shows none.

        Raises:
            OSError: before anything is computed, if the disk has too little space.
            FileNotFoundError, ValueError: if an image cannot be read or is not of its annotation's
                size, or a map has values beyond float16; names the image's file.
        """
        wanted = {self.path(record): (record, 1) for record in records}
        wanted |= {self.path(record, True): (record, -1) for record in mirrored}
        missing = [path for path in wanted if not path.exists()]
        nearest = next(x for x in (self.folder, *self.folder.parents) if x.is_dir())
        needed, free = self.bytes * len(missing), shutil.disk_usage(nearest).free
        if needed > free:
            raise OSError(
                f"wanted {needed / 1e6:,.1f} MB for the features of {len(missing)} images in "
                f"{self.folder}. Received: a disk with {free / 1e6:,.1f} MB free. Give another "
                "folder, or a smaller image_size"
            )
        if title and missing:
            size = f"{needed / 1e6:,.1f} MB"
            print(f"{title}: {len(missing)} of {len(wanted)} to compute, {size} in {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_left(self.folder)
        starts = range(0, len(missing), batch_size)
        for start in track(starts, title or "", disable=title is None):
            paths = missing[start : start + batch_size]
            pairs = [wanted[path] for path in paths]
            pictures = [(read_image_and_masks([r])[0], step) for r, step in pairs]
            images = [self.preprocessor.image(x)[:, ::step] for x, step in pictures]
            maps = self.encoder(np.stack(images), training=False)
            maps = [keras.ops.convert_to_numpy(level).astype("float32") for level in maps]
            for path, *levels in zip(paths, *maps):
                numbers = np.concatenate([level.ravel() for level in levels])
                if not np.abs(numbers).max() <= LARGEST:
                    raise ValueError(
                        f"{wanted[path][0].image_path}: wanted features of at most {LARGEST:,.0f}, "
                        f"as float16 holds them. Received: {np.abs(numbers).max():,.0f}. Train "
                        "without `features`"
                    )
                with replaced(path, "wb") as file:
                    file.write(numbers.astype("float16").tobytes())

    def maps(self, record, mirrored=False):
        """The maps of a record's image, float16, memory-mapped.

        Raises:
            FileNotFoundError: if they have not been computed.
            ValueError: if their file is damaged.
        """
        path = self.path(record, mirrored)
        if not path.exists():
            raise FileNotFoundError(
                f"wanted the features of {record.image_path} by this image encoder, resized by "
                f"{self.preprocessor.resizing!r}. Received: none in {self.folder}. Add them"
            )
        if path.stat().st_size != self.bytes:
            raise ValueError(
                f"{path} is damaged: wanted {self.bytes:,} bytes. Received: "
                f"{path.stat().st_size:,}. Delete it"
            )
        flat = np.memmap(path, "float16", "r")
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = np.split(flat, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes)]


class FeatureBatches(RecordBatches):
    """`RecordBatches` with the maps of a frozen image encoder in the place of images.

    The inputs are `{"maps": tuple of (B, H, W, C) float32, "words": (B, K, N)}`, those of the second
    model of `split_at_maps`. An augmentation mirrors, and no more.

    Args:
        features: `ImageFeatures`, which has the images of the records.
        map_dropout: probability with which each channel of a map is left out, for each image anew;
            the others grow by as much. With few images a tower's channels outnumber them.

    The rest is as in `RecordBatches`, but for `part`: all rows of a batch are one process' own.
    """

    def __init__(self, *args, features, map_dropout=0.0, **options):
        super().__init__(*args, **options)
        self.features = features
        self.map_dropout = map_dropout
        self.masks = {}

    def load(self, number):
        rows, flips = self.rows(number), self.flips(number)
        first = [self.records_of(row)[0] for row in rows]
        maps = [self.features.maps(record, flip) for record, flip in zip(first, flips)]
        # tf.data, on which Keras trains, takes a list for one array.
        maps = tuple(np.stack(level).astype("float32") for level in zip(*maps))
        if self.map_dropout:
            random, kept = self.random(MAP_DROPOUT, number), 1 - self.map_dropout
            shapes = [(len(level), 1, 1, level.shape[-1]) for level in maps]
            factors = [(random.random(shape) < kept) / kept for shape in shapes]
            maps = tuple(x * factor.astype("float32") for x, factor in zip(maps, factors))
        masks = np.stack([self.read_masks(row) for row in rows])  # (B, K, S, S, 1)
        masks[flips] = masks[flips][:, :, :, ::-1]
        inputs = {"maps": maps, "words": self.words_of(number)}
        return inputs, self.with_negatives(masks), *self.targets(number)

    def finish(self, inputs, masks, exists, weights):
        return inputs, *self.labels(masks, exists, weights)

    def read_masks(self, row):
        """The masks `(K, S, S, 1)` of a row, 0 where it has no sample."""
        masks = [self.mask(record) for record in self.records_of(row)]
        missing = len(row) - len(masks)
        return np.pad(np.stack(masks), [(0, missing), (0, 0), (0, 0), (0, 0)])

    def mask(self, record):
        """The mask of a record's object at the network's size, drawn once and kept as bits."""
        which, side = (record.image_path, target_of(record)), self.preprocessor.image_size
        if which not in self.masks:
            self.masks[which] = np.packbits(self.preprocessor.mask(record.mask()) > 0)
        bits = np.unpackbits(self.masks[which], count=side**2)
        return bits.reshape(side, side, 1).astype("float32")


def checksum_of_encoder(encoder, setting):
    """A checksum of an encoder's weights and layers, and of a setting in words."""
    digest = hashlib.sha256(setting.encode())
    for layer in encoder._flatten_layers():
        config = {k: v for k, v in layer.get_config().items() if k not in UNSTABLE}
        # By its type, since an object would be written with its place in memory.
        text = json.dumps(config, default=lambda value: type(value).__name__)
        digest.update(f"{type(layer).__name__} {layer.compute_dtype} {text}".encode())
    for weight in encoder.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    return digest.hexdigest()[:16]
