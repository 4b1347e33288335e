"""The network that every export holds, and the check that it answers as the model does."""

import keras
import numpy as np

from keras_cmsa.inference.verification import asking_graph, bounds_of, verify
from keras_cmsa.models.cmsa import attention_levels, with_all_outputs
from keras_cmsa.models.folding import fold_for_inference
from keras_cmsa.models.inputs_and_outputs import check_preprocessor, computed_in
from keras_cmsa.presets.exported import is_export
from keras_cmsa.presets.files import read_config
from keras_cmsa.presets.model_card import TRAINED_IN
from keras_cmsa.presets.preset import make_config
from keras_cmsa.presets.reference import read_reference

# The largest difference of an output, as a share of its largest value, by the coarsest dtype that
# stores a weight or computes. Of int8 it is the mean difference and value: on noise, which no range
# was taken from, single values may go anywhere.
TOLERANCES = {"float32": 1e-3, "float16": 3e-2, "bfloat16": 2e-1, "int8": 1e-1}
SMALLEST = 1e-3  # a largest or mean value below it counts as this much


class OtherOutputs(RuntimeError):
    """An export gives other outputs than its model."""


def check_masks(folder, preset):
    """Raises `OtherOutputs` if the graph of an export answers otherwise than its reference.

    Args:
        folder, preset: as in `asking_graph`.
    """
    ask = asking_graph(folder, preset)
    verification = verify(read_reference(folder), ask, bounds_of(read_config(folder)))
    if verification.cause:
        lines = "\n".join(verification.lines)
        raise OtherOutputs(
            f"The export finds other masks than the model. Nothing was kept\n{lines}"
        )


def check_exportable(preset):
    """Raises a `ValueError` if the model of a preset cannot be exported."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "An export needs TensorFlow as the backend: set KERAS_BACKEND=tensorflow, which loads "
            f"models trained on other backends too. Received: {keras.backend.backend()!r}"
        )
    check_preprocessor(preset.model, preset.preprocessor)
    if is_export(preset.model):
        raise ValueError(
            "The model comes from an export: copy its folder, or export the preset that it was "
            f"made from. Received: {preset.model.name!r}"
        )


def network_for_export(preset, unroll=False):
    """Makes the network that an export holds: the model, folded, with all its outputs.

    It computes in float32, whatever the model does. `unroll`: see `fold_for_inference`.

    Returns:
        `keras.Model`; and its `Example`, which an exported file must pass.

    Raises:
        OtherOutputs: if the network gives other outputs than the model.
    """
    whole = with_all_outputs(preset.model)
    network = fold_for_inference(whole, "float32", unroll)
    vocabulary_size = len(preset.preprocessor.vocabulary)
    network = refusing_negative_ids(network, vocabulary_size)
    example = Example(network, vocabulary_size)
    example.check(whole.predict_on_batch(example.inputs), computed_in(preset.model))
    return network, example


def refusing_negative_ids(network, vocabulary_size):
    """A network for which a negative word id is no id, as one beyond the vocabulary is.

    Keras counts it from the end of the vocabulary, and engines would answer with a mask.
    """
    image, words = (network.input[name] for name in ("image", "words"))
    ids = keras.ops.where(words < 0, vocabulary_size, words)
    inputs = {"image": image, "words": words}
    return keras.Model(inputs, network({"image": image, "words": ids}), name=network.name)


def config_of_export(preset, facts):
    """What the `config.json` of an export holds: dict.

    Args:
        preset: the `Preset` or `Predictor` that is exported.
        facts: dict of facts about the export, for the model card.
    """
    facts = {
        **preset.config,
        "export": facts | {TRAINED_IN: computed_in(preset.model)},
        "parameters": preset.model.count_params(),
        "attention_levels": attention_levels(preset.model),
    }
    return make_config(preset.model.name, preset.preprocessor, **facts)


class Example:
    """Two images of noise with three expressions each, one of them short, and a model's outputs.

    Args:
        model: `keras.Model` with a dict of outputs.
        vocabulary_size: word ids are below it.
    """

    def __init__(self, model, vocabulary_size):
        rng = np.random.default_rng(0)
        shape = model.input["image"].shape[1:]
        longest = model.input["words"].shape[-1]
        words = rng.integers(1, vocabulary_size, (2, 3, longest)).astype("int32")
        words[1, 0, 1:] = 0
        self.inputs = {"image": rng.uniform(0, 255, (2, *shape)).astype("float32"), "words": words}
        outputs = model.predict_on_batch(self.inputs)
        self.outputs = {name: np.asarray(x, "float32") for name, x in outputs.items()}

    def check(self, outputs, dtype="float32"):
        """Compares a dict of outputs with those of the model.

        Args:
            outputs: the outputs of an export, or of what it was made from.
            dtype: the coarsest dtype that stores a weight or computes, on either side.

        Raises:
            OtherOutputs: if they differ by more than `TOLERANCES` allows.
        """
        for name, value in self.outputs.items():
            which, measure = ("mean", np.mean) if dtype == "int8" else ("largest", np.max)
            scale = max(SMALLEST, measure(np.abs(value)))
            error = measure(np.abs(outputs[name] - value)) / scale
            if not error <= TOLERANCES[dtype]:
                hint = ". In ONNX, int8 wants a CPU with VNNI" if dtype == "int8" else ""
                raise OtherOutputs(
                    f"The export gives other {name} than the model: the {which} difference is "
                    f"{error:.2g} of the {which} value, {scale:.2g}; in {dtype} at most "
                    f"{TOLERANCES[dtype]} is allowed. Nothing was kept{hint}"
                )
