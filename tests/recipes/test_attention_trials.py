"""The trials of the attention: each changes what it says, and nothing else."""

import keras
import numpy as np
import pytest
import tiny

from keras_cmsa.models import systems

SIZES = {"word_dim": 5, "attention_dim": 4, "fusion_dim": 3, "max_words": tiny.WORDS}


@pytest.fixture
def kernels(recipes):
    """The attention's weights of Res4 of a trial: `{name: array}`."""
    import attention_trials

    def build(name):
        keras.utils.set_random_seed(3)
        model = attention_trials.trials()[name](9, tiny.SIZE, tiny.backbone(), **SIZES)
        return tiny.weights_of(model.get_layer("attention_res4"))

    return build


def test_kernels_that_begin_otherwise(kernels):
    published, scores, coordinates = map(kernels, ("cmsa", "cmsa_scores", "cmsa_coordinates"))
    for name, value in published.items():
        factor = 3 if name in ("query_kernel", "key_kernel") else 1
        np.testing.assert_allclose(scores[name], factor * value, rtol=1e-6)
        wanted = value.copy()
        if name in ("query_kernel", "key_kernel", "value_kernel", "reduction_kernel"):
            wanted[6:14] /= 2.4  # behind the 6 channels of the image
        np.testing.assert_allclose(coordinates[name], wanted, rtol=1e-6)


def test_the_trials_are_compared_as_systems(recipes, monkeypatch):
    import attention_trials
    import comparison

    monkeypatch.setattr(systems, "SYSTEMS", dict(systems.SYSTEMS))
    asked = []
    monkeypatch.setattr(comparison, "compare", lambda *arguments: asked.append(arguments))
    attention_trials.main(trials_=["cmsa", "cmsa_relu"], seeds=2, steps=50)
    ((shared, own, tables, seeds),) = asked
    assert (shared.steps, shared.batch_size, shared.run_dir) == (50, 8, "runs/attention_trials")
    assert seeds == 2 and own == {
        "cmsa_wide": {"attention_dim": 256},
        "cmsa_warmup": {"warmup_steps": 5},
        "cmsa_longer": {"steps": 200},
    }
    assert list(tables["trials"].items()) == [("cmsa_relu", "cmsa_relu"), ("cmsa", "cmsa")]
    with pytest.raises(ValueError, match=r"Received: \['rmi'\]"):
        attention_trials.main(trials_=["rmi"])
