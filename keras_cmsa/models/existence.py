"""The output that says whether anything in the image fits a sentence."""

from keras import layers, ops

from keras_cmsa.layers.existence_feature import ExistenceFeature
from keras_cmsa.layers.sentence_axis import FromRows

EXISTS = "exists"  # the output's name
FEATURE, SCORE = "existence_feature", "existence_score"  # the names of its layers


def with_existence(logits, fused, score, words, is_word, inputs):
    """The outputs of a model that says whether anything fits.

    Args:
        logits: `(B, K, S, S, 1)`.
        fused: `(B K, H, W, F)`, the map before the mask.
        score: `(B K, h, w, 1)`, the scores of which the mask is made; h is a multiple of H.
        words: `(B K, N, C)`, the vectors of words.
        is_word: `(B K, N)` bool, False at padding.
        inputs: the model's inputs.

    Returns:
        `{"logits": logits, "exists": (B, K) float32 in 0..1}`, the probability that something fits.
        `keras_cmsa.training.refit` finds the threshold that decides.
    """
    by = score.shape[1] // fused.shape[1]
    if by > 1:
        score = layers.MaxPooling2D(by, name="existence_peaks")(score)
    fused = ops.concatenate([fused, score], axis=-1)
    feature = ExistenceFeature(name=FEATURE)(fused, words, is_word)  # (B K, D)
    score = layers.Dense(1, activation="sigmoid", dtype="float32", name=SCORE)(feature)
    exists = FromRows(dtype="float32", name=EXISTS)(score[:, 0], inputs["words"])
    return {"logits": logits, EXISTS: exists}


def has_existence(model):
    """Whether a model says if anything fits."""
    return isinstance(model.output, dict) and EXISTS in model.output
