"""A photo and a sentence to a mask: what `build_cmsa` makes, trained, at the size of the photo."""

import warnings
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from pycocotools import mask as coco_mask

from keras_cmsa.cmsa import attention_layers, telling_all
from keras_cmsa.encode_once import check_inputs, split_at_words
from keras_cmsa.evaluation import check_vocabulary, probabilities, strict_mask
from keras_cmsa.image import FITS, resize_bilinear, to_pixels
from keras_cmsa.text import Vocabulary
from keras_cmsa.training import BEST_MODEL as MODEL_FILE
from keras_cmsa.training import WORDS

SAVED_MODEL = "saved_model.pb"

# A sentence with more words than the model takes is cut, as in training; one with this many times
# more is a text, and what the model would make of its beginning answers nothing.
TEXT = 5


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one expression means in one image of H x W pixels.

    Attributes:
        expression: as it was asked.
        tokens: the words as the model saw them, at most its N; `[UNK]` for what it does not know.
        logits: `(S, S)` float32, as the model gave them, the fitted image's padding included.
        mask: `(H, W)` bool; probability 0.5 and more, the rule of the profile `strict`.
        word_attention: `(L, len(tokens))` float32, the attention of each level (Res3, Res4, Res5)
            to each word: Fig. 4. Rows sum to one. `None` for a system without such an attention.
        position_attention: `(L, S / 8, S / 8)` float32, the attention of each level to each place
            of the fitted image; each sums to one. `None` as above.
        fit: how the image was fitted to S x S, a key of `keras_cmsa.image.FITS`.
    """

    expression: str
    tokens: list
    logits: np.ndarray
    mask: np.ndarray
    word_attention: np.ndarray | None
    position_attention: np.ndarray | None
    fit: str

    @property
    def probabilities(self):
        """Of each pixel to be meant: `(H, W)` float32 in 0..1."""
        return probabilities(self.logits, self.mask.shape, self.fit)

    @property
    def score(self):
        """Mean probability over the mask, in 0.5..1; 0 where the mask is empty."""
        return float(self.probabilities[self.mask].mean()) if self.mask.any() else 0.0

    @property
    def box(self):
        """`(left, top, right, bottom)` around the mask in pixels, the last two just outside.

        `None` where the mask is empty.
        """
        if not self.mask.any():
            return None
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    @property
    def run_lengths(self):
        """The mask as COCO writes it: `{"size": [H, W], "counts": str}`."""
        runs = coco_mask.encode(np.asfortranarray(self.mask, "uint8"))
        return {"size": runs["size"], "counts": runs["counts"].decode("ascii")}

    def heat_map(self, level=None):
        """Position attention over the image: `(H, W)` float32, 1 at the most attended place.

        Args:
            level: index of the level; `None` takes the mean of all.

        Raises:
            ValueError: if the system has no position attention.
        """
        if self.position_attention is None:
            raise ValueError("This model has no position attention, so there is no heat map")
        at_level = self.position_attention
        map_ = at_level.mean(axis=0) if level is None else at_level[level]
        return fit_back(map_, self.logits.shape[0], self.mask.shape, self.fit)


def fit_back(small_map, size, original_size, fit):
    """A map over the fitted image, laid over the original: `(H, W)` float32, scaled to at most 1.

    Args:
        small_map: `(h, w)`, not negative.
        size: S, side of the network's input in pixels.
        original_size: `(H, W)`.
        fit: a key of `FITS`.
    """
    # Through the size of the input, in whose pixels the padding is measured.
    over_image = FITS[fit][1](resize_bilinear(small_map, (size, size)), original_size)
    return over_image / max(over_image.max(), np.finfo("float32").tiny)


class Predictor:
    """Finds what sentences speak of in photos, of any size.

        predictor = Predictor.load("runs/unc/model.keras")
        prediction = predictor("photo.jpg", "man in yellow shirt")
        prediction.mask, prediction.score, prediction.box

    An image that is asked several sentences is encoded once.

    Args:
        model: functional, from `image` and `words` to logits, as `build_cmsa` makes.
        vocabulary: the `Vocabulary` it was trained with.
        fit: how images were brought to the network's size in training.
        batch_size: images per forward pass.

    Raises:
        ValueError: if the model has other inputs or the vocabulary does not fit it.
    """

    def __init__(self, model, vocabulary, fit="pad", batch_size=8):
        check_inputs(model)
        check_vocabulary(model, vocabulary)
        if fit not in FITS:
            raise ValueError(f"fit must be one of {sorted(FITS)}. Received: fit={fit!r}")
        self.model = model
        self.vocabulary = vocabulary
        self.fit = fit
        self.batch_size = batch_size
        self.image_size = model.input["image"].shape[1]
        self.image_model, self.sentence_model = split_at_words(telling_all(model))

    @property
    def levels(self):
        """Names of the levels of its attention, such as `"Res3"`; empty for a system without."""
        names = [layer.name for layer in attention_layers(self.model)]
        return [name.removeprefix("attention_").capitalize() for name in names]

    @classmethod
    def load(cls, path, fit="pad", batch_size=8):
        """Loads what a recipe or `export_saved_model` left.

        Args:
            path: of a `.keras` file with its `vocabulary.txt` beside it, or of the folder of both;
                or of a version of a SavedModel, which knows its `fit` itself.
            fit, batch_size: see the class.

        Raises:
            FileNotFoundError: if the model or the vocabulary is not there.
            ValueError: if either is damaged or from another package, or they do not fit together.
        """
        path = Path(path)
        if (path / SAVED_MODEL).exists():
            from keras_cmsa.export import load_saved_model

            model, facts = load_saved_model(path)
            vocabulary = Vocabulary.load(path / "assets" / WORDS, facts["max_words"])
            return cls(model, vocabulary, facts["fit"], batch_size)
        if path.is_dir():
            path = path / MODEL_FILE
        model = load_model(path)
        words = path.with_name(WORDS)
        if not words.exists():
            raise FileNotFoundError(
                f"{words} is missing: a model needs the vocabulary of its training beside it"
            )
        vocabulary = Vocabulary.load(words, model.input["words"].shape[1])
        return cls(model, vocabulary, fit, batch_size)

    def __call__(self, image, expression):
        """One image and one sentence, one image and many, or many of both.

        Args:
            image: an image, as `keras_cmsa.image.to_pixels` takes it, or a list of them.
            expression: `str`, or a list of `str`, for one image; for a list of images a list as
                long, with a `str` or a list of `str` for each.

        Returns:
            A `Prediction` for a `str`, a list of them for a list, nested as `expression` is.

        Raises:
            FileNotFoundError: if an image is not there.
            ValueError: if one is no image, or an expression has no word or is a whole text.
        """
        if not isinstance(image, (list, tuple)):
            return next(self.stream([(image, expression)]))
        if isinstance(expression, str) or len(image) != len(expression):
            raise ValueError(
                f"{len(image)} images want a list of as many expressions (or lists of them). "
                f"Received: {expression!r}"
            )
        return list(self.stream(zip(image, expression)))

    def stream(self, pairs):
        """`__call__` for pairs of an image and its expression(s), `batch_size` at a time.

        Yields:
            For each pair a `Prediction`, or a list of them, in order.
        """
        pairs = iter(pairs)
        while batch := list(islice(pairs, self.batch_size)):
            yield from self._answer(batch)

    def _answer(self, batch):
        asked = [[e] if isinstance(e, str) else list(e) for _, e in batch]
        words = [self.encode(sentences) for sentences in asked]
        pixels = [to_pixels(image) for image, _ in batch]
        sizes = [image.shape[:2] for image in pixels]
        fitted = np.stack([FITS[self.fit][0](image, self.image_size) for image in pixels])
        code = keras.tree.flatten(self.image_model.predict_on_batch(fitted))
        if all(len(sentences) == 1 for sentences in asked):
            found = self._ask(code, np.concatenate(words))
        else:
            # One by one: repeating a code for each of its sentences costs more than it saves.
            found = [
                answer
                for row, ids in enumerate(words)
                for i in range(len(ids))
                for answer in self._ask([x[row : row + 1] for x in code], ids[i : i + 1])
            ]
        found = iter(found)
        for (_, expression), sentences, size in zip(batch, asked, sizes):
            predictions = [self._prediction(s, size, next(found)) for s in sentences]
            yield predictions[0] if isinstance(expression, str) else predictions

    def encode(self, sentences):
        """Word ids of a list of `str`, `(B, N)` int32; says what `__call__` would of each."""
        longest = self.vocabulary.max_words
        for sentence in sentences:
            count = len(self.vocabulary.split(sentence))
            if count > TEXT * longest:
                raise ValueError(
                    f"An expression names one thing in a few words; this model takes {longest}. "
                    f"Received: {count} words, {sentence[:40]!r}..."
                )
            if count > longest:
                warnings.warn(
                    f"The model takes {longest} words; the last {count - longest} of "
                    f"{sentence!r} are left out",
                    stacklevel=2,
                )
        return self.vocabulary.encode(sentences)

    def _ask(self, code, words):
        """The outputs of each row: list of dicts from name to array."""
        outputs = self.sentence_model.predict_on_batch({"code": code, "words": words})
        return [
            {name: np.asarray(x[row]) for name, x in outputs.items()} for row in range(len(words))
        ]

    def _prediction(self, sentence, size, outputs):
        tokens = self.vocabulary.tokens(sentence)
        logits = outputs["logits"][..., 0]
        word_attention = outputs.get("word_attention")
        return Prediction(
            sentence,
            tokens,
            logits,
            strict_mask(logits, size, self.fit),
            None if word_attention is None else word_attention[:, : len(tokens)],
            outputs.get("position_attention"),
            self.fit,
        )


def load_model(path):
    """A functional model of image and words from a `.keras` file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or not such a model.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not there: wanted a .keras file, as training leaves it")
    try:
        model = keras.saving.load_model(path, compile=False)
    # Keras raises what each broken part of the archive makes of itself: BadZipFile, KeyError,
    # OSError, TypeError, ...
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path} cannot be loaded: it is cut short, damaged, or a model of another package "
            f"({type(error).__name__}: {reason[:200]})"
        ) from error
    check_inputs(model)
    return model
