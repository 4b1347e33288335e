"""Makes batches of records for any backend, with Pillow and NumPy.

A batch is `({"image": (B, S, S, 3) float32 RGB in 0..255, "words": (B, N) int32}, mask (B, S, S, 1)
float32 of 0 and 1)`. Its content depends only on its number, so a killed run resumes with the batch
where it stopped. `tf_pipeline` gives the same batches in the same order with tf.data.
"""

import importlib.util
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_cmsa.data.augment import mirror_expression
from keras_cmsa.data.order import SampleOrder
from keras_cmsa.data.samples import read_sample

# The number of batches that are prepared before they are needed.
BATCHES_AHEAD = 8


class RecordBatches(keras.utils.PyDataset):
    """Batches of records, for `model.fit` and `model.predict`.

    Args:
        records: list of `Record`.
        preprocessor: `Preprocessor`.
        batch_size: samples per batch B. The last batch of one pass may be smaller.
        seed: `None` gives the records once, in their order. An integer gives them in random order,
            each once per pass, for any number of passes.
        batches: number of batches. `None` means one pass; more batches need a `seed`.
        first_batch: number of the first batch, to resume a run.
        augmentation: `Augmentation`, or None to leave the samples unchanged.
        workers: number of threads that prepare batches ahead when batches are read in order.

    Raises:
        ValueError: if there are no records or a record's expression has no word. Later, when a
            batch is read, if an image or a mask cannot be read; names its file.
    """

    def __init__(
        self,
        records,
        preprocessor,
        batch_size,
        seed=None,
        batches=None,
        first_batch=0,
        augmentation=None,
        workers=2,
    ):
        # Keras' own threads stay off: `model.fit` restarts them at batch 0 in every epoch, and
        # drops the batch that it reads to build the model.
        super().__init__(workers=1)
        if not records:
            raise ValueError(
                "wanted records to make batches of. Received: none, the split is empty"
            )
        self.records = records
        self.preprocessor = preprocessor
        vocabulary = preprocessor.vocabulary
        self.words = vocabulary.encode([record.expression for record in records])
        self.batch_size = batch_size
        self.order = SampleOrder(len(records), seed)
        self.batches = -(-len(records) // batch_size) if batches is None else batches
        self.first_batch = first_batch
        self.augmentation = augmentation
        self.mirrored_words, self.can_flip = self.words, np.zeros(len(records), bool)
        if augmentation:
            self.mirrored_words, self.can_flip = mirror_words(records, self.words, vocabulary)
        self.pool = ThreadPoolExecutor(max(1, workers))
        self.pending = {}
        self.latest = None
        self.fault = None  # the error of an unreadable file, which the training loop reports

    def __len__(self):
        return self.batches

    def __getitem__(self, number):
        in_order = self.latest is not None and number == self.latest + 1
        wanted = range(number, min(number + BATCHES_AHEAD, len(self))) if in_order else [number]
        self.pending = {n: self.pending.get(n) or self.pool.submit(self.load, n) for n in wanted}
        self.latest = number
        return self.pending.pop(number).result()

    def load(self, number):
        """Reads the samples of a batch and makes the batch."""
        samples, flips = self.samples(number), self.flips(number)
        loaded = [read_sample(self.records[i], self.preprocessor) for i in samples]
        images, masks = (np.stack(arrays) for arrays in zip(*loaded))
        for pixels in (images, masks):
            pixels[flips] = pixels[flips, :, ::-1]
        words = np.where(flips[:, None], self.mirrored_words[samples], self.words[samples])
        if self.augmentation:
            images, masks = map(np.asarray, self.augmentation(images, masks))
        return {"image": images, "words": words}, masks

    def flips(self, number):
        """Which samples of a batch are mirrored: `(B,)` boolean, false without augmentation."""
        samples = self.samples(number)
        if not self.augmentation:
            return np.zeros(len(samples), bool)
        start = (self.first_batch + number) * self.batch_size
        places = range(start, start + len(samples))
        return self.augmentation.flips(places) & self.can_flip[samples]

    def samples(self, number):
        """Indices of the records in a batch: `(B,)` integers."""
        start = (self.first_batch + number) * self.batch_size
        return self.order[start : start + self.batch_size]


def mirror_words(records, words, vocabulary):
    """Encodes the mirrored expressions of some records.

    Args:
        records: list of n `Record`s.
        words: `(n, N)` int32, the word ids of their expressions.
        vocabulary: `Vocabulary` or `WordPieces`.

    Returns:
        `(mirrored_words, can_flip)`: `(n, N)` int32 and `(n,)` boolean. A record that cannot be
        mirrored keeps its words.
    """
    expressions = [mirror_expression(record.expression, record.raw) for record in records]
    can_flip = np.array([expression is not None for expression in expressions])
    mirrored_words = words.copy()
    changed = [
        i for i, record in enumerate(records) if expressions[i] not in (None, record.expression)
    ]
    if changed:
        with warnings.catch_warnings():
            # `encode` has already warned about unknown words.
            warnings.simplefilter("ignore")
            mirrored_words[changed] = vocabulary.encode([expressions[i] for i in changed])
    return mirrored_words, can_flip


def fastest(batches):
    """The fastest form of the batches for `model.fit`: tf.data on TensorFlow, else unchanged."""
    if keras.backend.backend() == "tensorflow" and importlib.util.find_spec("tensorflow"):
        from keras_cmsa.data.tf_pipeline import tf_dataset

        return tf_dataset(batches)
    return batches
