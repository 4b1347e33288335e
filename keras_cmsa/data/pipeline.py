"""Records to batches, twice: for any backend without TensorFlow, and as tf.data.

Both give `({"image": (B, S, S, 3) float32 RGB in 0..255, "words": (B, N) int32}, mask (B, S, S, 1)
float32 of 0 and 1)`, the same batches in the same order. What a batch holds follows from its number
alone, so a run that was killed goes on where it was.
"""

import functools
import importlib.util
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_cmsa.data.augment import mirrored
from keras_cmsa.data.shards import StoredImage
from keras_cmsa.image import FITS, fit_mask, padded_geometry, read_image

# Batches under way ahead of the one asked for.
AHEAD = 8


class RecordBatches(keras.utils.PyDataset):
    """Batches of records with Pillow and NumPy.

    Args:
        records: list of `Record`.
        vocabulary: `Vocabulary`.
        image_size: side S of the network's input in pixels.
        batch_size: B. The last batch is smaller where the records run out.
        seed: `None` takes the records once, in their order. A number takes them in random order,
            each once per pass, pass after pass.
        batches: how many batches there are. `None`: one pass. Needs a `seed` to exceed it.
        first_batch: number of the first one, for resuming.
        fit: `"pad"` keeps the aspect and pads, `"stretch"` does not (`keras_cmsa.image.FITS`).
        augmentation: `Augmentation`, or None for samples as they are.
        workers: threads that prepare batches ahead, once they are asked for one after the other.

    Raises:
        ValueError: if there are no records, a record's expression has no word, or `fit` is unknown;
            while iterating, if an image or mask cannot be read, naming its file.
    """

    def __init__(
        self,
        records,
        vocabulary,
        image_size,
        batch_size,
        seed=None,
        batches=None,
        first_batch=0,
        fit="pad",
        augmentation=None,
        workers=2,
    ):
        # Not Keras' own threads: `model.fit` starts those over at batch 0 in every epoch, and a
        # batch that it looks at to build the model is lost.
        super().__init__(workers=1)
        if not records:
            raise ValueError("There are no records to make batches of: the split is empty")
        if fit not in FITS:
            raise ValueError(f"fit must be one of {sorted(FITS)}. Received: fit={fit!r}")
        self.records = records
        self.words = vocabulary.encode([record.expression for record in records])
        self.image_size = image_size
        self.batch_size = batch_size
        self.order = SampleOrder(len(records), seed)
        self.batches = -(-len(records) // batch_size) if batches is None else batches
        self.first_batch = first_batch
        self.fit = fit
        self.augmentation = augmentation
        self.mirrored_words, self.can_flip = self.words, np.zeros(len(records), bool)
        if augmentation:
            self.mirrored_words, self.can_flip = mirror_words(records, self.words, vocabulary)
        self.pool = ThreadPoolExecutor(max(1, workers))
        self.under_way = {}
        self.latest = None

    def __len__(self):
        return self.batches

    def __getitem__(self, number):
        in_order = self.latest is not None and number == self.latest + 1
        wanted = range(number, min(number + AHEAD, len(self))) if in_order else [number]
        self.under_way = {
            n: self.under_way.get(n) or self.pool.submit(self.load, n) for n in wanted
        }
        self.latest = number
        return self.under_way.pop(number).result()

    def load(self, number):
        """Reads a batch."""
        samples, flips = self.samples(number), self.flips(number)
        loaded = [read_sample(self.records[i], self.image_size, self.fit) for i in samples]
        images, masks = (np.stack(arrays) for arrays in zip(*loaded))
        for pixels in (images, masks):
            pixels[flips] = pixels[flips, :, ::-1]
        words = np.where(flips[:, None], self.mirrored_words[samples], self.words[samples])
        if self.augmentation:
            images, masks = map(np.asarray, self.augmentation(images, masks))
        return {"image": images, "words": words}, masks

    def flips(self, number):
        """Which samples of a batch are mirrored: booleans, all false without augmentation."""
        samples = self.samples(number)
        if not self.augmentation:
            return np.zeros(len(samples), bool)
        start = (self.first_batch + number) * self.batch_size
        places = range(start, start + len(samples))
        return self.augmentation.flips(places) & self.can_flip[samples]

    def samples(self, number):
        """Indices of the records in a batch."""
        start = (self.first_batch + number) * self.batch_size
        return self.order[start : start + self.batch_size]


class SampleOrder:
    """Which record comes when: `order[a:b]` are the records at places a to b of the stream.

    Without a seed the stream is 0, 1, ... count - 1. With one it never ends: each pass over the
    data is a permutation of its own, which depends on the seed and the number of the pass only.
    """

    def __init__(self, count, seed=None):
        self.count = count
        self.seed = seed

    def __getitem__(self, places):
        if self.seed is None:
            return np.arange(self.count)[places]
        places = np.arange(places.start, places.stop)
        which_pass, place = np.divmod(places, self.count)
        order = np.empty_like(places)
        for number in np.unique(which_pass):
            permutation = permutation_of(self.count, self.seed, int(number))
            order[which_pass == number] = permutation[place[which_pass == number]]
        return order


@functools.lru_cache(maxsize=4)  # asked for once per batch, and the same for a whole pass
def permutation_of(count, seed, number):
    return np.random.default_rng([seed, number]).permutation(count)


def mirror_words(records, words, vocabulary):
    """The words `(n, N)` of the mirrored records, and which of them `(n,)` can be mirrored."""
    expressions = [mirrored(record.expression) for record in records]
    can_flip = np.array([expression is not None for expression in expressions])
    of_mirrored = words.copy()
    changed = [
        i for i, record in enumerate(records) if expressions[i] not in (None, record.expression)
    ]
    if changed:
        with warnings.catch_warnings():
            # Of expressions without a known word it was said before.
            warnings.simplefilter("ignore")
            of_mirrored[changed] = vocabulary.encode([expressions[i] for i in changed])
    return of_mirrored, can_flip


def read_sample(record, image_size, fit="pad"):
    """A record's image `(S, S, 3)` float32 in 0..255 and mask `(S, S, 1)` of 0 and 1."""
    image, mask = read_pixels(record)
    return FITS[fit][0](image, image_size), fit_mask(mask, image_size, fit)


def read_pixels(record):
    """A record's image `(H, W, 3)` uint8 and mask `(H, W)` uint8, at the original size.

    Raises:
        ValueError: if either cannot be read or their sizes differ; names the file.
    """
    image, mask = read_image(record.image_path), record.mask()
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"The image and its annotation differ in size for {record.describe()}: the file has "
            f"{image.shape[:2]} pixels (height, width), the annotation was made for {mask.shape}. "
            "Is it the image the data set means?"
        )
    return image, mask


