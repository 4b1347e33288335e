"""Runs signatures of a SavedModel in the TensorFlow of whichever Python runs this file.

    python run_signatures.py VERSION REQUESTS.npz ANSWERS.npz

Requests are arrays named `signature/input`, answers arrays named `signature/output`; strings are
NumPy's bytes. The array `versions` has those of TensorFlow and of the graphs that it reads, and
`peaks` the bytes of memory that were resident at most up to the end of each signature.

Tests call `answers_of`, which starts that process.
"""

import contextlib
import resource
import subprocess
import sys

import numpy as np


def answers_of(python, version, requests, folder):
    """What a Python's TensorFlow answers: dict of arrays."""
    asked, answered = folder / "asked.npz", folder / "answered.npz"
    np.savez(asked, **requests)
    command = [python, __file__, version, asked, answered]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(np.load(answered))


def main(version, requests, answers):
    import tensorflow as tf

    with contextlib.suppress(ModuleNotFoundError):
        import tensorflow_text  # noqa: F401  the operation of word pieces

    inputs, peaks = {}, []
    outputs = {"versions": [tf.__version__, str(tf.version.GRAPH_DEF_VERSION)], "peaks": peaks}
    for name, array in np.load(requests).items():
        signature, _, argument = name.partition("/")
        inputs.setdefault(signature, {})[argument] = tf.constant(array)
    loaded = tf.saved_model.load(version)
    for signature, given in inputs.items():
        for name, x in loaded.signatures[signature](**given).items():
            x = x.numpy()
            outputs[f"{signature}/{name}"] = x.astype("S") if x.dtype == object else x
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    np.savez(answers, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
