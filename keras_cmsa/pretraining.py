"""A start for a backbone: it first learns to tell the classes of the objects in the images.

The paper starts from DeepLab, a network trained for semantic segmentation. From random weights a
backbone learns what a star is only very slowly from expressions: as long as no channel tells stars
from circles nothing can be bound to the word, and until the word is bound nothing asks for the
channel. Classes at every pixel give it the channels first.
"""

import keras
import numpy as np

from keras_cmsa.data.objects import class_map
from keras_cmsa.data.pipeline import SampleOrder
from keras_cmsa.image import read_image, resize_and_pad

ENLARGED = 4  # times; of a stride of 8 this leaves 2


def pretrain(
    backbone, images, classes, steps, batch_size=16, learning_rate=2e-3, seed=0, verbose="auto"
):
    """Trains a backbone, in place, for semantic segmentation.

    A linear classifier on each of its maps gives the class at every position. As in DeepLab its
    scores are enlarged before they meet the truth, here to half the image's side, so that the maps
    tell where within a position an outline runs. The loss is the sum of the cross-entropies. The
    classifiers are thrown away.

    Args:
        backbone: see `small_resnet`.
        images: list of `ImageObjects`.
        classes: number of classes, background included.
        steps: batches to train on.
        batch_size: images per batch.
        learning_rate: of Adam at the start; it falls to zero along a half cosine.
        seed: of the order of images.
        verbose: as in `keras.Model.fit`.

    Raises:
        ValueError: if there are no images with objects, or an image cannot be read.
    """
    images = [image for image in images if image.objects]
    if not images:
        raise ValueError(
            "pretrain needs images with annotated objects, as read_objects gives. Received: none"
        )
    logits = []
    for level, level_map in enumerate(backbone.outputs):
        score = keras.layers.Conv2D(classes, 1, dtype="float32", name=f"score_{level}")(level_map)
        enlarge = keras.layers.UpSampling2D(
            ENLARGED, interpolation="bilinear", name=f"classes_{level}"
        )
        logits.append(enlarge(score))
    model = keras.Model(backbone.inputs, logits)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)),
        loss=[keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in logits],
    )
    size, stride = backbone.input_shape[1], backbone.input_shape[1] // logits[0].shape[1]
    batches = ClassBatches(images, size, stride, len(logits), batch_size, steps, seed)
    model.fit(batches, shuffle=False, verbose=verbose)


class ClassBatches(keras.utils.PyDataset):
    """Batches of `(images (B, S, S, 3), a tuple of the class maps, once for each level)`."""

    def __init__(self, images, size, stride, levels, batch_size, batches, seed):
        super().__init__(workers=2, max_queue_size=8)
        self.images, self.size, self.stride, self.levels = images, size, stride, levels
        self.batch_size, self.batches = batch_size, batches
        self.order = SampleOrder(len(images), seed)

    def __len__(self):
        return self.batches

    def __getitem__(self, number):
        start = number * self.batch_size
        images = [self.images[i] for i in self.order[start : start + self.batch_size]]
        pixels = [resize_and_pad(read_image(image.image_path), self.size) for image in images]
        classes = np.stack([class_map(image, self.size, self.stride) for image in images])
        return np.stack(pixels), (classes,) * self.levels
