"""A photo and an expression to a mask, at the size of the photo."""

import warnings
from collections.abc import Iterable, Sized
from functools import cached_property
from itertools import islice

import keras
import numpy as np

from keras_cmsa.inference.prediction import Prediction
from keras_cmsa.inference.verification import check_reference
from keras_cmsa.models.cmsa import attention_levels, with_all_outputs
from keras_cmsa.models.folding import fold_for_inference
from keras_cmsa.models.inputs_and_outputs import check_preprocessor, split_at_maps
from keras_cmsa.preprocessing.reading import to_pixels
from keras_cmsa.presets.exported import is_export
from keras_cmsa.presets.files import opened, threshold_in
from keras_cmsa.presets.preset import load_preset, save_preset
from keras_cmsa.presets.reference import read_reference
from keras_cmsa.utils.messages import check_at_least

# Expressions about one image that go through the model together.
EXPRESSIONS_AT_ONCE = 16


class Predictor:
    """Finds what expressions refer to in photos of any size.

        predictor = Predictor.from_preset("runs/demo")
        prediction = predictor("photo.jpg", "man in yellow shirt")
        prediction.mask, prediction.score, prediction.box

    Several expressions about one image share its work, and an image that is asked again keeps it.

    The first answer folds the model (`fold_for_inference`), a copy of its weights: it takes seconds
    at the paper's size, makes every image cheaper, and later training does not reach it.

    Its pickle, as a spawned worker gets it, has the arguments alone. That of an export has none.

    Args:
        model: functional, from `image` and `words` to logits, as `build_cmsa` makes; its layers can
            be made from their configurations.
        preprocessor: the `Preprocessor` of its training.
        batch_size: images per forward pass.
        config: what is known of the model, as `config.json` holds it.

    Raises:
        ValueError: if the model has other inputs, the preprocessor does not fit it, or `batch_size` is
            below 1.
    """

    def __init__(self, model, preprocessor, batch_size=8, config=None):
        check_preprocessor(model, preprocessor)
        check_at_least(1, batch_size=batch_size)
        self.model = model
        self.preprocessor = preprocessor
        self.batch_size = batch_size
        self.config = config or {}
        self._last = None, None  # the last image that was asked alone, and its maps

    def __reduce__(self):
        return type(self), (self.model, self.preprocessor, self.batch_size, self.config)

    @cached_property
    def network(self):
        """The folded model with all its outputs; made when it is first asked for."""
        if is_export(self.model):
            return self.model
        return fold_for_inference(with_all_outputs(self.model))

    @cached_property
    def _parts(self):
        return split_at_maps(self.network)

    @property
    def image_model(self):
        """The folded model from the square image to the backbone's maps."""
        return self._parts[0]

    @property
    def sentence_model(self):
        """The folded model from the backbone's maps and words to all outputs."""
        return self._parts[1]

    @property
    def levels(self):
        """Names of the levels of its attention, such as `"Res3"`; empty for a system without."""
        # An exported version has the attention of its model, but none of its layers.
        return attention_levels(self.model) or self.config.get("attention_levels", [])

    @property
    def threshold(self):
        """The least `exists` that means a target; training finds it on held-out sentences."""
        return threshold_in(self.config)

    @classmethod
    def from_preset(cls, source, batch_size=8, verify=False):
        """Loads a trained model.

        Args:
            source: a preset, as `load_preset` takes it: a folder, an export,
                `"hf://user/name"` or `"kaggle://user/model/keras/variation"`.
            batch_size: see the class.
            verify: also ask it about the picture of its reference.

        Raises:
            FileNotFoundError, ModuleNotFoundError, OSError, ValueError: as `load_preset`, or as
                `read_reference`.
            OtherAnswers: if it answers otherwise than its reference says; names the likely cause.
        """
        preset = load_preset(source)
        predictor = cls(preset.model, preset.preprocessor, batch_size, preset.config)
        if verify:
            check_reference(predictor, read_reference(opened(source)[0]))
        return predictor

    def save_to_preset(self, folder):
        """Writes the model as a preset, see `save_preset`."""
        save_preset(folder, self)

    def __call__(self, image, expression):
        """One image and one expression, one image and many, or many of both.

        Args:
            image: an image, as `keras_cmsa.preprocessing.reading.to_pixels` takes it, or a list.
            expression: `str`, or a list of `str`, for one image; for a list of images a list as
                long, with a `str` or a list of `str` for each.

        Returns:
            A `Prediction` for a `str`, a list of them for a list, nested as `expression` is.

        Raises:
            FileNotFoundError: if an image is not there.
            ValueError: if one is no image, or an expression is no text, has no word or is a whole
                text.
        """
        if not isinstance(image, (list, tuple)):
            return next(self.stream([(image, expression)]))
        is_list = isinstance(expression, Sized) and not isinstance(expression, str)
        if not is_list or len(image) != len(expression):
            raise ValueError(
                f"{len(image)} images want a list of as many expressions (or lists of them). "
                f"Received: {expression!r:.200}"
            )
        return list(self.stream(zip(image, expression)))

    def stream(self, pairs):
        """`__call__` for pairs of an image and its expression(s), `batch_size` at a time.

        Yields:
            For each pair a `Prediction`, or a list of them, in order.
        """
        pairs = iter(pairs)
        while batch := list(islice(pairs, self.batch_size)):
            images, expressions = zip(*batch)
            lists = [as_list(one_or_more) for one_or_more in expressions]
            sentences = [self.read(texts) for texts in lists]
            pixels = [to_pixels(image) for image in images]
            ids = [self.preprocessor.vocabulary.stack(words) for words in sentences]
            rows = self.decode(self.maps(pixels), ids)
            for one_or_more, image, *row in zip(expressions, pixels, lists, sentences, rows):
                predictions = [
                    self.prediction(text, words, image.shape[:2], outputs)
                    for text, words, outputs in zip(*row)
                ]
                yield predictions[0] if isinstance(one_or_more, str) else predictions

    def read(self, expressions):
        """List of `Words` of a list of `str`, with the errors and warnings of `__call__`."""
        vocabulary = self.preprocessor.vocabulary
        sentences = vocabulary.read(expressions)
        for expression, words in zip(expressions, sentences):
            vocabulary.check_length(expression, words)
            if words.dropped:
                warnings.warn(
                    f"The model takes {vocabulary.max_words} words; the last {words.dropped} of "
                    f"{expression!r} are left out",
                    stacklevel=2,
                )
        return sentences

    def outputs(self, pixels, words):
        """What the model gives for word ids about one image.

        Args:
            pixels: `(H, W, 3)` uint8.
            words: `(K, N)` int32 word ids, such as those of `read`.

        Returns:
            List of K dicts with `logits` `(S, S, 1)` and, where the model has them, `exists` in
            0..1, `word_attention` `(L, N)` and `position_attention` `(L, S / 8, S / 8)`.
        """
        return self.decode(self.maps([pixels]), [words])[0]

    def prediction(self, expression, words, size, outputs):
        """The `Prediction` of an expression about an image of `size` `(H, W)`.

        Args:
            expression: `str`.
            words: its `Words`.
            size: `(H, W)` of the image in pixels.
            outputs: what the model gives for them, see `outputs`.
        """
        word_attention = outputs.get("word_attention")
        if word_attention is not None:
            word_attention = word_attention[:, : len(words.tokens)]
        return Prediction(
            expression,
            words.tokens,
            outputs["logits"][..., 0],
            size,
            word_attention,
            outputs.get("position_attention"),
            self.preprocessor,
            float(outputs["exists"]) if "exists" in outputs else None,
            self.threshold,
        )

    def maps(self, pixels):
        """The backbone's maps of images, arrays `(B, H, W, C)`; those of the last image are kept.

        Args:
            pixels: list of B arrays `(H, W, 3)` uint8.
        """
        last, maps = self._last
        if len(pixels) == 1 and last is not None and np.array_equal(pixels[0], last):
            return maps
        squares = np.stack([self.preprocessor.image(image) for image in pixels])
        maps = keras.tree.flatten(self.image_model.predict_on_batch(squares))
        if len(pixels) == 1:
            # A copy, since the caller may draw into its image.
            self._last = pixels[0].copy(), maps
        return maps

    def decode(self, maps, words):
        """The outputs of each expression about each image: lists of dicts from name to array.

        Args:
            maps: list of the backbone's maps `(B, H, W, C)`.
            words: list of B arrays `(K, N)` int32; K may differ.
        """
        if all(len(sentences) == 1 for sentences in words):
            return self._decode(maps, np.stack(words))
        # Image by image and in pieces, so that memory has a bound.
        rows = []
        for b, sentences in enumerate(words):
            image_maps, row = [x[b : b + 1] for x in maps], []
            for start in range(0, len(sentences), EXPRESSIONS_AT_ONCE):
                piece = sentences[start : start + EXPRESSIONS_AT_ONCE]
                row += self._decode(image_maps, filled_up(piece)[None])[0][: len(piece)]
            rows.append(row)
        return rows

    def _decode(self, maps, words):
        """`decode` for words `(B, K, N)` in one pass."""
        outputs = self.sentence_model.predict_on_batch({"maps": maps, "words": words})
        outputs = {name: np.asarray(x) for name, x in outputs.items()}
        images, sentences, _ = words.shape
        return [
            [{name: x[b, k] for name, x in outputs.items()} for k in range(sentences)]
            for b in range(images)
        ]


def filled_up(array):
    """An array `(K, ...)`, such as word ids, with rows of 0 where JAX would compile for one more K."""
    if keras.backend.backend() != "jax":
        return array
    more = (1 << (len(array) - 1).bit_length()) - len(array)  # to a power of two
    return np.pad(array, [(0, more), *[(0, 0)] * (array.ndim - 1)])


def as_list(expression):
    """The expressions of an image as a list of `str`; `expression` is one or several.

    Raises:
        ValueError: if there is anything else in it.
    """
    is_several = isinstance(expression, Iterable) and not isinstance(expression, (str, bytes))
    expressions = list(expression) if is_several else [expression]
    for one in expressions:
        if not isinstance(one, str):
            raise ValueError(
                "wanted an expression as str, or a list of them for each image. "
                f"Received: {type(one).__name__} {one!r:.60}"
            )
    return expressions
