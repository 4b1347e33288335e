"""Compile, time and weigh functions on the Keras backend in use: what the benchmarks share."""

import multiprocessing
import os
import platform
import re
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

import keras
from keras import ops, tree


def compiled(function, arguments, torch_compile=False):
    """`function`, compiled for `arguments` by the backend's own means, but not run yet.

    PyTorch runs a function as it stands, operation by operation, unless asked to compile it.

    Args:
        function: of nests of tensors to a tensor or a nest of them.
        arguments: tuple of nests of tensors.
        torch_compile: on PyTorch, compile by `torch.compile`, which happens in the first call.

    Returns:
        A callable of the same arguments.

    Raises:
        ValueError: if the Keras backend is none of TensorFlow, JAX and PyTorch.
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
    if backend == "torch":
        import torch

        return torch.no_grad()(torch.compile(function) if torch_compile else function)
    raise ValueError(
        f"The benchmarks run on KERAS_BACKEND=tensorflow, jax or torch. Received: {backend!r}"
    )


def forward_call(network, inputs, torch_compile=False):
    """A network's forward pass as a callable without arguments, compiled but not run yet."""
    return partial(compiled(partial(network, training=False), (inputs,), torch_compile), inputs)


def with_gradient(function):
    """Forward and backward: the gradient of the mean square of `function`'s one output.

    Returns:
        A function of the same arguments to the list of gradients by each of their tensors; on
        TensorFlow and PyTorch `None` for a tensor that the output does not depend on.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def gradient(*arguments):
            leaves = tree.flatten(arguments)
            with tf.GradientTape() as tape:
                tape.watch(leaves)
                loss = ops.mean(ops.square(function(*arguments)))
            gradients = tape.gradient(loss, leaves)
            # Of an embedding there are only the rows that were looked up.
            return [x.values if isinstance(x, tf.IndexedSlices) else x for x in gradients]

        return gradient

    if keras.backend.backend() == "torch":
        import torch

        @torch.enable_grad()
        def gradient(*arguments):
            arguments = tree.map_structure(lambda x: x.detach().requires_grad_(), arguments)
            loss = ops.mean(ops.square(function(*arguments)))
            return list(torch.autograd.grad(loss, tree.flatten(arguments), allow_unused=True))

        return gradient

    import jax

    def loss(arguments):
        return ops.mean(ops.square(function(*arguments)))

    return lambda *arguments: tree.flatten(jax.grad(loss)(arguments))


PASSES = {"forward": lambda function: function, "forward_backward": with_gradient}


def wait_for(result):
    """Returns once the tensors in `result` are computed: accelerators work behind Python's back."""
    # One compiled function makes all its outputs, so one number of one of them is enough.
    for output in filter(lambda leaf: hasattr(leaf, "shape"), tree.flatten(result)):
        ops.convert_to_numpy(output[(0,) * len(output.shape)])
        return


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


def compare(calls, repeats, base=None):
    """The `summary` of the `interleaved` times of callables."""
    return summary(interleaved(calls, repeats), base or next(iter(calls)))


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


def compare_passes(forms, repeats):
    """`summary` of forms against the first of them, forward and with gradient.

    Args:
        forms: dict of name -> `(function, arguments)`.
        repeats: rounds of timing.

    Returns:
        Dict of a key of `PASSES` -> rows.
    """
    results = {}
    for name, prepare in PASSES.items():
        calls = {
            form: partial(compiled(prepare(function), arguments), *arguments)
            for form, (function, arguments) in forms.items()
        }
        results[name] = compare(calls, repeats)
    return results


def in_fresh_process(function, *arguments, start="forkserver"):
    """`function(*arguments)` in a new process that has imported Keras and done nothing yet.

    Args:
        start: `"forkserver"`, or `"spawn"`, which an accelerator needs: its driver does not work in
            a process that is forked.
    """
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        # Each is forked from one server that has the imports behind it: they take seconds, start no
        # thread and allocate nothing that counts.
        context.set_forkserver_preload(["keras"])
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def peak_memory(call):
    """Peak memory of this process during a call, in bytes: the accelerator's, or else resident.

    Meaningful for the first call in a fresh process: TensorFlow keeps what it once took, and the
    peak of an accelerator is that since the start. The resident peak counts the optimisation of the
    graph as well. It is read from Linux' /proc.

    Returns:
        `(above, total)`: the peak less what was taken just before the call, and the peak.
    """
    if device := accelerator():
        wait_for(call())
        peak = accelerator()["peak"]
        return peak - device["now"], peak
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = resident("VmRSS")
    wait_for(call())
    peak = resident("VmHWM")
    return peak - before, peak


def accelerator():
    """Its `name`, and bytes that are taken `now` and were at their `peak`; None on a CPU.

    The bytes are by the backend's own count.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.local_devices()[0]
        if memory := device.memory_stats():
            peak = memory["peak_bytes_in_use"]
            return {"name": device.device_kind, "now": memory["bytes_in_use"], "peak": peak}
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            cuda = torch.cuda
            taken = {"now": cuda.memory_allocated(), "peak": cuda.max_memory_allocated()}
            return {"name": cuda.get_device_name(0), **taken}
    elif backend == "tensorflow":
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            memory = tf.config.experimental.get_memory_info("GPU:0")
            name = tf.config.experimental.get_device_details(device)["device_name"]
            return {"name": name, "now": memory["current"], "peak": memory["peak"]}
    return None


def chip():
    """The name of the accelerator, or else of the processor."""
    if device := accelerator():
        return device["name"]
    cpus = Path("/proc/cpuinfo")  # Linux
    named = cpus.exists() and re.search(r"model name\s*: (.+)", cpus.read_text())
    return named.group(1) if named else platform.machine()


def resident(field):
    """A field of `/proc/self/status` in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE).group(1)) * 1024


def verdicts(targets):
    """Rows of targets, each `(name, value, ">=" or "<=", bound)`, with `met`."""
    return [
        {
            "name": name,
            "measured": value,
            "wanted": f"{sign} {bound}",
            "met": value >= bound if sign == ">=" else value <= bound,
        }
        for name, value, sign, bound in targets
    ]


def environment():
    """What a result depends on besides the code: dict of date, chip, backend, versions and cores."""
    backend = keras.backend.backend()
    return {
        "date": date.today().isoformat(),
        "chip": chip(),
        "backend": backend,
        backend: version(backend),
        "keras": keras.__version__,
        "python": platform.python_version(),
        "cpu_cores": len(os.sched_getaffinity(0)),
    }
