"""TensorFlow 1's checkpoints, read by the names of their variables."""

import math
import os
import re
from pathlib import Path

from keras_cmsa.utils.extras import require

# What a single-file checkpoint ends in: the magic number of TensorFlow's tables.
TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
_PART = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def is_checkpoint(path):
    """Whether a path is that of a checkpoint of TensorFlow, as `TensorFlowCheckpoint` takes it."""
    try:
        prefix_of(path)
    except (OSError, TypeError, ValueError):
        return False
    return True


def prefix_of(path):
    """The name by which TensorFlow knows a checkpoint: that of its files without their endings.

    Args:
        path: this name, one of the files `NAME.index` and `NAME.data-00000-of-00001`, a single file
            (the older format), or a folder with one checkpoint.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if there are several, or the file is none.
    """
    path = Path(path)
    if path.is_dir():
        checkpoints = sorted(path.glob("*.index"))
        if len(checkpoints) > 1:
            names = ", ".join(x.stem for x in checkpoints)
            raise ValueError(f"{path} has several checkpoints: give one of {names}")
        if not checkpoints:
            raise FileNotFoundError(
                f"{path} has no checkpoint of TensorFlow: wanted a file that ends in .index and one "
                "that ends in .data-00000-of-00001"
            )
        path = checkpoints[0]
    prefix = Path(_PART.sub("", str(path)))
    if Path(f"{prefix}.index").is_file():
        return prefix
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is no checkpoint of TensorFlow: there is no {prefix.name}.index beside it"
        )
    with open(path, "rb") as file:
        file.seek(-min(8, os.path.getsize(path)), os.SEEK_END)
        if file.read() != TABLE_MAGIC:
            raise ValueError(
                f"{path} is no checkpoint of TensorFlow, or not whole: download it again"
            )
    return path


class TensorFlowCheckpoint:
    """A checkpoint of TensorFlow 1 or 2; needs TensorFlow, whatever Keras' backend is.

    Args:
        path: as in `prefix_of`.

    Attributes:
        prefix: `Path`, see `prefix_of`.
        shapes: `{name: shape}` of all variables.

    Raises:
        FileNotFoundError, ValueError: as `prefix_of`, or if its index cannot be read.
        ModuleNotFoundError: if TensorFlow is not installed.
    """

    def __init__(self, path):
        self.prefix = prefix_of(path)
        tensorflow = require("tensorflow", "tensorflow", "Reading a checkpoint of TensorFlow")
        # Its reader also raises bare errors of Python.
        self._errors = (tensorflow.errors.OpError, RuntimeError, ValueError, IndexError)
        try:
            self._reader = tensorflow.train.load_checkpoint(str(self.prefix))
            self.shapes = self._reader.get_variable_to_shape_map()
        except self._errors as error:
            raise ValueError(self._damaged(error)) from error
        files = self.prefix.parent.iterdir()
        size = sum(x.stat().st_size for x in files if x.name.startswith(self.prefix.name))
        values = sum(math.prod(shape) for shape in self.shapes.values())
        if values > size:  # whoever makes arrays of these shapes would take the memory of all
            raise ValueError(self._damaged(f"{values:,} values in {size:,} bytes"))

    def check(self, shapes):
        """Raises a `ValueError` unless it has variables of these names and shapes, `{name: shape}`."""
        missing = [name for name in shapes if name not in self.shapes]
        if missing:
            raise ValueError(
                f"{self.prefix} is of another model: {len(missing)} of {len(shapes)} variables are "
                f"missing, such as {missing[0]}. Received: {len(self.shapes)} variables, such as "
                f"{min(self.shapes, default='none')}"
            )
        for name, shape in shapes.items():
            if tuple(self.shapes[name]) != tuple(shape):
                raise ValueError(
                    f"{self.prefix} is of another model: wanted {name} of shape {tuple(shape)}. "
                    f"Received: {tuple(self.shapes[name])}"
                )

    def read(self, name):
        """The value of a variable, an array; a `ValueError` if the files are damaged."""
        try:
            return self._reader.get_tensor(name)
        except self._errors as error:
            raise ValueError(self._damaged(error)) from error

    def _damaged(self, error):
        reason = str(error).strip().split("\n")[0][:200]
        return f"{self.prefix} is damaged or not whole: download it again ({reason})"
