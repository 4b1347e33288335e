"""Keras for a command, without what its backend has to say about itself."""

import contextlib
import os
import sys
import tempfile


def import_keras():
    """Imports Keras. Notes that its backend's C++ writes to stderr meanwhile are dropped.

    TensorFlow's come before it reads the level they are to be logged from, and whoever pipes a
    command wants its errors alone. If the import fails they are shown.
    """
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
