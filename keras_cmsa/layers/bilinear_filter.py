"""Initializer for learned upsampling that starts as bilinear interpolation."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cmsa")
class BilinearFilter(keras.initializers.Initializer):
    """Makes a transposed convolution of stride s and kernel 2 s interpolate bilinearly.

    The kernel `(2 s, 2 s, C, C)` of a `Conv2DTranspose` then maps every channel to itself.

    Source: Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015.
    """

    def __call__(self, shape, dtype=None):
        size = shape[0]
        stride = size // 2
        triangle = 1 - np.abs(np.arange(size) - stride + 0.5) / stride  # 2 s wide
        kernel = np.outer(triangle, triangle)[..., None, None] * np.eye(shape[2], shape[3])
        return ops.convert_to_tensor(kernel, dtype or keras.config.floatx())
