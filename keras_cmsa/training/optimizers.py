"""The optimizer of a training and its learning rate over the steps."""

import re

import keras

from keras_cmsa.models.inputs_and_outputs import computed_in

KERNELS = r"kernel$"  # of the paths of weights: all but biases, gains, word vectors and the like
NO_KERNELS = rf"^(?!.*{KERNELS})"


def make_optimizer(model, settings):
    """The optimizer of the settings, with the paper's schedule.

    Weight decay is decoupled, which is a reading: the paper gives its size, 5e-4, and a loss that
    is a mean over pixels (Eq. 7). An L2 term of that size would drown this mean. The authors' code
    adds the term to a sum over pixels.

    Muon orthogonalises the update of a matrix (Jordan et al. 2024, https://github.com/KellerJordan/Muon),
    scaled such that the rates and the decay of Adam suit it (Liu et al. 2025,
    https://arxiv.org/abs/2502.16982). Word vectors, convolutions and everything that is not a kernel stay
    with Adam.

    A model that computes in float16 has its loss scaled, wherever its precision comes from: Keras scales
    it by the policy of the model that is compiled, which one that is loaded or split does not have.

    Args:
        model: `keras.Model`, whose kernels alone are decayed.
        settings: `Settings`, of which `steps`, at whose end the polynomial decay ends, `optimizer`,
            the learning rates, `power` and `weight_decay` count here.

    Returns:
        `keras.optimizers.Optimizer`.
    """
    schedule = keras.optimizers.schedules.PolynomialDecay(
        settings.learning_rate, settings.steps, settings.end_learning_rate, settings.power
    )
    decay = settings.weight_decay
    if settings.optimizer == "muon":
        optimizer = keras.optimizers.Muon(
            schedule, weight_decay=decay, adam_weight_decay=decay, exclude_layers=[NO_KERNELS]
        )
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay)
    optimizer.exclude_from_weight_decay(
        var_list=[w for w in model.trainable_weights if not re.search(KERNELS, w.path)]
    )
    if computed_in(model) == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
