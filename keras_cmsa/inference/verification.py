"""Whether a model answers as the reference beside it says, and if not, what is the likely cause."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from keras_cmsa.inference.masks import MaskRule
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.presets.exported import load_photo_graph, server_of
from keras_cmsa.presets.files import is_saved_model
from keras_cmsa.presets.model_card import MASKS_BY, STORED_AS, TRAINED_IN
from keras_cmsa.presets.reference import in_square
from keras_cmsa.utils.files import as_png


class Bounds(NamedTuple):
    """The largest difference of a probability, and the largest share of pixels in another mask.

    `outliers` is the share of probabilities that may differ by more.
    """

    probability: float
    pixels: float
    outliers: float = 0.0


# By the coarsest dtype that stores a weight or computes. The first has twice what storage rounds.
# Int8 also computes in 256 steps: most probabilities stay near, a few at the edge of a thing do not.
# Of the demo's model and `cmsa_photos` 0.1 % do not; with red and blue exchanged 1.8 % at least.
BOUNDS = {
    "float32": Bounds(1e-3, 1e-4),
    "float16": Bounds(1e-2, 1e-3),
    "bfloat16": Bounds(5e-2, 1e-2),
    "int8": Bounds(1e-1, 1e-2, 4e-3),
}


class Answers(NamedTuple):
    """What a model answers about the picture of a `Reference`, with its attributes of these names.

    A server does not say the ids: `None`. So is `exists` of a model without.
    """

    ids: np.ndarray | None
    probabilities: np.ndarray
    exists: np.ndarray | None
    masks: np.ndarray


class Difference(NamedTuple):
    """How many of the `total` values of an output differ by more than a bound, and the largest."""

    count: int
    total: int
    largest: float
    within: bool


class OtherAnswers(ValueError):
    """A model answers otherwise than its reference says."""


class Verification(NamedTuple):
    """Dict of `(file, output)`, such as `("PNG", "masks")`, to `Difference`; and the likely cause.

    The cause is empty if all are within their bounds.
    """

    differences: dict
    cause: str

    @property
    def lines(self):
        """A line for each output, and one for the cause."""
        lines = [
            f"{file} {output}: {x.count:,} of {x.total:,} differ, at most by {x.largest:.2g}"
            f"{'' if x.within else ': beyond the bound'}"
            for (file, output), x in self.differences.items()
        ]
        return [*lines, f"likely cause: {self.cause}"] if self.cause else lines


def check_reference(predictor, reference):
    """Raises `OtherAnswers`, with the cause, if a predictor answers otherwise than its reference."""
    verification = verify(reference, asking(predictor), bounds_of(predictor.config))
    if verification.cause:
        raise OtherAnswers(
            "\n".join(["the model does not answer as its reference says", *verification.lines])
        )


def bounds_of(config):
    """The `Bounds` of a model by its `config.json`."""
    export = config.get("export", {})
    computed = config.get("training", {}).get("mixed_precision")
    dtypes = computed, export.get(STORED_AS), export.get(TRAINED_IN)
    return max(BOUNDS.get(str(dtype), BOUNDS["float32"]) for dtype in dtypes)


def asking(predictor):
    """The function of an image file and sentences to `Answers` that a `Predictor` gives."""
    rule = MaskRule(predictor.config.get("export", {}).get(MASKS_BY, "strict"))

    def ask(file, sentences):
        pixels = read_image(file)
        predictions = predictor(pixels, sentences)
        exists = [prediction.existence for prediction in predictions]
        return Answers(
            np.stack([words.ids for words in predictor.read(sentences)]),
            np.stack([expit(prediction.logits) for prediction in predictions]),
            None if None in exists else np.array(exists),
            np.stack([x.mask_by(rule, pixels) & x.exists for x in predictions]),
        )

    return ask


def asking_graph(folder, preset):
    """The function as of `asking` for the graph of an export, which makes masks without the predictor.

    `None` of a preset, which has no such graph.

    Args:
        folder: `Path` of the export or preset.
        preset: `Preset` or `Predictor`; that of a SavedModel holds the model that is loaded from it.

    Raises:
        ModuleNotFoundError, ValueError: as `load_photo_graph`, or if a SavedModel takes no image as
            large as the picture of its reference.
    """
    if is_saved_model(folder):
        serve = server_of(preset.model)

        def ask(file, sentences):
            outputs = serve(file, sentences)
            if not outputs["valid"].all():
                raise ValueError(
                    "the graph does not take the picture of its reference: wanted an export for images "
                    "of its size"
                )
            masks = [read_image(png)[..., 0] > 0 for png in outputs["mask_png_bytes"]]
            return Answers(
                None, outputs["probabilities"], outputs.get("existence"), np.stack(masks)
            )

        return ask
    run = load_photo_graph(folder)

    def ask_of_ids(file, sentences):
        ids = preset.preprocessor.vocabulary.encode(sentences)
        outputs = run(read_image(file), ids)
        return Answers(ids, outputs["probabilities"], outputs.get("existence"), outputs["mask"] > 0)

    return ask_of_ids if run else None


def verify(reference, ask, bounds):
    """Compares the answers of a model with its reference.

    Args:
        reference: `Reference`.
        ask: function of the bytes of an image file and a list of sentences to `Answers`, such as
            `asking` gives.
        bounds: `Bounds`.

    Returns:
        `Verification`.

    Raises:
        ValueError: if the answers are those of a network or a picture of another size.
    """
    files = {"PNG": reference.png, "JPEG": reference.jpeg}
    differences = {
        (name, output): difference
        for name, file in files.items()
        for output, difference in compare(ask(file, reference.sentences), reference, bounds).items()
    }
    fails = {key for key, difference in differences.items() if not difference.within}
    return Verification(differences, cause_of(fails, reference, ask, bounds) if fails else "")


def compare(answers, reference, bounds):
    """Dict of the names of outputs to their `Difference`."""
    # The largest difference of an output, and the share of its values that may have a larger one.
    limits = {
        "ids": (0, 0),
        "probabilities": (bounds.probability, bounds.outliers),
        "exists": (bounds.probability, 0),
        "masks": (0, bounds.pixels),
    }
    differences = {}
    for output, (limit, share) in limits.items():
        ours, wanted = getattr(answers, output), getattr(reference, output)
        if ours is None or wanted is None:
            continue
        if ours.shape != wanted.shape:
            raise ValueError(
                f"the reference is of another model: wanted {output} {wanted.shape}. "
                f"Received: {ours.shape}"
            )
        differences[output] = difference(ours, wanted, limit, share)
    return differences


def difference(ours, wanted, limit, share):
    """The `Difference` of two arrays, within if at most a share of them differs by more."""
    error = np.abs(ours.astype("float64") - wanted)
    count = int((~(error <= limit)).sum())  # NaN differs too
    return Difference(count, error.size, float(error.max()), count <= share * error.size)


def cause_of(fails, reference, ask, bounds):
    """The likely cause of some differences, a set of `(file, output)`: `str`."""
    if ("PNG", "ids") in fails:
        return "the vocabulary: words have other ids, as if it had another order"
    outputs = {output for file, output in fails if file == "PNG"}
    if not outputs:
        return "another decoder of JPEG: the PNG with the same pixels has the right answer"
    if outputs == {"masks"}:
        return "a threshold, or the profile of the masks: the probabilities are right"
    pixels = read_image(reference.png)

    def is_right(pixels, wanted):
        probabilities = ask(as_png(pixels), reference.sentences).probabilities[: len(wanted)]
        return difference(probabilities, wanted, bounds.probability, bounds.outliers).within

    if is_right(pixels[..., ::-1], reference.probabilities):
        return "the channel order: with red and blue exchanged the answer is right"
    side = reference.square.shape[-1]
    if "probabilities" in outputs and is_right(in_square(pixels, side), reference.square):
        return "another resize: a picture that needs none has the right answer"
    answers = ask(reference.png, reference.sentences)
    if all(x.within for x in compare(answers, reference, BOUNDS["int8"]).values()):
        return (
            "quantised: the answers differ as those of int8 do, of which its config.json says "
            "nothing; or weights that are a little other"
        )
    return (
        "other weights or word ids, such as of another version of the model, or weights that are "
        "stored in fewer bits than its config.json says"
    )
