"""DenseCRF: a mask that follows the colours of the photo. Extra `crf`.

The authors refine at the network's size, on the padded image, before the mask is resized. `refine`
works at any size, so also on the photo as it is.
"""

import numpy as np
from scipy.special import expit

from keras_cmsa.utils.extras import require

# Probabilities of exactly 0 and 1 have no logarithm.
SMALLEST = 1e-5
# The parameters of the authors of RMI, RRN and CMSA: standard deviations in pixels and in levels of
# 0..255, weights, and iterations of mean-field inference.
SMOOTHNESS = {"sxy": 3, "compat": 3}
COLOUR = {"sxy": 20, "srgb": 3, "compat": 10}
ITERATIONS = 5


def refine(image, logits):
    """Refines what a model found by the colours of the image.

    Args:
        image: `(H, W, 3)` RGB in 0..255; levels are rounded.
        logits: `(H, W)`, of the same size: the network's and its padded image's, or the photo's.

    Returns:
        Logits `(H, W)` float32 of the refined probability; from 0 up is foreground.

    Raises:
        ModuleNotFoundError: if the extra `crf` is not installed.
        ValueError: if the sizes differ.

    Source: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials", NIPS 2011.
    """
    densecrf = require_pydensecrf()
    logits = np.asarray(logits, "float32")
    if image.shape != (*logits.shape, 3):
        raise ValueError(
            f"wanted an image of the size of the logits {logits.shape} and 3 channels. Received: "
            f"{image.shape}"
        )
    height, width = logits.shape
    probability = np.clip(expit(logits), SMALLEST, 1 - SMALLEST)
    field = densecrf.DenseCRF2D(width, height, 2)
    unary = -np.log(np.stack([1 - probability, probability])).reshape(2, -1)
    field.setUnaryEnergy(np.ascontiguousarray(unary, "float32"))
    levels = np.ascontiguousarray(np.rint(image), "uint8")  # as the C code wants them
    field.addPairwiseGaussian(**SMOOTHNESS)
    field.addPairwiseBilateral(rgbim=levels, **COLOUR)
    outside, inside = np.log(np.maximum(np.array(field.inference(ITERATIONS)), 1e-26))
    return (inside - outside).reshape(height, width).astype("float32")


def require_pydensecrf():
    return require("pydensecrf.densecrf", "crf", "DenseCRF")
