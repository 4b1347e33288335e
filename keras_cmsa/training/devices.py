"""What a training runs on: devices, and processes on one machine or many."""

from dataclasses import dataclass

from keras_cmsa.training.settings import setting
from keras_cmsa.utils.messages import check_at_least, check_within


@dataclass(frozen=True)
class Devices:
    """What a training runs on; without any of them on one device of one process.

    Several processes see one `run_dir`; docs/scaling.md starts them.

    Raises:
        ValueError: if a number is not possible, or one of the three of several processes is missing.
    """

    devices: int | None = setting(
        None,
        "Devices of each process to train on; they share each batch. All that a process has where "
        "there are several, else one. Needs KERAS_BACKEND=jax.",
    )
    coordinator: str | None = setting(
        None, "HOST:PORT of process 0, as the others reach it. Makes this one of several processes."
    )
    num_processes: int | None = setting(None, "Processes that train together.")
    process_id: int | None = setting(None, "Which of these processes this is, from 0.")

    def __post_init__(self):
        several = [self.coordinator, self.num_processes, self.process_id]
        if None in several and several != [None] * 3:
            raise ValueError(
                "`coordinator`, `num_processes` and `process_id` belong together. Received: "
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
        raise ValueError(f"`coordinator` must be HOST:PORT. Received: {coordinator}")
    return host.strip("[]"), int(port)
