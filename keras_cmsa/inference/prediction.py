"""What a model finds for one expression in one image."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pycocotools.mask import toBbox

from keras_cmsa.data.masks import run_lengths
from keras_cmsa.inference.masks import PROFILES, MaskRule
from keras_cmsa.preprocessing.preprocessor import INSIDE, Preprocessor
from keras_cmsa.presets.files import fits


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one expression refers to in one image of H x W pixels.

    Attributes:
        expression: as it was asked.
        tokens: the words as the model saw them, at most its N; `[UNK]` (`<unk>`) for unknown ones.
        logits: `(S, S)` float32, as the model gave them, over the whole square.
        size: `(H, W)` of the image in pixels.
        word_attention: `(L, len(tokens))` float32, the attention of each level (Res3, Res4, Res5)
            to each word: Fig. 4. Rows sum to one. `None` for a system without such an attention.
        position_attention: `(L, S / 8, S / 8)` float32, the attention of each level to each place
            of the square; each sums to one. `None` as above.
        preprocessor: the model's `Preprocessor`.
        existence: how sure the model is that anything in the image fits, in 0..1. `None` for a
            model that does not say.
        threshold: the least `existence` that means so.
    """

    expression: str
    tokens: list
    logits: np.ndarray
    size: tuple[int, int]
    word_attention: np.ndarray | None
    position_attention: np.ndarray | None
    preprocessor: Preprocessor
    existence: float | None = None
    threshold: float = 0.5

    @property
    def exists(self):
        """Whether anything in the image fits; true for a model that does not say."""
        return self.existence is None or fits(self.existence, self.threshold)

    @cached_property
    def probabilities(self):
        """The probability that the expression refers to each pixel: `(H, W)` float32 in 0..1."""
        return self.preprocessor.probabilities(self.logits, self.size)

    @cached_property
    def mask(self):
        """`(H, W)` bool; probability 0.5 and more, as in `strict`; empty where nothing `exists`."""
        return (self.probabilities >= INSIDE) & self.exists

    def mask_by(self, rule, image):
        """The mask `(H, W)` bool by a `MaskRule`, as it is scored; `None`: the answer's own, `mask`.

        Args:
            rule: `MaskRule`. That nothing `exists` counts where its profile is generalised.
            image: `(H, W, 3)` uint8, at which the rule may look.
        """
        if rule is None or (rule == MaskRule() and self.exists):  # undone to the image once
            return self.mask
        mask = rule(image, self.logits, self.preprocessor)
        return mask & self.exists if PROFILES[rule.profile].generalised else mask

    @cached_property
    def score(self):
        """Mean probability over the mask, in 0.5..1; 0 where the mask is empty."""
        return score_of(self.mask, self.probabilities)

    @property
    def box(self):
        """`(left, top, right, bottom)` around the mask in pixels, the last two just outside.

        `None` where the mask is empty.
        """
        if not self.mask.any():
            return None
        left, top, width, height = map(int, toBbox(self.run_lengths))
        return left, top, left + width, top + height

    @property
    def run_lengths(self):
        """The mask as COCO writes it: `{"size": [H, W], "counts": str}`."""
        return run_lengths(self.mask)

    def heat_map(self, level=None):
        """Position attention over the image: `(H, W)` float32, 1 at the most attended place.

        Args:
            level: index of the level; `None` takes the mean of all.

        Raises:
            ValueError: if the system has no position attention.
        """
        if self.position_attention is None:
            raise ValueError("This model has no position attention, so there is no heat map")
        maps = self.position_attention
        heat = maps.mean(axis=0) if level is None else maps[level]
        return as_heat(self.preprocessor.undo(heat, self.size))


def score_of(mask, probabilities):
    """The score of a mask `(H, W)` bool by the probabilities of its pixels; see `Prediction`."""
    return float(probabilities[mask].mean()) if mask.any() else 0.0


def as_heat(over_image):
    """A map that is not negative, scaled so that its largest value is 1; all 0 stays 0."""
    return over_image / max(over_image.max(), np.finfo("float32").tiny)
