"""Runs a model on every record of a split and scores what it finds."""

import numpy as np
from rich.progress import track

from keras_cmsa.data.order import RowOrder
from keras_cmsa.data.pipeline import RecordBatches
from keras_cmsa.data.record import images_of
from keras_cmsa.evaluation.scores import score_mask
from keras_cmsa.inference.masks import check_profile, to_mask
from keras_cmsa.models.inputs_and_outputs import check_preprocessor

# Expressions about one image that go through a model together.
PER_IMAGE = 8


def evaluate(model, preprocessor, records, profile="strict", batch_size=8, title=None, words=None):
    """Scores a model on every record, each expression counted once.

    Args:
        model: from `image` and `words` to logits, as `build_cmsa` makes.
        preprocessor: the `Preprocessor` of its training.
        records: list of `Record`.
        profile: a key of `PROFILES`.
        batch_size: expressions per forward pass, about as many images as that takes.
        title: label of the progress bar; `None` shows none.
        words: `(n, N)` int32 word ids to ask for the records instead of their expressions.

    Returns:
        List of `Score`, one per record, in order. `summarize` makes the paper's numbers of it.

    Raises:
        ValueError: if the profile is unknown, the preprocessor does not fit the model, or an image
            or mask cannot be read.
    """
    check_profile(profile)
    scores = {
        i: score(records[i], logits, preprocessor, profile)
        for i, _, logits in logits_of(model, preprocessor, records, batch_size, title, words)
    }
    return [scores[i] for i in range(len(records))]


def logits_of(model, preprocessor, records, batch_size=8, title=None, words=None):
    """Runs a model on every record, image by image; arguments and errors as in `evaluate`.

    Yields:
        `(i, image, logits)`: the index of the record, the image on the square `(S, S, 3)` float32
        in 0..255 and the logits `(S, S)`.
    """
    check_preprocessor(model, preprocessor)
    per_image = RowOrder(images_of(records), PER_IMAGE).per_row
    batches = RecordBatches(
        records, preprocessor, max(1, batch_size // per_image), per_image, words=words
    )
    numbers = range(len(batches))
    for number in track(numbers, title) if title else numbers:
        inputs, _, _ = batches[number]
        logits = model.predict_on_batch(inputs)
        if isinstance(logits, dict):  # of an exported version, which also has its attention
            logits = logits["logits"]
        logits = np.asarray(logits)[..., 0]
        for row, image, of_row in zip(batches.rows(number), inputs["image"], logits, strict=True):
            for i, logit in zip(row, of_row, strict=True):
                if i < len(records):
                    yield int(i), image, logit


def score(record, logits, preprocessor, profile="strict"):
    """The `Score` of one record's logits `(S, S)`."""
    return score_mask(record, to_mask(logits, (record.height, record.width), preprocessor, profile))
