"""What it saves to encode an image once and ask it many sentences.

    python benchmarks/predictor.py                          the paper's sizes, random weights
    KERAS_BACKEND=jax python benchmarks/predictor.py        the same under jax.jit

Times `Predictor(image, sentences)` against the model itself, image and sentence in, once per
sentence, and against a call of the predictor per sentence, which keeps what it knows of the image;
in turn in one process. The masks of all
three must be the same, but where rounding decides: sums over a batch of sentences run in another order
than those over one, so a probability within 1e-5 of the threshold may fall on either side of it.
Such pixels are counted apart and no miss. benchmarks/README.md says how it is measured.
"""

import cli
import keras
import measure
import numpy as np
from model import build

from keras_cmsa.inference.masks import to_mask
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary

# How far from 0.5 rounding can move a probability; random weights leave some pixels that close.
ROUNDING = 1e-5


@cli.options
class Options:
    """What is measured."""

    repeats: cli.Repeats = 3
    image_size: cli.ImageSize = 320
    small: cli.Small = False
    sentences: int = 20
    """How many sentences to ask of the one image."""
    length: int = 8
    """Words per sentence."""
    photo_size: tuple[int, int] = (480, 640)
    """Height and width of the photo in pixels, at which the masks are compared."""


def random_predictor(options):
    """The `Predictor` of a model with random weights and the words w2, w3, ..., one for each vector."""
    keras.utils.set_random_seed(0)
    model, _ = build(options.image_size, options.small)
    rows = model.get_layer("word_vectors").input_dim
    image_size, max_words = model.input["image"].shape[1], model.input["words"].shape[-1]
    vocabulary = Vocabulary([f"w{i}" for i in range(2, rows)], max_words)
    return Predictor(model, Preprocessor(vocabulary, image_size))


def draw_sentences(vocabulary, count, length):
    rng = np.random.default_rng(0)
    words = vocabulary.words[2:]
    return [" ".join(words[i] for i in rng.integers(0, len(words), length)) for _ in range(count)]


def balance(model, image, words):
    """Shifts the score layer's bias so that half the pixels are found: masks worth comparing."""
    logits = model.predict_on_batch({"image": image, "words": words[None]})
    model.get_layer("score").bias.assign_sub([np.median(logits)])


def measure_all(options):
    """Timings of the three ways, and how many pixels of their masks differ, at most."""
    predictor = random_predictor(options)
    model, preprocessor = predictor.model, predictor.preprocessor
    asked = draw_sentences(preprocessor.vocabulary, options.sentences, options.length)
    photo = np.random.default_rng(1).integers(0, 256, (*options.photo_size, 3)).astype("uint8")
    square = preprocessor.image(photo)[None]
    ids = preprocessor.vocabulary.encode(asked)
    balance(model, square, ids[:1])
    size, masks, logits = photo.shape[:2], {}, []

    def by_model():
        inputs = [{"image": square, "words": row[None, None]} for row in ids]
        logits[:] = [np.asarray(model.predict_on_batch(x))[0, 0] for x in inputs]
        masks["model"] = np.stack([to_mask(x, size, preprocessor) for x in logits])

    def by_calls():
        masks["calls"] = np.stack([predictor(photo, sentence).mask for sentence in asked])

    def at_once():
        masks["at once"] = np.stack([prediction.mask for prediction in predictor(photo, asked)])

    forms = {"at once": at_once, "calls": by_calls, "model": by_model}
    timings = measure.compare(forms, options.repeats)
    probabilities = np.stack([preprocessor.probabilities(x[..., 0], size) for x in logits])
    others = [masks[name] for name in ("calls", "at once")]
    return {
        "timings": timings,
        **count_differences(masks["model"], others, probabilities),
        "share_of_pixels_found": float(masks["model"].mean()),
    }


def count_differences(mask, others, probabilities):
    """How many pixels of other masks differ at most: where the probability is sure, and where not.

    Args:
        mask: bool array.
        others: list of such arrays.
        probabilities: those behind `mask`.
    """
    sure = abs(probabilities - 0.5) > ROUNDING
    differ = [mask != other for other in others]
    return {
        "pixels_that_differ": max(int(np.sum(pixels & sure)) for pixels in differ),
        "pixels_of_rounding": max(int(np.sum(pixels & ~sure)) for pixels in differ),
    }


def targets(results):
    yield "faster_than_passes", results["timings"][2]["ratio"], ">=", 6.4
    yield "pixels_that_differ", results["pixels_that_differ"], "<=", 0


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
