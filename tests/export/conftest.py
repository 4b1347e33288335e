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


@pytest.fixture(scope="session")
def word_pieces(tmp_path_factory):
    """A `Predictor` of word pieces, and the folder of its exported version."""
    pytest.importorskip("tensorflow_text")
    import keras
    import tiny

    from keras_cmsa import Predictor, Preprocessor
    from keras_cmsa.export.saved_model import ExportOptions, export_saved_model
    from keras_cmsa.preprocessing.word_pieces import WordPieces

    keras.utils.set_random_seed(7)
    pieces = [*"redbluox", *(f"##{letter}" for letter in "redbluox"), "red"]
    preprocessor = Preprocessor(WordPieces(dict.fromkeys(pieces), tiny.WORDS), tiny.SIZE)
    predictor = Predictor(tiny.finder(preprocessor), preprocessor)
    folder = tmp_path_factory.mktemp("word_pieces") / "cmsa"
    return predictor, export_saved_model(predictor, folder, options=ExportOptions(warmup=False))
