"""From a network's logits to a mask of the original image, by a rule with a name: a profile.

Papers differ in this rule, and so in their numbers; docs/evaluation.md says how. This is its one
place in NumPy, with `strict_mask` below it, by which a preset's reference has its masks too;
`keras_cmsa.export.graph.masks` is its twin in a TensorFlow graph.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_cmsa.preprocessing.fitting import resize_bilinear
from keras_cmsa.preprocessing.preprocessor import strict_mask

# What a refinement works on: the network's square, as the authors do, or the original image.
SIZES = ("network", "original")


@dataclass(frozen=True)
class Profile:
    """How logits become a mask, and how prec@X counts.

    Attributes:
        to_mask: function of logits `(S, S)`, the original `(H, W)` and a `Preprocessor` to the mask
            `(H, W)` bool.
        strict: prec@X counts IoU > X; `False` counts IoU >= X.
        generalised: whether sentences may fit nothing or several things, which other numbers
            measure; see `keras_cmsa.evaluation.generalised`.
    """

    to_mask: Callable
    strict: bool
    generalised: bool = False


def to_mask(logits, original_size, preprocessor, profile="strict"):
    """The mask of the original image that a network's logits stand for.

    Args:
        logits: `(S, S)` or `(S, S, 1)`, for an image that `preprocessor` brought to the square.
        original_size: `(H, W)` of the image in pixels.
        preprocessor: `Preprocessor` of the model.
        profile: a key of `PROFILES`.

    Returns:
        `(H, W)` bool.

    Raises:
        ValueError: if the profile is unknown.
    """
    check_profile(profile)
    logits = np.asarray(logits, "float32")
    if logits.ndim == 3:
        logits = logits[..., 0]
    return PROFILES[profile].to_mask(logits, original_size, preprocessor)


def tf_phrasecut_mask(logits, original_size, preprocessor):
    """The rule of the code that CMSA, RMI and RRN share.

    Logits of 1e-9 and more are foreground at the network's size; that map of 0 and 1 is resized to
    cover the image and its centre cut out; what is not exactly 0 afterwards is foreground, which
    widens every object. A stretched image is covered by plain resizing.
    """
    inside = (logits >= 1e-9).astype("float32")
    if preprocessor.resizing == "stretch":
        return resize_bilinear(inside, original_size) > 0
    height, width = original_size
    scale = max(height / inside.shape[0], width / inside.shape[1])
    cover = resize_bilinear(
        inside, (round(inside.shape[0] * scale), round(inside.shape[1] * scale))
    )
    top, left = (cover.shape[0] - height) // 2, (cover.shape[1] - width) // 2
    return cover[top : top + height, left : left + width] > 0


PROFILES = {
    "strict": Profile(strict_mask, strict=True),
    "tf_phrasecut": Profile(tf_phrasecut_mask, strict=False),
    "gres": Profile(strict_mask, strict=False, generalised=True),
}


@dataclass(frozen=True)
class MaskRule:
    """How masks are made, so that figures draw what was scored.

    Attributes:
        profile: a key of `PROFILES`.
        refine: function of an image `(H, W, 3)` and logits `(H, W)` of its size to better logits,
            such as `keras_cmsa.evaluation.crf.refine`; `None`: nothing is refined.
        size: one of `SIZES`, where `refine` works. At the original size the profile has no say,
            since nothing is resized afterwards.
    """

    profile: str = "strict"
    refine: Callable | None = None
    size: str = "network"

    def __post_init__(self):
        check_profile(self.profile)
        check_size(self.size)

    def __call__(self, image, logits, preprocessor):
        """The mask `(H, W)` bool of an image `(H, W, 3)` uint8 and the network's logits `(S, S)`."""
        size = image.shape[:2]
        if self.refine is None:
            return to_mask(logits, size, preprocessor, self.profile)
        if self.size == "original":
            return self.refine(image, preprocessor.undo(logits, size)) >= 0
        refined = self.refine(preprocessor.image(image), logits)
        return to_mask(refined, size, preprocessor, self.profile)


def check_profile(profile):
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {sorted(PROFILES)}. Received: {profile!r}")


def check_size(size):
    if size not in SIZES:
        raise ValueError(f"size must be one of {SIZES}. Received: {size!r}")
