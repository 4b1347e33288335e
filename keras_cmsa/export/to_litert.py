"""A network as LiteRT: one file with a signature from tensors to logits and one for whole photos."""

import tempfile
from pathlib import Path

from keras_cmsa.utils.silence import silenced

NETWORK, PHOTO = "serving_default", "photo"


def write(network, path, graph=None):
    """Writes a LiteRT file, unseen. Its signatures have the same weights.

    Args:
        network: `keras.Model` without loops, from `image` and `words` to a dict.
        path: of the file.
        graph: `PhotoGraph`; `None` leaves the signature `photo` out.
    """
    import keras
    import tensorflow as tf

    image, words = (network.input[name].shape for name in ("image", "words"))
    network_specs = [
        tf.TensorSpec(image, tf.float32, name="image"),
        tf.TensorSpec(words, tf.int32, name="words"),
    ]
    photo_specs = [
        tf.TensorSpec((None, None, 3), tf.uint8, name="image"),
        # LiteRT takes any length without a word, and would repeat a single one; a reshape does not,
        # and is kept where the length is free.
        tf.TensorSpec((None, None), tf.int32, name="words"),
    ]
    longest = words[-1]

    def run(image, words):
        words = tf.reshape(words, [*tf.unstack(tf.shape(words)[:2]), longest])
        return network({"image": image, "words": words}, training=False)

    def find(image, words):
        given = graph.before(image, tf.reshape(words, [tf.shape(words)[0], longest]))
        outputs = run(given["square"], given["ids"])
        outputs = {name: outputs[name] for name in ("logits", "exists") if name in outputs}
        return graph.after(outputs, given["valid"], given["sides"])

    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(NETWORK, run, network_specs)
    if graph:
        archive.add_endpoint(PHOTO, find, photo_specs)
    with tempfile.TemporaryDirectory() as saved, silenced():
        archive.write_out(saved, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            saved, [NETWORK, PHOTO] if graph else [NETWORK]
        )
        converter.experimental_enable_resource_variables = (
            True  # each weight once, not per signature
        )
        Path(path).write_bytes(converter.convert())
