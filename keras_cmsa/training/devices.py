"""What a training runs on: devices, and processes on one machine or many."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.utils.command_line import check_at_least, check_within


@dataclass(frozen=True)
class Devices:
    """What a training runs on; without any of them on one device of one process.

    Raises:
        ValueError: if a number is not possible, or one of the three of several processes is missing.
    """

    devices: Annotated[
        int | None,
        Parameter(
            help="Devices of each process to train on; they share each batch. With --coordinator "
            "all that a process has, else one. Needs KERAS_BACKEND=jax."
        ),
    ] = None
    coordinator: Annotated[
        str | None,
        Parameter(
            help="HOST:PORT of process 0, as the others reach it. Makes this one of several "
            "processes, which see one --run-dir. docs/scaling.md starts them."
        ),
    ] = None
    num_processes: Annotated[
        int | None, Parameter(help="Processes that train together, with --coordinator.")
    ] = None
    process_id: Annotated[
        int | None, Parameter(help="Which of them this is, from 0, with --coordinator.")
    ] = None

    def __post_init__(self):
        several = [self.coordinator, self.num_processes, self.process_id]
        if None in several and several != [None] * 3:
            raise ValueError(
                "--coordinator, --num-processes and --process-id belong together. Received: "
                f"{self.coordinator}, {self.num_processes}, {self.process_id}"
            )
        check_at_least(1, devices=self.devices, num_processes=self.num_processes)
        if self.coordinator is not None:
            check_within(0, self.num_processes - 1, process_id=self.process_id)
            address_of(self.coordinator)


ONE = Devices()


def address_of(coordinator):
    """`(host, port)` of `HOST:PORT`."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"--coordinator must be HOST:PORT. Received: {coordinator}")
    return host.strip("[]"), int(port)
