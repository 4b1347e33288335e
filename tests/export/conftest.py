"""What the tests of exports share: an exported version, loaded."""

import pytest


@pytest.fixture(scope="session")
def served(exported):
    """`serve` of the version `exported`."""
    return serve(exported)


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


@pytest.fixture(scope="session")
def serve_version():
    return serve
