"""The paper's measures as Keras metrics, on logits at the network's size.

They monitor a training run. `keras_cmsa.evaluation.scores` measures at the size of the original
image.
"""

import keras
from keras import ops


def intersection_and_union(y_true, y_pred):
    """The pixel counts of intersection and union of each sample: two `(...)` float32.

    Args:
        y_true: masks of 0 and 1, `(..., H, W, 1)`.
        y_pred: logits of the same shape; a pixel above 0 (probability above 0.5) is foreground.
    """
    true, predicted = ops.cast(y_true, "float32") > 0.5, y_pred > 0
    pixels = (-3, -2, -1)
    intersection = ops.sum(ops.cast(ops.logical_and(true, predicted), "float32"), axis=pixels)
    union = ops.sum(ops.cast(ops.logical_or(true, predicted), "float32"), axis=pixels)
    return intersection, union


def sample_iou(y_true, y_pred):
    """IoU of each sample, `(...)`; 1 if both masks are empty."""
    intersection, union = intersection_and_union(y_true, y_pred)
    return ops.where(union > 0, intersection / ops.maximum(union, 1.0), 1.0)


@keras.saving.register_keras_serializable(package="keras_cmsa")
class OverallIoU(keras.metrics.Metric):
    """Sum of intersections over sum of unions, the IoU of the paper and its predecessors.

    `update_state(y_true, y_pred)` takes masks of 0 and 1 and logits, both `(..., H, W, 1)`. The
    sums are float32, with a relative rounding error of about 1e-6 for the pixel counts of a data set.
    """

    def __init__(self, name="overall_iou", **kwargs):
        super().__init__(name=name, **kwargs)
        self.intersection = self.add_variable((), initializer="zeros", name="intersection")
        self.union = self.add_variable((), initializer="zeros", name="union")

    def update_state(self, y_true, y_pred, sample_weight=None):
        intersection, union = intersection_and_union(y_true, y_pred)
        if sample_weight is not None:
            weight = ops.cast(sample_weight, "float32")
            intersection, union = intersection * weight, union * weight
        self.intersection.assign_add(ops.sum(intersection))
        self.union.assign_add(ops.sum(union))

    def result(self):
        return self.intersection / ops.maximum(self.union, 1.0)


@keras.saving.register_keras_serializable(package="keras_cmsa")
class MeanSampleIoU(keras.metrics.MeanMetricWrapper):
    """Mean of the IoU of all samples (the "mIoU" or "gIoU" of later papers).

    It differs from `keras.metrics.MeanIoU`, the mean over classes of the IoU of all pixels.
    """

    def __init__(self, name="mean_iou", **kwargs):
        super().__init__(sample_iou, name=name, **kwargs)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="keras_cmsa")
class PrecisionAt(keras.metrics.MeanMetricWrapper):
    """prec@X: the share of samples whose IoU is above X, as the paper counts them.

    Args:
        threshold: X, in 0..1.
    """

    def __init__(self, threshold, name=None, **kwargs):
        self.threshold = threshold

        def is_above(y_true, y_pred):
            return ops.cast(sample_iou(y_true, y_pred) > threshold, "float32")

        super().__init__(is_above, name=name or f"prec@{threshold:g}", **kwargs)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype, "threshold": self.threshold}
