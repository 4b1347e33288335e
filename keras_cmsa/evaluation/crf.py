"""DenseCRF: a mask that follows the colours of the photo. Extra `crf`.

The authors refine at the network's size, on the padded image, before the mask is resized. `refine`
works at any size, so also on the photo as it is.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from keras_cmsa.utils.extras import require

# Probabilities of exactly 0 and 1 have no logarithm.
SMALLEST = 1e-5


@dataclass(frozen=True)
class Crf:
    """Parameters of the refinement; the defaults are the authors' of RMI, RRN and CMSA.

    Attributes:
        smooth_pixels: standard deviation of the smoothness kernel, in pixels.
        smooth_weight: its weight.
        colour_pixels: standard deviation in pixels of the kernel over place and colour.
        colour_levels: its standard deviation in colour, in levels of 0..255.
        colour_weight: its weight.
        iterations: of mean-field inference.

    Source: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials", NIPS 2011.
    """

    smooth_pixels: float = 3
    smooth_weight: float = 3
    colour_pixels: float = 20
    colour_levels: float = 3
    colour_weight: float = 10
    iterations: int = 5


def refine(image, logits, crf=None):
    """Refines what a model found by the colours of the image.

    Args:
        image: `(H, W, 3)` RGB in 0..255; levels are rounded.
        logits: `(H, W)`, of the same size: the network's and its padded image's, or the photo's.
        crf: `Crf`; `None`: the authors' parameters.

    Returns:
        Logits `(H, W)` float32 of the refined probability; from 0 up is foreground.

    Raises:
        ModuleNotFoundError: if the extra `crf` is not installed.
        ValueError: if the sizes differ.
    """
    densecrf = require_pydensecrf()
    crf = crf or Crf()
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
    field.addPairwiseGaussian(sxy=crf.smooth_pixels, compat=crf.smooth_weight)
    field.addPairwiseBilateral(
        sxy=crf.colour_pixels,
        srgb=crf.colour_levels,
        rgbim=as_levels(image),
        compat=crf.colour_weight,
    )
    outside, inside = np.log(np.maximum(np.array(field.inference(crf.iterations)), 1e-26))
    return (inside - outside).reshape(height, width).astype("float32")


def require_pydensecrf():
    return require("pydensecrf.densecrf", "crf", "DenseCRF")


def as_levels(image):
    """An image of any number type as levels `(H, W, 3)` uint8, contiguous as the C code wants it."""
    return np.ascontiguousarray(np.rint(image), "uint8")