def tf_dataset(batches):
    """The batches of a `RecordBatches` as a `tf.data.Dataset`, prepared in parallel and ahead.

    Files are decoded by the same function, and images in shards, which are plain JPEG or PNG, by
    TensorFlow's to the same pixels. Resizing and padding are TensorFlow's, which agree with ours to
    rounding.
    """
    import tensorflow as tf

    records, size = batches.records, batches.image_size
    stored = all(isinstance(record.image_path, StoredImage) for record in records)

    def numbers():
        for number in range(len(batches)):
            yield from zip(batches.samples(number), batches.flips(number))

    def read(i):
        if stored:
            image, mask = records[i].image_path.read_bytes(), records[i].mask()
        else:
            image, mask = read_pixels(records[i])
        box = padded_geometry(*mask.shape, size) if batches.fit == "pad" else (size, size, 0, 0)
        return image, mask[..., None], np.array(box, "int32")

    def load(i, flip):
        kinds = [tf.string if stored else tf.uint8, tf.uint8, tf.int32]
        image, mask, box = tf.numpy_function(read, [i], kinds)
        if stored:
            # Reads PNG as well. By default it would take a faster, less accurate transform.
            image = tf.io.decode_jpeg(image, 3, dct_method="INTEGER_ACCURATE")
        image = fit_to_square(tf.ensure_shape(image, (None, None, 3)), box, size)
        mask = fit_to_square(tf.ensure_shape(mask, (None, None, 1)), box, size)
        words = tf.gather(batches.words, i)
        if batches.augmentation:
            words = tf.where(flip, tf.gather(batches.mirrored_words, i), words)
            image, mask = (flipped_where(flip, pixels) for pixels in (image, mask))
        return {"image": image, "words": words}, tf.cast(mask >= 0.5, tf.float32)

    def augment(inputs, masks):
        images, masks = batches.augmentation(inputs["image"], masks)
        return {**inputs, "image": images}, masks

    signature = tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.bool)
    dataset = tf.data.Dataset.from_generator(numbers, output_signature=signature)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batches.batch_size)
    if batches.augmentation:
        dataset = dataset.map(augment)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def flipped_where(flip, pixels):
    """The pixels `(S, S, C)`, mirrored if `flip` is true; else nothing is computed."""
    import tensorflow as tf

    return tf.cond(flip, lambda: tf.reverse(pixels, [1]), lambda: pixels)


def fit_to_square(pixels, box, size):
    """Bilinear resize to the first two numbers of `box`, at an offset of the last two."""
    import tensorflow as tf

    resized = tf.image.resize(pixels, box[:2], method="bilinear", antialias=False)
    padded = tf.image.pad_to_bounding_box(resized, box[2], box[3], size, size)
    return tf.ensure_shape(padded, (size, size, pixels.shape[-1]))


def fastest(batches):
    """What `model.fit` is best given: tf.data where TensorFlow is the backend, else `batches`."""
    if keras.backend.backend() == "tensorflow" and importlib.util.find_spec("tensorflow"):
        return tf_dataset(batches)
    return batches
