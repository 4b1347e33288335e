"""Images and logits with what must come of them: one table for NumPy and for its graph twins.

`keras_cmsa.preprocessing.fitting` and `keras_cmsa.inference.masks` are held to it, and so are their
twins in `keras_cmsa.export.graph`. What must come is computed here, in float64, by definition.
"""

from typing import NamedTuple

import numpy as np
from literal import resized

# In float32 a place near pixel 320 is known to this much, and so is what is interpolated there: a
# value this close to a threshold may fall on either side of it.
TIE = 3e-5


class Case(NamedTuple):
    """An image size, a square, and where the image lands in it.

    Attributes:
        height, width: of the image, in pixels.
        size: side of the square, in pixels.
        resizing: how the image fills it.
        placement: `(new_height, new_width, top, left)`, worked out by hand.
    """

    height: int
    width: int
    size: int
    resizing: str
    placement: tuple[int, int, int, int]

    def __str__(self):
        return f"{self.height}x{self.width}-{self.size}-{self.resizing}"

    def image(self):
        """Noise: `(H, W, 3)` uint8."""
        return self._rng().integers(0, 256, (self.height, self.width, 3)).astype("uint8")

    def logits(self):
        """Waves with a field of extremes and one of numbers around 0: `(S, S)` float32."""
        rng = self._rng()
        rows, columns = np.mgrid[: self.size, : self.size] / self.size
        waves = 4 * np.sin(7 * rows + 3 * np.cos(5 * columns)) + rng.normal(0, 0.5, rows.shape)
        quarter = self.size // 4
        waves[:quarter, :quarter] = rng.choice([-1e4, -50, 50, 1e4], (quarter, quarter))
        waves[-quarter:, -quarter:] = rng.choice([-1, 0, 5e-10, 2e-9, 1], (quarter, quarter))
        return waves.astype("float32")

    def square(self):
        """The image on the square: `(S, S, 3)`."""
        new_height, new_width, top, left = self.placement
        square = np.zeros((self.size, self.size, 3))
        square[top : top + new_height, left : left + new_width] = resized(
            self.image(), (new_height, new_width)
        )
        return square

    def over_square(self):
        """The sigmoid of the logits: `(S, S)`."""
        return 1 / (1 + np.exp(-self.logits().astype("float64").clip(-700, 700)))

    def probabilities(self):
        """The sigmoid of the logits over the image: `(H, W)`."""
        new_height, new_width, top, left = self.placement
        inside = self.over_square()[top : top + new_height, left : left + new_width]
        return resized(inside, (self.height, self.width))

    def mask(self, profile):
        """The mask of the logits, and where it is sure, no tie: two `(H, W)` bool."""
        if profile in ("strict", "gres"):
            found = self.probabilities()
            return found >= 0.5, np.abs(found - 0.5) > TIE
        at_network = (self.logits() >= 1e-9).astype("float64")
        # What any weight above 0 reaches is inside; float32 may see one where there is none.
        found, nearly = (self._covered(at_network, slack) for slack in (0, TIE))
        return found > 0, (found > TIE) | (nearly == 0)

    def _covered(self, at_network, slack):
        """The square, resized to cover the image and cut to it."""
        height, width = self.height, self.width
        if self.resizing == "stretch":
            return resized(at_network, (height, width), slack)
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        cover = resized(at_network, (side, side), slack)
        return cover[top : top + height, left : left + width]

    def _rng(self):
        return np.random.default_rng([self.height, self.width, self.size])


CASES = [
    Case(480, 640, 320, "pad", (240, 320, 40, 0)),
    Case(427, 640, 320, "pad", (214, 320, 53, 0)),  # 213.5 goes to the even 214
    Case(425, 640, 320, "pad", (212, 320, 54, 0)),  # 212.5 to the even 212
    Case(640, 480, 320, "pad", (320, 240, 0, 40)),
    Case(333, 500, 320, "stretch", (320, 320, 0, 0)),
    Case(30, 45, 32, "pad", (21, 32, 5, 0)),  # the odd row is left below
    Case(45, 30, 32, "pad", (32, 21, 0, 5)),
    Case(31, 47, 16, "pad", (11, 16, 2, 0)),
    Case(31, 47, 16, "stretch", (16, 16, 0, 0)),
    Case(9, 7, 24, "pad", (24, 19, 0, 2)),  # smaller than the square
    Case(9, 7, 24, "stretch", (24, 24, 0, 0)),
    Case(24, 24, 24, "pad", (24, 24, 0, 0)),
    Case(24, 24, 24, "stretch", (24, 24, 0, 0)),
    Case(61, 61, 24, "pad", (24, 24, 0, 0)),
    Case(1, 300, 24, "pad", (1, 24, 11, 0)),  # a row of pixels at least
    Case(300, 1, 24, "pad", (24, 1, 0, 11)),
    Case(1, 1, 16, "pad", (16, 16, 0, 0)),
    Case(40, 61, 112, "pad", (73, 112, 19, 0)),  # 112 * (61 / 112) is less than 61
]
