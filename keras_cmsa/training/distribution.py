"""Training on several devices, and in several processes on one machine or many.

Every process is started with the same command but for its number. All read the same records, and of
each batch each process makes an equal part. A step then computes over the whole batch, on all devices
(`keras.distribution.DataParallel` on the JAX backend), so it teaches what it teaches on one device.
The first process alone writes the run.
"""

import contextlib
import os
import re
import socket
import sys
import time
import traceback

import keras

from keras_cmsa.training.devices import ONE, address_of
from keras_cmsa.utils.messages import in_words

# Timeouts in seconds: to join, and to answer.
PATIENCE, HEARTBEAT = 300, 30
# JAX's errors begin with a status, such as UNAVAILABLE. Some are a ValueError.
STATUS = re.compile(r"[A-Z_]{5,}: ")


@contextlib.contextmanager
def join_processes(devices, batch_size):
    """Spreads what is trained within over devices and processes. To be entered before all else.

    Args:
        devices: `Devices`.
        batch_size: images per batch, of all processes.

    Raises:
        ConnectionError: if the coordinator cannot be reached.
        ValueError: if there are fewer devices, the batch cannot be shared equally, or the backend
            is another.
    """
    if devices == ONE:
        yield
        return
    if keras.backend.backend() != "jax":
        raise ValueError(
            "several devices need the JAX backend: set KERAS_BACKEND=jax. Received: "
            f"{keras.backend.backend()}"
        )
    with exit_on_error(devices):
        if devices.coordinator is not None:
            join(devices)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(
                devices=choose_devices(devices.devices), auto_shard_dataset=False
            )
        )
        try:
            check_divides(batch_size=batch_size)
            yield
        finally:
            keras.distribution.set_distribution(None)
        if devices.coordinator is not None:
            import jax

            # The others need not wait while the first process evaluates.
            jax.distributed.shutdown()


def join(devices):
    """Meets the other processes; returns when all are there."""
    import jax

    address = address_of(devices.coordinator)
    # JAX would abort the process, with a trace of C++.
    if devices.process_id == 0:
        check_free(address[1])
    else:
        wait_for(address)
    # It would keep SIGTERM from ending the process; a kill costs a round at most.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        devices.coordinator,
        devices.num_processes,
        devices.process_id,
        initialization_timeout=PATIENCE,
        heartbeat_timeout_seconds=HEARTBEAT,
    )


def check_free(port):
    """Raises a `ConnectionError` if another program listens on a port of this machine."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            raise ConnectionError(
                f"the port of `coordinator`, {port}, cannot be had on this machine: {error.strerror}"
            ) from None


def wait_for(address, patience=PATIENCE):
    """Waits until something answers at `(host, port)`."""
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise ConnectionError(
                    f"no process 0 answered at {address[0]}:{address[1]} within {patience} s: "
                    f"{in_words(error)}. Start it with the same `coordinator`"
                ) from None
        time.sleep(0.5)


def choose_devices(number):
    """The names of `number` devices of each process, or of all; those of a process in a row."""
    import jax

    processes = [[] for _ in range(jax.process_count())]
    for device in sorted(jax.devices(), key=lambda device: device.id):
        processes[device.process_index].append(f"{device.platform}:{device.id}")
    for index, devices in enumerate(processes):
        if number is not None and number > len(devices):
            raise ValueError(
                f"`devices` must be at most the devices of each process. Received: {number}; "
                f"process {index} has {len(devices)}: {', '.join(devices)}"
            )
    return [name for devices in processes for name in devices[:number]]


def process_part():
    """`(index, number)` of this process among those that share each batch; `None` on one device."""
    if keras.distribution.distribution() is None:
        return None
    import jax

    return jax.process_index(), jax.process_count()


def is_lead():
    """Whether this process prints and writes."""
    part = process_part()
    return part is None or part[0] == 0


@contextlib.contextmanager
def without_distribution():
    """Keeps what is made within to this process: Keras would spread its variables over all."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def check_divides(**batch):
    """Raises a `ValueError` if the devices of a training cannot share a batch equally.

    Args:
        **batch: the name of the argument that has its size, and the size.
    """
    distribution = keras.distribution.distribution()
    number = distribution.device_mesh.devices.size if distribution else 1
    for name, size in batch.items():
        if size % number:
            raise ValueError(
                f"`{name}` must be a multiple of the {number} devices of all processes, which share "
                f"each batch. Received: {size}"
            )


@contextlib.contextmanager
def exit_on_error(devices):
    """Ends the process on any error, if it is one of several.

    An orderly end would wait for the others, and they wait for this process' part of the next step.
    """
    try:
        yield
    except BaseException as error:
        if devices.coordinator is None:
            raise
        print(f"process {devices.process_id}: {describe(error)}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)


def describe(error):
    """An error, for people; with its traceback if it is none that a person can have caused."""
    import jax

    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    if isinstance(error, jax.errors.JaxRuntimeError) or STATUS.match(str(error)):
        return (
            "another process has ended or cannot be reached, or a device has failed. Start all "
            f"processes again with `resume=True`. JAX says: {str(error)[:300]}"
        )
    if isinstance(error, (OSError, ValueError, ModuleNotFoundError, FloatingPointError)):
        return in_words(error)
    return "".join(traceback.format_exception(error))
