"""Runs a SavedModel in a process with TensorFlow alone: no Keras model, no operation of other libraries.

    python plain_tensorflow.py FOLDER REQUESTS ANSWERS

TensorFlow Serving runs a model the same way: a session of the graph with the tag `serve`, and its
initialisation of tables from assets. Tests call `ask`, which starts that process.
"""

import pickle
import resource
import subprocess
import sys


def ask(version, requests, folder):
    """What a version's `serving_default` answers.

    Args:
        version: folder of the version.
        requests: list of dicts from an input's name to a list of bytes.
        folder: where files between the processes may lie.

    Returns:
        The answers, a list of dicts from an output's name to an array, and the peaks of memory in
        bytes up to the end of each request. Or `None` and the error, if TensorFlow refuses.
    """
    files = folder / "requests", folder / "answers"
    files[0].write_bytes(pickle.dumps(requests))
    command = [sys.executable, __file__, version, *files]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    return (None, done.stderr) if done.returncode else pickle.loads(files[1].read_bytes())


def graph_of(version):
    """The only graph of a SavedModel, with its signatures."""
    from tensorflow.core.protobuf import saved_model_pb2

    data = (version / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(data).meta_graphs[0]


def main(folder, requests, answers):
    import tensorflow as tf

    found, peaks = [], []
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signature = graph.signature_def["serving_default"]
        outputs = {name: x.name for name, x in signature.outputs.items()}
        with open(requests, "rb") as file:
            for request in pickle.load(file):
                feeds = {signature.inputs[name].name: rows for name, rows in request.items()}
                found.append(session.run(outputs, feeds))
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    assert not {"keras_cmsa", "tensorflow_text"} & set(sys.modules)
    with open(answers, "wb") as file:
        pickle.dump((found, peaks), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
