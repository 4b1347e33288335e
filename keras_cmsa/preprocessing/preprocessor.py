"""The preprocessor: turns images and expressions into a network's input, and maps back."""

import hashlib

import numpy as np
from scipy.special import expit

from keras_cmsa.preprocessing.fitting import placement, resize_bilinear, to_square

INSIDE = 0.5  # the least probability of a pixel that is found


class Preprocessor:
    """Turns images and expressions into a network's input, and its maps back into image maps.

        preprocessor = Preprocessor(vocabulary, image_size=320)
        inputs = preprocessor([image], ["man in yellow shirt"])
        logits = model.predict(inputs)[0, 0]  # (320, 320, 1)
        over_image = preprocessor.undo(logits, image.shape[:2])  # (H, W, 1)

    Only the preprocessor knows the vocabulary, the side of the square and how an image is resized
    to it. Training saves it with the model, so that evaluation, prediction and serving agree.

    Args:
        vocabulary: `Vocabulary`, `WordPieces` or `ReleasedVocabulary`; it also has the words per
            expression N.
        image_size: side S of the network's square input in pixels.
        resizing: `"pad"` keeps the aspect ratio and pads with 0, as the authors' code does.
            `"stretch"` changes the aspect ratio, as the paper's text says.

    Raises:
        ValueError: if `image_size` is not positive or `resizing` is unknown.
    """

    def __init__(self, vocabulary, image_size, resizing="pad"):
        if image_size < 1:
            raise ValueError(f"image_size must be positive. Received: image_size={image_size}")
        placement(1, 1, image_size, resizing)  # which knows the words for it
        self.vocabulary = vocabulary
        self.image_size = image_size
        self.resizing = resizing

    @property
    def max_words(self):
        """Words per expression N."""
        return self.vocabulary.max_words

    def __call__(self, images, expressions):
        """Makes a model's inputs from images and their expressions.

        Args:
            images: list of B arrays `(H, W, 3)` in 0..255, of any sizes.
            expressions: list of B, one per image: a `str`, or a list of K `str`.

        Returns:
            `{"image": (B, S, S, 3) float32 in 0..255, "words": (B, K, N) int32, 0 at padding}`.
            Where an image has fewer expressions than another, the rest of its words is padding.

        Raises:
            ValueError: if the lists differ in length, or an expression has no word.
        """
        if len(images) != len(expressions):
            raise ValueError(
                f"wanted an expression per image. Received: {len(images)} images, "
                f"{len(expressions)} expressions"
            )
        return {
            "image": np.stack([self.image(image) for image in images]),
            "words": self.words(expressions),
        }

    def words(self, expressions):
        """Word ids `(B, K, N)` int32 of a list of B `str` or lists of K `str`; 0 at padding."""
        images = [[e] if isinstance(e, str) else list(e) for e in expressions]
        encoded = self.vocabulary.encode([e for sentences in images for e in sentences])
        words = np.zeros((len(images), max(map(len, images)), self.max_words), "int32")
        words[np.arange(words.shape[1]) < np.array([[len(e)] for e in images])] = encoded
        return words

    def image(self, pixels):
        """Resizes an image `(H, W, 3)` in 0..255 to the square `(S, S, 3)`, float32 in 0..255."""
        return to_square(pixels, self.image_size, self.resizing)

    def mask(self, mask):
        """Resizes a mask `(H, W)` of 0 and 1 to the square `(S, S, 1)`, float32 of 0 and 1.

        A pixel is inside the mask if its interpolated value is at least 0.5. (The authors take any
        value above 0, which widens every object by up to a pixel.)
        """
        return np.float32(self.image(mask) >= 0.5)[..., np.newaxis]

    def undo(self, over_square, original_size):
        """Resizes a map over the square to the original image.

        Args:
            over_square: `(S, S)` or `(S, S, C)`; a map of another side is resized to S first.
            original_size: `(H, W)` of the original image in pixels.

        Returns:
            `(H, W)` or `(H, W, C)` float32.
        """
        # `placement` gives the padding in pixels of the network's input.
        square = resize_bilinear(over_square, (self.image_size, self.image_size))
        new_height, new_width, top, left = self.placement(*original_size)
        inside = square[top : top + new_height, left : left + new_width]
        return resize_bilinear(inside, original_size)

    def probabilities(self, logits, original_size):
        """Sigmoid of logits `(S, S)`, undone to the original size: `(H, W)` float32 in 0..1."""
        return self.undo(expit(logits), original_size)

    def placement(self, height, width):
        """Computes where an image lies in the square: `(new_height, new_width, top, left)`."""
        return placement(height, width, self.image_size, self.resizing)

    def get_config(self):
        """The entries of `config.json`; the words themselves are in `vocabulary.txt`."""
        words = "\n".join(self.vocabulary.words).encode()
        return {
            "image_size": self.image_size,
            "resizing": self.resizing,
            "tokenizer": self.vocabulary.tokenizer,
            "max_words": self.max_words,
            "vocabulary_size": len(self.vocabulary),
            "vocabulary_sha256": hashlib.sha256(words).hexdigest(),
        }


def strict_mask(logits, original_size, preprocessor):
    """The mask `(H, W)` bool of logits `(S, S)`: where their probability is `INSIDE` or more."""
    return preprocessor.probabilities(logits, original_size) >= INSIDE
