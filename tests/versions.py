"""Versions of SavedModels: written without requests to warm up with, and asked."""


def write_version(preset, folder, **options):
    """The folder of version 1."""
    from keras_cmsa.export.saved_model import ExportOptions, export_saved_model

    return export_saved_model(preset, folder, options=ExportOptions(warmup=False, **options))


def serve(version):
    """A version's signatures as a function of files and expressions to a dict of arrays."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(version))

    def call(files, expressions, signature="serving_default"):
        # A signature lives as long as what it was loaded with.
        name = "expressions" if signature == "segment_many" else "expression"
        answer = loaded.signatures[signature](
            image_bytes=tf.constant(files, tf.string),
            **{name: tf.constant(expressions, tf.string)},
        )
        return {name: x.numpy() for name, x in answer.items()}

    return call
