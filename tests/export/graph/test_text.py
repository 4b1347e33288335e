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


KINDS = {
    "Vocabulary": (["red", "box", "é"], "redbox aÉ\u0301zebra '"),
    "ReleasedVocabulary": (
        ["red", "box", ",", "'s", "snake_case", ")."],
        "redbox_ \t\x01\x00.,')\u00a0É\u0301",
    ),
    "WordPieces": (
        ["red", "b", "##ox", "##o", "##x", "r", "e", "d", "##e", "##d", "ж", "##ж", "箱", "##箱"],
        "redboxжЖ箱z #'",
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def forms(request, tmp_path_factory):
    """A vocabulary in both forms, and letters of texts for it."""
    import keras_cmsa
    from keras_cmsa.export.graph.text import TWINS
    from keras_cmsa.preprocessing.released_vocabulary import ReleasedVocabulary

    if request.param == "WordPieces":
        pytest.importorskip("tensorflow_text")
    words, letters = KINDS[request.param]
    kind = {"ReleasedVocabulary": ReleasedVocabulary}.get(request.param)
    plain = (kind or getattr(keras_cmsa, request.param))(words, 6)
    path = tmp_path_factory.mktemp("words") / "vocabulary.txt"
    plain.save(path)
    twin = TWINS[plain.tokenizer](plain, path)
    return plain, tf.function(twin.__call__, input_signature=TEXTS), letters


def assert_same_ids(plain, in_graph, texts):
    """Ids, tokens and counts in Python are those in the graph; a text without a word has none."""
    ids, tokens, counts = in_graph(tf.constant([*texts, "red", " \t\n", ""], tf.string))
    texts = [*texts, "red"]
    rows = [i for i, text in enumerate(texts) if plain.split(text)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts of unknown words alone
        np.testing.assert_array_equal(ids.numpy()[rows], plain.encode([texts[i] for i in rows]))
    assert counts.numpy().tolist() == [*(len(plain.split(text)) for text in texts), 0, 0]
    shown = [[token.decode() for token in row if token] for row in tokens.numpy()]
    assert shown == [*(plain.split(text)[: plain.max_words] for text in texts), [], []]
    assert not np.delete(ids.numpy(), rows, axis=0).any()


@settings(deadline=None)
@given(st.data())
def test_ids_tokens_and_counts_of_any_text(forms, data):
    plain, in_graph, letters = forms
    assert_same_ids(plain, in_graph, data.draw(st.lists(st.text(letters) | st.text())))


def test_ids_tokens_and_counts(forms):
    texts = ["Red box!", "a red box on the left, the snake_case one's.", "box", "the", " . "]
    assert_same_ids(*forms[:2], [*texts, "e" * 100, "e" * 101])  # the last too long for pieces
