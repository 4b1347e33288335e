"""An auto-annotation function of CVAT: a mask for each label, whose name is the phrase.

    cvat-cli task auto-annotate 12 --function-module keras_cmsa.serving.cvat \
        -p model=str:runs/mine -p "phrases=str:red cup;the cup on the left" --allow-unmatched-labels

Needs `pip install cvat-cli` beside this package.
https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation has the interface.
"""

import warnings

import cvat_sdk.auto_annotation as cvat
from cvat_sdk.masks import encode_mask

from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.presets.hub import PHOTOS


def create(phrases, model=PHOTOS):
    """The function that CVAT's command asks for.

    Args:
        phrases: what to find, with `;` between; the labels of the task that have these names are
            annotated.
        model: as `Predictor.from_preset` takes it.

    Raises:
        ValueError: if there is no phrase, one comes twice, or the model refuses one.
    """
    return Function(Predictor.from_preset(model), [part.strip() for part in phrases.split(";")])


class Function:
    """Finds a phrase for each label. `spec` and `detect` are CVAT's."""

    def __init__(self, predictor, phrases):
        if not all(phrases) or len(set(phrases)) < len(phrases):
            raise ValueError(
                f"`phrases` must be phrases with ; between, each once. Received: {phrases}"
            )
        predictor.read(phrases)  # warns of unknown words once, and not for each frame
        self.predictor, self.phrases = predictor, phrases
        labels = [cvat.label_spec(phrase, i, type="mask") for i, phrase in enumerate(phrases)]
        self.spec = cvat.DetectionFunctionSpec(labels=labels)

    def detect(self, context, image):
        """The masks of a frame, a Pillow image: list of CVAT's shapes. What fits nothing has none."""
        if context.conv_mask_to_poly:
            raise cvat.BadFunctionError(
                "wanted masks. Received: the option to make polygons of them"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictions = self.predictor(image, self.phrases)
        least = context.conf_threshold or 0
        return [
            cvat.mask(label, encode_mask(prediction.mask))
            for label, prediction in enumerate(predictions)
            if prediction.mask.any() and prediction.score >= least
        ]
