"""Runs signatures of a SavedModel in the TensorFlow of whichever Python runs this file.

    python run_signatures.py VERSION REQUESTS.npz ANSWERS.npz

Requests are arrays named `signature/input`, answers arrays named `signature/output`; strings are
NumPy's bytes. The array `versions` has those of TensorFlow and of the graphs that it reads.
"""

import contextlib
import sys

import numpy as np


def main(version, requests, answers):
    import tensorflow as tf

    with contextlib.suppress(ModuleNotFoundError):
        import tensorflow_text  # noqa: F401  the operation of word pieces

    inputs, outputs = {}, {"versions": [tf.__version__, str(tf.version.GRAPH_DEF_VERSION)]}
    for name, array in np.load(requests).items():
        signature, _, argument = name.partition("/")
        inputs.setdefault(signature, {})[argument] = tf.constant(array)
    loaded = tf.saved_model.load(version)
    for signature, given in inputs.items():
        for name, x in loaded.signatures[signature](**given).items():
            x = x.numpy()
            outputs[f"{signature}/{name}"] = x.astype("S") if x.dtype == object else x
    np.savez(answers, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
