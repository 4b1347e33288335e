"""Compile, time and weigh functions on the Keras backend in use: what the benchmarks share."""

import ctypes
import gc
import json
import multiprocessing
import os
import platform
import re
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import keras
from keras import ops, tree

MEGABYTE = 1e6


def compiled(function, arguments):
    """`function`, compiled for `arguments` by the backend's own means, but not run yet.

    Args:
        function: of nests of tensors to a tensor or a nest of them.
        arguments: tuple of nests of tensors.

    Returns:
        A callable of the same arguments.

    Raises:
        ValueError: if the Keras backend is neither TensorFlow nor JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        graph = tf.function(function, autograph=False)
        graph.get_concrete_function(*arguments)
        return graph
    if backend == "jax":
        import jax

        return jax.jit(function).lower(*arguments).compile()
    raise ValueError(
        f"The benchmarks run on KERAS_BACKEND=tensorflow or jax. Received: {backend!r}"
    )


def with_gradient(function):
    """Forward and backward: the gradient of the mean square of `function`'s one output.

    Returns:
        A function of the same arguments to the list of gradients by each of their tensors; on
        TensorFlow `None` for a tensor that the output does not depend on.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def gradient(*arguments):
            leaves = tree.flatten(arguments)
            with tf.GradientTape() as tape:
                tape.watch(leaves)
                loss = ops.mean(ops.square(function(*arguments)))
            return tape.gradient(loss, leaves)

        return gradient

    import jax

    def loss(arguments):
        return ops.mean(ops.square(function(*arguments)))

    return lambda *arguments: tree.flatten(jax.grad(loss)(arguments))


def wait_for(result):
    """Returns once `result` is computed: accelerators work behind Python's back."""
    # One compiled function makes all its outputs, so one number of one of them is enough.
    output = next(leaf for leaf in tree.flatten(result) if leaf is not None)
    ops.convert_to_numpy(output[(0,) * len(output.shape)])


def interleaved(calls, repeats):
    """Times callables in turn, so that what else the machine does falls on all of them alike.

    Args:
        calls: dict of name -> callable without arguments. Each is called once untimed first.
        repeats: rounds; every round calls each once.

    Returns:
        Dict of name -> list of `(wall seconds, CPU seconds of the process)`, one per round.
    """
    for call in calls.values():
        wait_for(call())
    times = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(timed(call)[:2])
    return times


def timed(call):
    """`(wall seconds, CPU seconds of the process, result)` of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    wait_for(result)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def summary(times, base):
    """Medians of `interleaved` times and their ratios to the one named `base`.

    Returns:
        List of dicts: name, median wall and CPU seconds, and `ratio` and `cpu_ratio`, medians over
        the rounds of the ratio to `base` in the same round.
    """
    return [
        {
            "name": name,
            "seconds": statistics.median(wall for wall, _ in rounds),
            "cpu_seconds": statistics.median(cpu for _, cpu in rounds),
            "ratio": statistics.median(a[0] / b[0] for a, b in zip(rounds, times[base])),
            "cpu_ratio": statistics.median(a[1] / b[1] for a, b in zip(rounds, times[base])),
        }
        for name, rounds in times.items()
    ]


def in_fresh_process(function, *arguments):
    """`function(*arguments)` in a new process that has imported Keras and done nothing yet."""
    # Each is forked from one server that has the imports behind it: they take seconds, start no
    # thread and allocate nothing that counts.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keras"])
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def peak_memory(call):
    """Peak resident memory of this process during the second of two calls, in bytes (Linux).

    The first call also optimises the graph and sets up thread pools and kernels, which costs more
    memory than a small computation does.

    Returns:
        `(above, total)`: the peak less what was resident just before the call, and the peak.
    """
    wait_for(call())
    gc.collect()
    # Without this the call would reuse what the first one freed, and seem to need nothing.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = resident("VmRSS")
    wait_for(call())
    peak = resident("VmHWM")
    return peak - before, peak


def resident(field):
    """A field of `/proc/self/status` in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE).group(1)) * 1024


def environment():
    """What a result depends on besides the code: dict of backend, versions and CPU cores."""
    return {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "python": platform.python_version(),
        "cpu_cores": len(os.sched_getaffinity(0)),
    }


def write_json(path, results):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
