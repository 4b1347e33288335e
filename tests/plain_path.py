"""A model asked without the predictor: the reference that the predictor and exports are held to."""

import tiny

from keras_cmsa.inference.masks import to_mask


def plain(model, preprocessor, image, sentence):
    """Logits `(S, S)` and the mask `(H, W)` that a model as it is gives for one sentence."""
    logits = model(preprocessor([image], [sentence]), training=False)
    logits = tiny.to_numpy(logits)[0, 0, ..., 0]
    return logits, to_mask(logits, image.shape[:2], preprocessor)
