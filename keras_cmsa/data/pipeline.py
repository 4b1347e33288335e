"""Makes batches of records for any backend, with Pillow and NumPy.

A batch has a row per image with K expressions about it:

    {"image": (B, S, S, 3) float32 RGB in 0..255, "words": (B, K, N) int32},
    masks (B, K, S, S, 1) float32 of 0 and 1,
    weights (B, K) float32, 0 where a row has no further expression and 1 elsewhere

For a model that says whether anything fits, sentences that fit nothing stand behind the expressions,
and masks and weights are dicts of `logits` and `exists`; `exists` are `(B, K)` of 0 and 1. A
sentence without a target then has no weight for the mask.

Its content depends only on its number, so a killed run resumes with the batch where it stopped.
"""

import contextlib
import functools
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_cmsa.data.augment import mirror_expression
from keras_cmsa.data.order import RowOrder
from keras_cmsa.data.record import images_of
from keras_cmsa.data.samples import read_image_and_masks

# Tell the random numbers of a purpose from others of the same seed.
WORD_DROPOUT, NEGATIVES, MAP_DROPOUT = 1, 2, 3
# Batches that are read before they are needed, when they are asked for in order, and by how many.
BATCHES_AHEAD, THREADS = 8, min(16, os.cpu_count() or 1)


