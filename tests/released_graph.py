"""What the authors' graph was given, and what it gave: CMSA-Net at 8fc9fee, run once on TensorFlow 2.21.

`convert/released/` has its variables (`shapes.txt`) and, for weights, image and words from here, its
logits at stride 8 and the means over the channels of the backbone's maps.
"""

import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np

FOLDER = Path(__file__).with_name("convert") / "released"
# Kernels that are larger or smaller than He's initial values, so that every part matters.
GAIN = {
    "conv1": 1 / 64,
    "conv3d": 5, "conv3d_1": 5, "score": 2, "conv2d": 6, "conv2d_1": 2, "conv2d_2": 2,
    "CMSA/conv3d": 6, "CMSA/conv3d_1": 6, "CMSA/conv3d_2": 3,
    "CMSA_C4/conv3d": 2, "CMSA_C4/conv3d_1": 2, "CMSA_C4/conv3d_2": 2,
    "CMSA_C3/conv3d": 2.2, "CMSA_C3/conv3d_1": 2.2, "CMSA_C3/conv3d_2": 2,
}  # fmt: skip


def fill(name, shape):
    """The value of a variable, float32; it follows from its name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    scope, _, kind = name.rpartition("/")
    if kind == "embedding":
        value = rng.uniform(-0.08, 0.08, shape)
    elif kind == "Variable":  # the share of a gate
        value = rng.uniform(0.3, 0.7, shape)
    elif kind == "gamma":
        value = rng.uniform(0.5, 1.5, shape) * (0.25 if scope.endswith("branch2c") else 1)
    elif kind == "moving_variance":
        value = rng.uniform(0.5, 1.5, shape)
    elif kind in ("beta", "moving_mean", "bias", "biases"):
        value = rng.standard_normal(shape) * 0.1
    else:  # a kernel, whose last axis is that of the outputs
        gain = GAIN.get(scope.removeprefix("text_objseg/"), 1)
        deviation = np.sqrt(2 / np.prod(shape[:-1], dtype="float64"))
        value = rng.standard_normal(shape) * (gain * deviation)
    return np.asarray(value, "float32")


def draw_image():
    """A gradient, coarse noise and three shapes: `(320, 320, 3)` RGB in 0..255, float32."""
    y, x = np.mgrid[0:320, 0:320]
    rgb = np.stack([x * 255 // 319, y * 255 // 319, (x + y) * 255 // 638], -1)
    noise = np.random.default_rng(0).integers(-30, 31, (40, 40, 3))
    rgb = rgb + np.repeat(np.repeat(noise, 8, 0), 8, 1)
    rgb[(y - 90) ** 2 + (x - 110) ** 2 < 55**2] = (220, 40, 30)
    rgb[200:290, 30:150] = (30, 60, 210)
    rgb[150:250, 210:290] = (40, 190, 60)
    return np.clip(rgb, 0, 255).astype("float32")


def draw_words():
    """Word ids `(3, 20)` of 3, 7 and 20 words, with padding on the left."""
    rng = np.random.default_rng(1)
    words = np.zeros((3, 20), "int32")
    for row, count in zip(words, (3, 7, 20)):
        row[20 - count :] = rng.integers(4, 12112, count)
    return words


def enlarged(logits):
    """TensorFlow 1's bilinear enlargement by 8: pixel i of the result lies at i / 8."""
    place = np.arange(8 * len(logits)) / 8
    low = place.astype(int)
    high, share = np.minimum(low + 1, len(logits) - 1), (place - low)[:, None]
    rows = logits[low] * (1 - share) + logits[high] * share
    return rows[:, low] * (1 - share.T) + rows[:, high] * share.T


def reference():
    """All of it: shapes, fill, image, words, `logits` `(3, 40, 40)`, `enlarged`, and the maps' means."""
    lines = (FOLDER / "shapes.txt").read_text().splitlines()
    stored = np.load(FOLDER / "logits_and_maps.npz")
    logits = np.stack([stored[f"pred{row}"] for row in range(3)])
    return SimpleNamespace(
        shapes={name: [*map(int, sizes)] for name, *sizes in map(str.split, lines)},
        fill=fill,
        image=draw_image(),
        words=draw_words(),
        logits=logits,
        enlarged=np.stack([enlarged(x) for x in logits]),
        maps=[stored[f"{name}_relu_chmean"] for name in ("res3b3", "res4b22", "res5c")],
    )
