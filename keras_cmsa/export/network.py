"""The network that every export holds, and the check that it answers as the model does."""

import keras
import numpy as np

from keras_cmsa.export.folding import fold_for_inference
from keras_cmsa.inference.preset import make_config
from keras_cmsa.models.cmsa import attention_levels, with_all_outputs
from keras_cmsa.models.inputs_and_outputs import check_preprocessor

# The largest difference of an output, as a share of its largest value, by the dtype of the weights.
TOLERANCES = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 1e-1}


def check_exportable(model, preprocessor):
    """Raises a `ValueError` if the model cannot be exported with the preprocessor."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "An export needs TensorFlow as the backend: set KERAS_BACKEND=tensorflow, which loads "
            f"models trained on other backends too. Received: {keras.backend.backend()!r}"
        )
    check_preprocessor(model, preprocessor)
    if isinstance(model.output, dict):
        raise ValueError(
            "The model comes from an export: copy its folder, or export the preset that it was "
            f"made from. Received: {model.name!r}"
        )


def network_for_export(model, vocabulary, path):
    """Makes the network that an export to `path` holds: the model, folded, with all its outputs.

    Returns:
        `keras.Model`; and the `Example` that an exported file must pass.

    Raises:
        RuntimeError: if the network gives other outputs than the model.
    """
    example = Example(with_all_outputs(model), len(vocabulary))
    network = with_all_outputs(fold_for_inference(model))
    example.check(network.predict_on_batch(example.inputs), path)
    return network, example


def config_of_export(model, preprocessor, config, facts):
    """What the `config.json` of an export holds: dict.

    Args:
        model, preprocessor: what is exported.
        config: dict of what is known of it, as in the `config.json` of a preset; `None`: nothing.
        facts: dict of facts about the export, for the model card.
    """
    known = {
        **(config or {}),
        "export": facts,
        "parameters": model.count_params(),
        "attention_levels": attention_levels(model),
    }
    return make_config(model.name, preprocessor, **known)


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
        self.outputs = model.predict_on_batch(self.inputs)

    def check(self, found, path, dtype="float32"):
        """Compares a dict of outputs with those of the model.

        Args:
            found: the outputs of an export to `path`, whose weights are stored as `dtype`.

        Raises:
            RuntimeError: if they differ by more than `TOLERANCES` allows.
        """
        for name, value in self.outputs.items():
            error = np.abs(found[name] - value).max() / max(1.0, np.abs(value).max())
            if not error <= TOLERANCES[dtype]:
                raise RuntimeError(
                    f"The export to {path} gives other {name} than the model: the difference is "
                    f"{error:.2g} of the largest value. No file was kept"
                )
