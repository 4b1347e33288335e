"""Pretraining of a backbone: it learns to classify the objects in the images.

The paper starts from DeepLab, a network trained for semantic segmentation. With random weights, a
backbone learns very slowly from expressions what a star is: the word has no effect until a channel
separates stars from circles, and no such channel forms until the word has an effect. Training on
the class of every pixel forms these channels first.
"""

import keras
import numpy as np

from keras_cmsa.data.objects import class_map
from keras_cmsa.data.order import RowOrder
from keras_cmsa.data.pipeline import plain_faults
from keras_cmsa.preprocessing.fitting import to_square
from keras_cmsa.training.distribution import check_divides, is_lead, process_part
from keras_cmsa.utils.memory import keep_freed_memory

ENLARGEMENT = 4  # of the scores: from stride 8 to stride 2


def pretrain(backbone, objects, settings, verbose="auto"):
    """Trains a backbone, in place, for semantic segmentation.

    A linear classifier on each map gives the class of every position. As in DeepLab, the scores are
    enlarged before they are compared with the true classes, here to half the side of the image, so
    that the maps learn where an outline runs within a position. The loss is the sum of the
    cross-entropies of all maps. The classifiers are not kept.

    Args:
        backbone: see `small_resnet`.
        objects: the images and the number of classes, as `objects_of` returns them.
        settings: `Settings`, of which those of a pretraining, `resizing` and `seed` count here. The
            learning rate falls to zero along a half cosine.
        verbose: as in `keras.Model.fit`.

    Raises:
        ValueError: if no image has objects, an image cannot be read, or the devices of the training
            cannot share a batch equally.
    """
    batch_size, steps = settings.pretrain_batch_size, settings.pretrain_steps
    check_divides(pretrain_batch_size=batch_size)
    keep_freed_memory()
    images, classes = objects
    images = [image for image in images if image[1]]
    if not images:
        raise ValueError(
            "pretrain needs images with annotated objects, as objects_of returns them. "
            "Received: none"
        )
    logits = []
    for level, level_map in enumerate(backbone.outputs[:3]):  # a finer one learns through them
        score = keras.layers.Conv2D(
            classes, 1, data_format="channels_last", dtype="float32", name=f"score_{level}"
        )(level_map)
        enlarge = keras.layers.UpSampling2D(
            ENLARGEMENT,
            data_format="channels_last",
            interpolation="bilinear",
            name=f"classes_{level}",
        )
        logits.append(enlarge(score))
    model = keras.Model(backbone.inputs, logits)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(settings.pretrain_learning_rate, steps)
        ),
        loss=[keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in logits],
    )
    # As in `compile_model`: otherwise TensorFlow traces the first step twice.
    model.optimizer.build(model.trainable_variables)
    size, resizing = backbone.input_shape[1], settings.resizing
    stride = size // logits[0].shape[1]

    def sample(image):
        record, objects = image
        pixels = to_square(record.image(), size, resizing)
        return pixels, class_map(record, objects, size, stride, resizing)

    order = RowOrder(range(len(images)), seed=settings.seed)
    batches = ClassBatches(images, sample, order, len(logits), batch_size, steps, process_part())
    with plain_faults(batches):
        model.fit(batches, shuffle=False, verbose=verbose if is_lead() else 0)


class ClassBatches(keras.utils.PyDataset):
    """Batches of images `(B, S, S, 3)` and a tuple with the same class maps for each level.

    `sample` is a function from an image to its pixels and class map; `part` is as in `RecordBatches`.
    """

    def __init__(self, images, sample, order, levels, batch_size, batches, part=None):
        super().__init__(workers=2, max_queue_size=8)
        self.images, self.sample, self.order = images, sample, order
        self.levels, self.batch_size, self.batches = levels, batch_size, batches
        self.index, processes = part or (0, 1)
        self.share = batch_size // processes
        self.fault = None  # see `plain_faults`

    def __len__(self):
        return self.batches

    def __getitem__(self, number):
        start = number * self.batch_size + self.index * self.share
        places = self.order[start : start + self.share][:, 0]
        try:
            pixels, classes = zip(*(self.sample(self.images[i]) for i in places))
        except (OSError, ValueError) as error:
            self.fault = error
            raise
        return np.stack(pixels), (np.stack(classes),) * self.levels
