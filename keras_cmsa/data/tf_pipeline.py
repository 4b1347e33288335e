"""Makes batches of records with tf.data, in parallel and ahead of the training."""

import numpy as np
import tensorflow as tf

from keras_cmsa.data.samples import read_pixels
from keras_cmsa.data.shards.read import StoredImage


def tf_dataset(batches):
    """Makes a `tf.data.Dataset` of the same batches in the same order.

    The same function decodes image files. TensorFlow decodes the images in shards, which are plain
    JPEG or PNG, to the same pixels. TensorFlow also resizes and pads, with the same result up to
    rounding.

    Args:
        batches: `RecordBatches`.

    Returns:
        `tf.data.Dataset` of batches.
    """
    signature = tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.bool)
    dataset = tf.data.Dataset.from_generator(SampleIndices(batches), output_signature=signature)
    dataset = dataset.map(
        SampleReader(batches), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    dataset = dataset.batch(batches.batch_size)
    if batches.augmentation:

        def augment(inputs, masks):
            images, masks = batches.augmentation(inputs["image"], masks)
            return {**inputs, "image": images}, masks

        dataset = dataset.map(augment)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


class SampleIndices:
    """A generator of `(index of a record, whether it is mirrored)`, one per sample in order."""

    def __init__(self, batches):
        self.batches = batches

    def __call__(self):
        for number in range(len(self.batches)):
            yield from zip(self.batches.samples(number), self.batches.flips(number))


class SampleReader:
    """A function in the graph: the index of a record to the inputs and the mask of a sample."""

    def __init__(self, batches):
        self.batches = batches
        self.size = batches.preprocessor.image_size
        self.stored = all(isinstance(r.image_path, StoredImage) for r in batches.records)

    def __call__(self, i, flip):
        dtypes = [tf.string if self.stored else tf.uint8, tf.uint8, tf.int32]
        image, mask, placement = tf.numpy_function(self.read, [i], dtypes)
        if self.stored:
            # This decodes PNG too. The default dct_method is faster but less accurate.
            image = tf.io.decode_jpeg(image, 3, dct_method="INTEGER_ACCURATE")
        image = to_square(tf.ensure_shape(image, (None, None, 3)), placement, self.size)
        mask = to_square(tf.ensure_shape(mask, (None, None, 1)), placement, self.size)
        words = tf.gather(self.batches.words, i)
        if self.batches.augmentation:
            words = tf.where(flip, tf.gather(self.batches.mirrored_words, i), words)
            image, mask = (flipped_where(flip, pixels) for pixels in (image, mask))
        return {"image": image, "words": words}, tf.cast(mask >= 0.5, tf.float32)

    def read(self, i):
        """Reads a record.

        Returns:
            `(image, mask, placement)`: `(H, W, 3)` uint8, or the file's bytes if it is in a shard;
            `(H, W, 1)` uint8; `(4,)` int32, as `Preprocessor.placement` gives it.
        """
        record = self.batches.records[i]
        try:
            if self.stored:
                image, mask = record.image_path.read_bytes(), record.mask()
            else:
                image, mask = read_pixels(record)
        except (OSError, ValueError) as error:
            self.batches.fault = error  # TensorFlow hides this error behind one of its own
            raise
        placement = self.batches.preprocessor.placement(*mask.shape)
        return image, mask[..., None], np.array(placement, "int32")


def flipped_where(flip, pixels):
    """The pixels `(S, S, C)`, mirrored if `flip` is true; a false `flip` costs nothing."""
    return tf.cond(flip, lambda: tf.reverse(pixels, [1]), lambda: pixels)


def to_square(pixels, placement, size):
    """Resizes pixels `(H, W, C)` to `(size, size, C)`.

    `placement` is `(new_height, new_width, top, left)` in pixels of the square, as
    `Preprocessor.placement` gives it.
    """
    resized = tf.image.resize(pixels, placement[:2], method="bilinear", antialias=False)
    padded = tf.image.pad_to_bounding_box(resized, placement[2], placement[3], size, size)
    return tf.ensure_shape(padded, (size, size, pixels.shape[-1]))
