"""What would make the attention matter more: CMSA with one thing changed at a time.

    python recipes/attention_trials.py --seeds 3
    python recipes/attention_trials.py --trials cmsa cmsa_relu --seeds 3 --steps 9600

Each trial changes one thing that the paper leaves open, or a number that its features make likely to
matter. All other settings but the number of steps are those of ablations.py; docs/results.md has the
outcome.
"""

import functools
import sys
from typing import Annotated

import cyclopts
import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number

from keras_cmsa.cli import command_line
from keras_cmsa.utils.silence import import_keras

RUN_DIR = "runs/attention_trials"


def with_kernels(build, change):
    """A builder whose attention kernels begin otherwise.

    Args:
        build: such as `build_cmsa`.
        change: function from the name and the value of a weight of the attention, and the number of
            channels of its visual part, to another value.
    """

    @functools.wraps(build)
    def build_changed(*args, **sizes):
        model = build(*args, **sizes)
        for layer in model.attention_layers:
            visual = layer.input[0].shape[-1] - 8
            for weight in layer.weights:
                weight.assign(change(weight.name, np.array(weight.numpy()), visual))
        return model

    return build_changed


def larger_scores(name, value, visual):
    """Query and key three times larger, so that scores are nine times."""
    return value * 3 if name in ("query_kernel", "key_kernel") else value


def smaller_coordinates(name, value, visual):
    """The coordinates, of length 2.4 at a corner, weigh as the visual part, of length 1."""
    if name.endswith("kernel") and name != "output_kernel":
        value[visual : visual + 8] /= 2.4
    return value


def trials():
    """`{name: builder}`; "cmsa", the published network, is last: tables compare it with the others."""
    from keras import layers, saving

    from keras_cmsa.models.cmsa import build_cmsa
    from keras_cmsa.models.fusions import gated_multi_level

    @saving.register_keras_serializable(package="attention_trials")
    def after_relu(levels):
        return gated_multi_level(
            [layers.ReLU(name=f"relu_{i}")(x) for i, x in enumerate(levels, 1)]
        )

    return {
        "cmsa_relu": functools.partial(build_cmsa, fusion=after_relu),
        "cmsa_scores": with_kernels(build_cmsa, larger_scores),
        "cmsa_coordinates": with_kernels(build_cmsa, smaller_coordinates),
        "cmsa_wide": build_cmsa,
        "cmsa_warmup": build_cmsa,
        "cmsa_longer": build_cmsa,
        "cmsa": build_cmsa,
    }


def own_settings(steps):
    """`{trial: settings}` of those that differ in settings from `steps` batches of the others."""
    return {
        "cmsa_wide": {"attention_dim": 256},  # 64 in the others
        "cmsa_warmup": {"warmup_steps": steps // 10},
        "cmsa_longer": {"steps": 4 * steps},
    }


def main(
    *,
    trials_: Annotated[
        list[str] | None, Parameter(name="--trials", consume_multiple=True, negative=())
    ] = None,
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    steps: Annotated[int, Parameter(validator=Number(gte=1))] = 2400,
    run_dir: str = RUN_DIR,
):
    """Train the trials and write a table of them.

    Parameters
    ----------
    trials_
        Names of some of them: cmsa (the published network), cmsa_relu (a ReLU on X^i), cmsa_scores
        (query and key kernels three times larger), cmsa_coordinates (kernels of the coordinates
        smaller), cmsa_wide (attention of width 256), cmsa_warmup (the learning rate rises over the
        first tenth of the batches), cmsa_longer (four times as many batches). All, unless given.
    seeds
        Train each this often, with the seeds 0, 1, ...
    steps
        Batches of 8 expressions.
    run_dir
        Folder of the runs.
    """
    import_keras()
    from ablations import shared_settings
    from comparison import compare

    from keras_cmsa.models.systems import SYSTEMS

    there = trials()
    if unknown := set(trials_ or ()) - set(there):
        raise ValueError(f"`trials` must be among {sorted(there)}. Received: {sorted(unknown)}")
    # For this process, the trials are systems.
    SYSTEMS.update(there)
    shared = shared_settings(paper_size=False, given={"run_dir": run_dir, "steps": steps})
    rows = {name: name for name in there if name in (trials_ or there)}
    compare(shared, own_settings(steps), {"trials": rows}, seeds)


if __name__ == "__main__":
    app = cyclopts.App()
    app.default(main)
    command_line.run(app, sys.argv[1:], sys.argv[0])
