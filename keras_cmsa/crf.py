"""DenseCRF: a mask that follows the colours of the photo. Extra `crf`.

The authors refine at the network's size, on the padded image, before the mask is resized:
`evaluate_refined` does that, under any profile, beside the measurement without. `refine` works at
any size, so also on the photo as it is.
"""

import multiprocessing
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from keras_cmsa.image import FITS, read_image

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
    densecrf = pydensecrf()
    crf = crf or Crf()
    logits = np.asarray(logits, "float32")
    if image.shape != (*logits.shape, 3):
        raise ValueError(
            f"wanted an image of the size of the logits and 3 channels, got {image.shape} for "
            f"{logits.shape}"
        )
    height, width = logits.shape
    probability = np.clip(1 / (1 + np.exp(-np.clip(logits, -60, 60))), SMALLEST, 1 - SMALLEST)
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


def pydensecrf():
    try:
        import pydensecrf.densecrf
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'DenseCRF needs pydensecrf: pip install "keras-cmsa[crf]"', name=error.name
        ) from error
    return pydensecrf.densecrf


def evaluate_refined(
    model,
    vocabulary,
    records,
    profile="strict",
    batch_size=8,
    fit="pad",
    title=None,
    size="network",
    crf=None,
    processes=None,
):
    """`evaluate` without and with refinement, in one pass of the model.

    Args:
        model, vocabulary, records, profile, batch_size, fit, title: as in `evaluate`.
        size: refine at the `"network"`'s size, as the authors, or at the `"original"` one, where
            the profile's rule of resizing has no say.
        crf: `Crf`; `None`: the authors' parameters.
        processes: that refine beside the model; `None`: one per core.

    Returns:
        Two lists of `Score`, without and with, in the order of the records.

    Raises:
        ModuleNotFoundError: if the extra `crf` is not installed.
        ValueError: as `evaluate`, or if the size is unknown.
    """
    from keras_cmsa.evaluation import check_profile, logits_of, score, score_mask

    pydensecrf()
    check_profile(profile)
    if size not in ("network", "original"):
        raise ValueError(f'size must be "network" or "original". Received: {size!r}')
    processes = processes or len(os.sched_getaffinity(0))
    plain, refined, under_way = [], [], deque()

    def collect():
        record, future = under_way.popleft()
        if size == "network":
            refined.append(score(record, future.result(), profile, fit))
        else:
            refined.append(score_mask(record, future.result() >= 0))

    # Not forked: the model's threads would be copied in whatever state they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for record, image, logits in logits_of(model, vocabulary, records, batch_size, fit, title):
            plain.append(score(record, logits, profile, fit))
            if size == "original":
                image = read_image(record.image_path)
                logits = FITS[fit][1](logits, image.shape[:2])
            under_way.append((record, pool.submit(refine, as_levels(image), logits, crf)))
            # The images that wait take memory.
            if len(under_way) > 8 * processes:
                collect()
        while under_way:
            collect()
    return plain, refined


def as_levels(image):
    return np.ascontiguousarray(np.rint(image), "uint8")
