"""Makes batches of records with tf.data, in parallel and ahead of the training."""

from functools import partial

import numpy as np
import tensorflow as tf

from keras_cmsa.data.samples import read_image_and_masks


def tf_dataset(batches):
    """Makes a `tf.data.Dataset` of the same batches in the same order.

    The same function decodes image files. TensorFlow resizes and pads, with the same result up to
    rounding.

    Args:
        batches: `RecordBatches`.

    Returns:
        `tf.data.Dataset` of batches.
    """
    per_row, longest = batches.order.per_row, batches.words.shape[-1]
    sentences = batches.per_row
    size = batches.preprocessor.image_size
    signature = (
        tf.TensorSpec((per_row,), tf.int64),
        tf.TensorSpec((), tf.bool),
        tf.TensorSpec((sentences, longest), tf.int32),
        tf.TensorSpec((sentences,), tf.float32),
        tf.TensorSpec((sentences,), tf.float32),
    )

    def rows():
        """Yields the indices of a row's records, whether they are mirrored, words and targets."""
        for number in range(len(batches)):
            yield from zip(
                batches.rows(number),
                batches.flips(number),
                batches.words_of(number),
                *batches.targets(number),
            )

    def read(row, flip, words, exists, weights):
        """The inputs of a row, its masks `(S, S, K)`, `exists` and weights, in the graph."""
        dtypes = [tf.uint8, tf.uint8, tf.int32]
        read_files = partial(read_at_original_size, batches)
        image, masks, placement = tf.numpy_function(read_files, [row], dtypes)
        image = to_square(tf.ensure_shape(image, (None, None, 3)), placement, size)
        masks = to_square(tf.ensure_shape(masks, (None, None, per_row)), placement, size)
        if batches.augmentation:
            image, masks = (flipped_where(flip, pixels) for pixels in (image, masks))
        masks = tf.cast(masks >= 0.5, tf.float32)
        return {"image": image, "words": words}, masks, exists, weights

    def finish(inputs, masks, exists, weights):
        images = inputs["image"]
        if batches.augmentation:
            images, masks = batches.augmentation(images, masks)
        masks = tf.transpose(masks, (0, 3, 1, 2))[..., None]  # (B, K, S, S, 1)
        masks = tf.pad(masks, [[0, 0], [0, sentences - per_row], [0, 0], [0, 0], [0, 0]])
        return {**inputs, "image": images}, *batches.labels(masks, exists, weights)

    dataset = tf.data.Dataset.from_generator(rows, output_signature=signature)
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batches.batch_size).map(finish).prefetch(tf.data.AUTOTUNE)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def read_at_original_size(batches, row):
    """Reads the records of a row.

    Returns:
        `(image, masks, placement)`: `(H, W, 3)` uint8; `(H, W, K)` uint8; `(4,)` int32, as
        `Preprocessor.placement` gives it.
    """
    records = batches.records_of(row)
    try:
        image, masks = read_image_and_masks(records)
    except (OSError, ValueError) as error:
        batches.fault = error  # TensorFlow hides this error behind one of its own
        raise
    masks += [np.zeros_like(masks[0])] * (len(row) - len(masks))
    placement = batches.preprocessor.placement(*masks[0].shape)
    return image, np.stack(masks, axis=-1), np.array(placement, "int32")


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