class RecordBatches(keras.utils.PyDataset):
    """Batches of records, for `model.fit`.

    Args:
        records: list of `Record`.
        preprocessor: `Preprocessor`.
        batch_size: images per batch B. The last batch of one pass may be smaller.
        per_image: expressions of a row at most, K. An image with more gets several rows. K is less
            if no image has as many.
        seed: `None` gives the records once, image by image. An integer gives them in random order,
            each once per pass, for any number of passes.
        batches: number of batches. `None` means one pass; more batches need a `seed`.
        first_batch: number of the first batch, to resume a run.
        augmentation: `Augmentation`, or None to leave the samples unchanged.
        word_dropout: probability with which each word of an expression is left out, at random. One
            word at least stays.
        negatives: `Negatives` of the records, for a model that says whether anything fits; `None`
            for another.
        part: `(index, number)`: give part `index` of each batch, whose rows `number` processes share
            equally. The last batch of a pass is then filled up with rows of weight 0. `None` gives
            whole batches.

    Raises:
        ValueError: if there are no records or a record's expression has no word. Later, when a
            batch is read, if an image or a mask cannot be read; names its file.
    """

    def __init__(
        self,
        records,
        preprocessor,
        batch_size,
        per_image=1,
        seed=None,
        batches=None,
        first_batch=0,
        augmentation=None,
        word_dropout=0.0,
        negatives=None,
        part=None,
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
        self.words = padded(vocabulary.encode([record.expression for record in records]))
        self.batch_size = batch_size
        self.order = RowOrder(images_of(records), per_image, seed)
        self.batches = -(-self.order.rows // batch_size) if batches is None else batches
        self.first_batch = first_batch
        self.augmentation = augmentation
        self.word_dropout = word_dropout
        self.negatives = negatives
        self.per_row = self.order.per_row + (negatives.per_image if negatives else 0)
        self.has_target = np.array([*(bool(record.targets) for record in records), False])
        # Cached because words and weights of a batch both need them.
        self.negative_words = functools.lru_cache(maxsize=2 * BATCHES_AHEAD)(self.draw_negatives)
        self.part = part
        self.mirrored_words, self.can_flip = self.words, np.zeros(len(records) + 1, bool)
        if augmentation:
            self.mirrored_words, self.can_flip = mirror_words(records, vocabulary)
        self.pool = ThreadPoolExecutor(THREADS)
        self.pending = {}
        self.latest = None
        self.fault = None  # see `plain_faults`

    def __len__(self):
        return self.batches

    def __getitem__(self, number):
        in_order = self.latest is not None and number == self.latest + 1
        wanted = range(number, min(number + BATCHES_AHEAD, len(self))) if in_order else [number]
        self.pending = {n: self.pending.get(n) or self.pool.submit(self.load, n) for n in wanted}
        self.latest = number
        try:
            loaded = self.pending.pop(number).result()
        except (OSError, ValueError) as error:
            self.fault = error
            raise
        return self.finish(*loaded)

    def load(self, number):
        """Reads the rows of a batch, or of this process' part of it.

        Returns:
            The inputs; masks `(B, S, S, K)`; `exists` and weights `(B, K)`.
        """
        rows = self.shared(self.rows(number), filler=len(self.records))
        flips, words = self.shared(self.flips(number)), self.shared(self.words_of(number))
        images, masks = (np.stack(arrays) for arrays in zip(*map(self.read_row, rows)))
        for pixels in (images, masks):
            pixels[flips] = pixels[flips, :, ::-1]
        return {"image": images, "words": words}, masks, *map(self.shared, self.targets(number))

    def finish(self, inputs, masks, exists, weights):
        """The batch of what `load` gives; one after the other, since an augmentation has a state."""
        if self.augmentation:
            images, masks = map(np.asarray, self.augmentation(inputs["image"], masks))
            inputs = inputs | {"image": images}
        masks = self.with_negatives(np.moveaxis(masks, -1, 1)[..., None])
        return inputs, *self.labels(masks, exists, weights)

    def shared(self, of_batch, filler=0):
        """This process' part of an array over the rows of a batch, which `filler` fills up."""
        if self.part is None:
            return of_batch
        index, number = self.part
        share = self.batch_size // number
        missing = [(0, self.batch_size - len(of_batch)), *[(0, 0)] * (of_batch.ndim - 1)]
        full = np.pad(of_batch, missing, constant_values=filler)
        return full[index * share : (index + 1) * share]

    def read_row(self, row):
        """The image `(S, S, 3)` of a row and its masks `(S, S, K)`, 0 where it has no sample."""
        records = self.records_of(row)
        if not records:
            side = self.preprocessor.image_size
            return np.zeros((side, side, 3), "float32"), np.zeros((side, side, len(row)), "float32")
        image, masks = read_image_and_masks(records)
        squares = np.concatenate([self.preprocessor.mask(mask) for mask in masks], axis=-1)
        missing = [(0, 0), (0, 0), (0, len(row) - len(records))]
        return self.preprocessor.image(image), np.pad(squares, missing)

    def words_of(self, number):
        """The word ids of a batch: `(B, K, N)` int32."""
        rows, flips = self.rows(number), self.flips(number)
        words = np.where(flips[:, None, None], self.mirrored_words[rows], self.words[rows])
        if self.word_dropout:
            continues = self.preprocessor.vocabulary.continues
            random = self.random(WORD_DROPOUT, number)
            fewer = drop_words(words, continues, self.word_dropout, random)
            # What fits nothing may fit something with a word less.
            words = np.where(self.has_target[rows][..., None], fewer, words)
        if self.negatives:
            words = np.concatenate([words, self.negative_words(number)], axis=1)
        return words

    def random(self, purpose, number):
        """The random numbers of a batch for a purpose."""
        return np.random.default_rng([self.order.seed or 0, purpose, self.first_batch + number])

    def draw_negatives(self, number):
        """The word ids of sentences that fit nothing: `(B, M, N)` int32, 0 where there is none."""
        rows, random = self.rows(number), self.random(NEGATIVES, number)
        vocabulary = self.preprocessor.vocabulary
        words = np.zeros((len(rows), self.negatives.per_image, vocabulary.max_words), "int32")
        for b, (row, flip) in enumerate(zip(rows, self.flips(number))):
            sentences = self.negatives.draw(row[row < len(self.records)], random)
            if flip:  # one that cannot be mirrored tells left from right in letters, say
                sentences = [mirror_expression(x, x) or x for x in sentences]
            # To the model a word that it does not know is any word, and what is cut off is not
            # there. Without such sentences `encode` has nothing to warn of: Python's filters are of
            # the whole process, and a thread could not silence a warning alone.
            read = [vocabulary.split(x)[: vocabulary.max_words] for x in sentences]
            known = [x for x, tokens in zip(sentences, read) if vocabulary.unknown not in tokens]
            ids = vocabulary.encode(known)
            of_image = self.order.image_of == self.order.image_of[row[0]]
            fitting = (self.mirrored_words if flip else self.words)[:-1][
                of_image & self.has_target[:-1]
            ]
            new = ids[~(ids[:, None] == fitting).all(axis=2).any(axis=1)]
            words[b, : len(new)] = new
        return words

    def rows(self, number):
        """The rows of a batch: `(B, K)` indices of records, or their number at no record."""
        start = (self.first_batch + number) * self.batch_size
        return self.order[start : start + self.batch_size]

    def records_of(self, row):
        """The records of a row, which are about one image."""
        return [self.records[i] for i in row if i < len(self.records)]

    def targets(self, number):
        """What a batch has: `(exists, weights)`, both `(B, K)` float32.

        `exists` is 1 where a sentence has a target; `weights` are 0 where a row has no sentence.
        """
        rows = self.rows(number)
        exists, weights = self.with_negatives(self.has_target[rows]), rows < len(self.records)
        if self.negatives:
            drawn = self.negative_words(number).any(axis=-1)
            weights = np.concatenate([weights, drawn], axis=1)
        return exists.astype("float32"), weights.astype("float32")

    def with_negatives(self, masks):
        """An array `(B, K, ...)` of masks or of `exists` with zeros behind it, for the negatives."""
        more = self.negatives.per_image if self.negatives else 0
        return np.pad(masks, [(0, 0), (0, more), *[(0, 0)] * (masks.ndim - 2)])

    def labels(self, masks, exists, weights):
        """Labels and weights for `model.fit`, of arrays or tensors `(B, K, ...)`."""
        if not self.negatives:
            return masks, weights
        return {"logits": masks, "exists": exists}, {"logits": weights * exists, "exists": weights}

    def flips(self, number):
        """Which rows of a batch are mirrored: `(B,)` boolean, false without augmentation.

        An image is mirrored if all expressions of its row can be.
        """
        rows = self.rows(number)
        if not self.augmentation:
            return np.zeros(len(rows), bool)
        start = (self.first_batch + number) * self.batch_size
        places = range(start, start + len(rows))
        return self.augmentation.flips(places) & self.can_flip[rows].all(axis=1)


@contextlib.contextmanager
def plain_faults(*batches):
    """Raises the `fault` of some batches, an unreadable file, which TensorFlow hides behind its own."""
    try:
        yield
    except Exception as error:
        for fault in (b.fault for b in batches if b.fault):
            raise ValueError(str(fault)) from error
        raise


def padded(words):
    """Word ids `(n, N)` and a row of padding after them, for the place of no record."""
    return np.pad(words, [(0, 1), (0, 0)])


def drop_words(words, continues, rate, random):
    """Leaves words out at random; those behind move up.

    Args:
        words: `(..., N)` int32, 0 at padding, which stands on the right.
        continues: which ids continue a word and go with it, see `Vocabulary.continues`.
        rate: probability of each word. A sentence that would lose all its words keeps them.
        random: NumPy `Generator`.
    """
    drawn = random.random(words.shape)
    starts = np.where(continues[words], 0, np.arange(words.shape[-1]))
    first = np.maximum.accumulate(starts, axis=-1)  # the place where the word of each place begins
    kept = (words > 0) & (np.take_along_axis(drawn, first, axis=-1) >= rate)
    kept |= (words > 0) & ~kept.any(axis=-1, keepdims=True)
    order = np.argsort(~kept, axis=-1, kind="stable")
    return np.take_along_axis(np.where(kept, words, 0), order, axis=-1)


def mirror_words(records, vocabulary):
    """Encodes the mirrored expressions of some records.

    Args:
        records: list of n `Record`s.
        vocabulary: as that of a `Preprocessor`.

    Returns:
        `(mirrored_words, can_flip)`: `(n + 1, N)` int32 and `(n + 1,)` boolean, the last of no
        record. A record that cannot be mirrored keeps its words.
    """
    mirrored = [mirror_expression(record.expression, record.raw) for record in records]
    can_flip = np.array([*(expression is not None for expression in mirrored), True])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `encode` has already warned about unknown words
        words = vocabulary.encode([new or r.expression for new, r in zip(mirrored, records)])
    return padded(words), can_flip
