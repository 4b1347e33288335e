"""Words in a TensorFlow graph: those of `split_words`, code point by code point."""

import functools
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

tf = pytest.importorskip("tensorflow")


TEXTS = [tf.TensorSpec([None], tf.string)]


@functools.cache
def graph():
    """As in an exported model, and many times faster than operation by operation."""
    from keras_cmsa.export.graph.text import split_words

    return tf.function(split_words, input_signature=TEXTS)


def graph_words(texts):
    words = graph()(tf.constant(texts, tf.string)).to_list()
    return [[word.decode() for word in of_text] for of_text in words]


@settings(deadline=None)
@given(st.lists(st.text() | st.binary(), min_size=1))
def test_words_of_any_text(texts):
    from keras_cmsa.preprocessing.words import split_words

    texts = [text.encode() if isinstance(text, str) else text for text in texts]
    assert graph_words(texts) == [split_words(text) for text in texts]


def check_code_points(codes):
    """Each between two letters: joined, lower case, or apart."""
    from keras_cmsa.preprocessing.words import split_words

    texts = [f"a{chr(code)}b" for code in codes if not 0xD800 <= code < 0xE000]
    assert graph_words(texts) == [split_words(text) for text in texts]


def test_words_of_code_points():
    """The scripts in use, all of them, and of the other code points one in 97."""
    check_code_points([*range(0x8000), *range(0x10000, 0x18000), *range(0x8000, 0x110000, 97)])


def test_words_of_letters_and_marks():
    """Apart and as one, next to the end of a text, and marks that belong to no letter."""
    from keras_cmsa.preprocessing.words import COMPOSED, split_words

    apart = [unicodedata.normalize("NFD", letter) for letter in list(COMPOSED.values())[::7]]
    texts = [
        "",
        *COMPOSED,
        *apart,
        *(f"{marks}\u0301{marks}" for marks in apart),
        "\u0301",
        "e",
        "",
    ]
    assert graph_words(texts) == [split_words(text) for text in texts]
    assert graph_words(["e", "\u0301"]) == [["e"], ["\u0301"]]  # texts of their own
    assert graph_words([]) == [] and graph_words([""]) == [[]]


@settings(deadline=None)
@given(st.lists(st.text("aeoAEOİiIı\u0301\u0307\u0323\u0302\u0345αΑ 각가"), min_size=1))
def test_words_of_any_letters_and_marks(texts):
    from keras_cmsa.preprocessing.words import split_words

    words = [split_words(text) for text in texts]
    assert graph_words(texts) == words
    assert [split_words(" ".join(of_text)) for of_text in words] == words


@pytest.mark.slow
def test_words_of_every_code_point():
    check_code_points(range(0x110000))


def test_ids_tokens_and_counts(tmp_path):
    from keras_cmsa.export.graph.text import WordIds
    from keras_cmsa.preprocessing.vocabulary import Vocabulary

    plain = Vocabulary(["red", "box"], 3)
    plain.save(tmp_path / "words.txt")
    texts = ["Red box!", "a red box on the left", "box", "the"]
    ids, tokens, counts = WordIds(plain, tmp_path / "words.txt")(tf.constant([*texts, "?"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts of unknown words alone
        sentences = plain.read(texts)
    np.testing.assert_array_equal(ids[:-1], plain.stack(sentences))
    assert ids.numpy()[-1].tolist() == [0, 0, 0]
    assert counts.numpy().tolist() == [2, 6, 1, 1, 0]
    shown = [[token.decode() for token in row if token] for row in tokens.numpy()]
    assert shown == [*(words.tokens for words in sentences), []]


RELEASED = ["red", "box", ",", "'s", "snake_case", ")."]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """`ReleasedVocabulary` in both forms."""
    from keras_cmsa.export.graph.text import RunIds
    from keras_cmsa.preprocessing.released_vocabulary import ReleasedVocabulary

    path = tmp_path_factory.mktemp("released") / "vocabulary.txt"
    plain = ReleasedVocabulary(RELEASED, 6)
    plain.save(path)
    return plain, tf.function(RunIds(plain, path).__call__, input_signature=TEXTS)


def assert_same_ids(forms, texts):
    """Ids, tokens and counts in Python are those in the graph; each text has a word."""
    plain, in_graph = forms
    ids, tokens, counts = in_graph(tf.constant(texts, tf.string))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts of unknown words alone
        sentences = plain.read(texts)
    np.testing.assert_array_equal(ids, plain.stack(sentences))
    assert counts.numpy().tolist() == [len(plain.split(text)) for text in texts]
    shown = [[token.decode() for token in row if token] for row in tokens.numpy()]
    assert shown == [words.tokens for words in sentences]


@settings(deadline=None)
@given(st.lists(st.text("redbox_ \t\x01\x00.,')\u00a0É\u0301") | st.text(), min_size=1))
def test_runs_of_any_text(released, texts):
    assert_same_ids(released, [text for text in texts if released[0].split(text)] or ["red"])


def test_a_text_without_a_run(released):
    ids, tokens, counts = released[1](tf.constant(["", " . ", "\t\n", "red"]))
    assert ids.numpy()[:, 0].tolist() == [0, 0, 0, 4] and counts.numpy().tolist() == [0, 0, 0, 1]
    assert tokens.numpy()[:3].tolist() == [[b""] * 6] * 3


PIECES = ["red", "b", "##ox", "##o", "##x", "r", "e", "d", "##e", "##d", "ж", "##ж", "箱", "##箱"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """`WordPieces` in both forms."""
    pytest.importorskip("tensorflow_text")
    from keras_cmsa.export.graph.text import PieceIds
    from keras_cmsa.preprocessing.word_pieces import WordPieces

    path = tmp_path_factory.mktemp("pieces") / "vocabulary.txt"
    plain = WordPieces(PIECES, 6)
    plain.save(path)
    return plain, tf.function(PieceIds(plain, path).__call__, input_signature=TEXTS)


@settings(deadline=None)
@given(st.lists(st.text("redboxжЖ箱z #'").filter(str.strip), min_size=1))
def test_pieces_of_any_text(pieces, texts):
    assert_same_ids(pieces, [text for text in texts if pieces[0].split(text)] or ["red"])


def test_a_long_word_has_no_pieces(pieces):
    for length in (100, 101):
        _, tokens, counts = pieces[1](tf.constant(["e" * length]))
        assert counts.numpy().tolist() == [len(pieces[0].split("e" * length))]
        shown = [token.decode() for token in tokens.numpy()[0] if token]
        assert shown == pieces[0].split("e" * length)[: len(shown)] and shown
