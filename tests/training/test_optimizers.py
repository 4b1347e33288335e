"""Schedules and steps of the optimizers, by their definitions."""

import keras
import numpy as np
import pytest
import tiny

from keras_cmsa.training.loop import compile_model
from keras_cmsa.training.optimizers import make_optimizer
from keras_cmsa.training.run import precision
from keras_cmsa.training.settings import Settings

pytestmark = pytest.mark.keras


def optimizer_of(model, **settings):
    """The optimizer of these settings, built for the model."""
    optimizer = make_optimizer(model, Settings(**settings))
    optimizer.build(model.trainable_weights)
    return optimizer


def after_a_step(optimizer, weights, gradients):
    """The values of weights after an update."""
    if keras.backend.backend() == "jax":  # which would compile each operation for each shape
        import jax

        state = [[v.value for v in variables] for variables in (optimizer.variables, weights)]
        after, _ = jax.jit(optimizer.stateless_apply)(state[0], gradients, state[1])
    else:
        optimizer.apply([keras.ops.convert_to_tensor(x) for x in gradients], weights)
        after = [w.value for w in weights]
    return [tiny.to_numpy(value) for value in after]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weight_decay_is_decoupled_and_of_kernels_only(seeded, name):
    """A step without a gradient shrinks kernels by rate * decay and leaves all else as it is."""
    model = tiny.model(word_positions=True)
    weights = model.trainable_weights
    for weight in weights:
        weight.assign(np.ones(weight.shape))
    optimizer = optimizer_of(model, steps=10, optimizer=name, learning_rate=0.1, weight_decay=0.25)
    after = after_a_step(optimizer, weights, [np.zeros(w.shape, "float32") for w in weights])
    left_alone = ("bias", "gamma", "beta", "embeddings", "word_positions/vectors")
    spared = [weight.path.endswith(left_alone) for weight in weights]
    assert sum(spared) > 10 and len(spared) - sum(spared) > 20
    for weight, value, alone in zip(weights, after, spared):
        wanted = 1.0 if alone else 1 - 0.1 * 0.25
        np.testing.assert_allclose(value, wanted, rtol=1e-6, err_msg=weight.path)


def test_muon_turns_matrices_and_leaves_the_rest_to_adam(seeded):
    """The first step of a matrix is about an orthogonal one, whose entries are as large as Adam's."""
    model = tiny.model(word_positions=True)
    weights = model.trainable_weights
    optimizer = optimizer_of(
        model, steps=10, optimizer="muon", learning_rate=0.01, weight_decay=0.0
    )
    random = np.random.default_rng(0)
    # Singular values of a wide range, so that the gradient is far from orthogonal itself.
    gradients = [random.normal(size=w.shape) * np.logspace(0, -1.5, w.shape[-1]) for w in weights]
    gradients = [x.astype("float32") for x in gradients]
    before = [tiny.to_numpy(w.value) for w in weights]
    after = after_a_step(optimizer, weights, gradients)
    matrices = 0
    for weight, gradient, old, new in zip(weights, gradients, before, after):
        adams = 0.01 * gradient / (np.abs(gradient) + 1e-7 / 0.001**0.5)  # Adam's epsilon
        if weight.path.endswith("kernel") and gradient.ndim == 2:
            length = 0.01 * 0.2 * gradient.size**0.5
            assert np.linalg.norm(old - new) == pytest.approx(length, rel=0.3), weight.path
            assert not np.allclose(old - new, adams, rtol=0.5)
            matrices += 1
        else:
            np.testing.assert_allclose(old - new, adams, rtol=0.02)
    assert matrices == 3 * (5 + 1)  # five of the attention and one of the backbone for each level


@pytest.mark.parametrize("options", [{}, {"power": 2.0}])
def test_schedule_and_defaults_are_the_papers(seeded, options):
    optimizer = optimizer_of(tiny.model(), steps=1000, **options)
    # On PyTorch and JAX the class is one of the backend's own below Keras'.
    assert isinstance(optimizer, seeded.optimizers.AdamW)
    assert optimizer.weight_decay == 5e-4
    for step in (0, 1, 500, 999, 1000, 5000):
        optimizer.iterations.assign(step)
        wanted = 1e-5 + (2.5e-4 - 1e-5) * (1 - min(step, 1000) / 1000) ** options.get("power", 0.9)
        assert float(optimizer.learning_rate) == pytest.approx(wanted, rel=1e-4)


def test_the_loss_of_a_model_in_float16_is_scaled(seeded):
    """Compiled outside of its policy too, as a preset that training goes on from is."""
    for name, scale in (("float16", 2.0**15), ("bfloat16", None), (None, None)):
        with precision(name):
            model = tiny.model()
        compile_model(model, Settings())
        assert getattr(model.optimizer, "initial_scale", None) == scale, name
