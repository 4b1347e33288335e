"""What the tests of exports share: an exported version, loaded."""

import pytest
from versions import serve, write_version


@pytest.fixture(scope="session")
def served(exported):
    """`serve` of the version `exported`."""
    return serve(exported)


@pytest.fixture(scope="session")
def word_pieces(tmp_path_factory):
    """A `Predictor` of word pieces, and the folder of its exported version."""
    pytest.importorskip("tensorflow_text")
    import keras
    import tiny

    from keras_cmsa import Predictor, Preprocessor
    from keras_cmsa.preprocessing.word_pieces import WordPieces

    keras.utils.set_random_seed(7)
    pieces = [*"redbluox", *(f"##{letter}" for letter in "redbluox"), "red"]
    preprocessor = Preprocessor(WordPieces(dict.fromkeys(pieces), tiny.WORDS), tiny.SIZE)
    predictor = Predictor(tiny.finder(preprocessor), preprocessor)
    folder = tmp_path_factory.mktemp("word_pieces") / "cmsa"
    return predictor, write_version(predictor, folder)
