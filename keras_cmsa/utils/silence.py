"""Keras imported without noise, on the backend that is there; TensorFlow silenced."""

import contextlib
import json
import logging
import os
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path


def import_keras():
    """Imports Keras; drops what its backend's C++ writes to standard error meanwhile.

    TensorFlow writes these notes before it reads TF_CPP_MIN_LOG_LEVEL, and whoever pipes a command
    wants only its errors. The notes are shown if the import fails.
    """
    take_installed_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.ExitStack() as stack:
        notes = stack.enter_context(tempfile.TemporaryFile())
        sys.stderr.flush()
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        os.dup2(notes.fileno(), 2)
        try:
            import keras
        except BaseException:
            os.dup2(stderr, 2)
            notes.seek(0)
            sys.stderr.write(notes.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
    return keras


def take_installed_backend():
    """Sets KERAS_BACKEND, and says so, where neither it nor keras.json names one that is installed."""
    installed = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ or "tensorflow" in installed:
        return
    if not installed:
        raise ModuleNotFoundError(
            'Keras needs a backend, TensorFlow, JAX or PyTorch: pip install "keras-cmsa[tensorflow]"'
        )
    config = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "keras.json")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if json.loads(config.read_bytes()).get("backend") in installed:
            return
    os.environ["KERAS_BACKEND"] = installed[0]
    print(
        f"TensorFlow is not installed: computing on {installed[0]} (KERAS_BACKEND)", file=sys.stderr
    )


@contextlib.contextmanager
def silenced():
    """A context without Python's warnings and without those that libraries log.

    Converters warn of NumPy, and loading a SavedModel warns of the branch that training
    recomputes, which has no gradient there. Inference needs neither.
    """
    before = logging.root.manager.disable
    with warnings.catch_warnings(action="ignore"):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
