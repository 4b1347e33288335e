"""Words in a TensorFlow graph: those of `split_words`, code point by code point."""

import functools
import unicodedata
import warnings

import numpy as np
import pytest
import towers
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_cmsa
from keras_cmsa.models.word_encoder import word_encoder
from keras_cmsa.preprocessing.released_vocabulary import ReleasedVocabulary
from keras_cmsa.preprocessing.vocabulary import read_lines
from keras_cmsa.preprocessing.word_pieces import WordPieces
from keras_cmsa.preprocessing.words import COMPOSED, split_words

pytest.importorskip("tensorflow")

import tensorflow as tf

from keras_cmsa.export.graph.text import TWINS
from keras_cmsa.export.graph.text import split_words as split_in_graph

TEXTS = [tf.TensorSpec([None], tf.string)]


@functools.cache
def graph():
    """As in an exported model, and many times faster than operation by operation."""
    return tf.function(split_in_graph, input_signature=TEXTS)


def graph_words(texts):
    words = graph()(tf.constant(texts, tf.string)).to_list()
    return [[word.decode() for word in of_text] for of_text in words]


@settings(deadline=None)
@given(st.lists(st.text() | st.binary(), min_size=1))
def test_words_of_any_text(texts):
    texts = [text.encode() if isinstance(text, str) else text for text in texts]
    assert graph_words(texts) == [split_words(text) for text in texts]


def test_words_of_code_points():
    """Each between two letters: the scripts in use, all of them, and of the others one in 97."""
    codes = [*range(0x8000), *range(0x10000, 0x18000), *range(0x8000, 0x110000, 97)]
    texts = [f"a{chr(code)}b" for code in codes if not 0xD800 <= code < 0xE000]
    assert graph_words(texts) == [split_words(text) for text in texts]


def test_words_of_letters_and_marks():
    """Apart and as one, next to the end of a text, and marks that belong to no letter."""
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
    words = [split_words(text) for text in texts]
    assert graph_words(texts) == words
    assert [split_words(" ".join(of_text)) for of_text in words] == words


BERT = "WordPieces of BERT"
KINDS = {
    "Vocabulary": (["red", "box", "é"], "redbox aÉ\u0301zebra '"),
    "ReleasedVocabulary": (
        ["red", "box", ",", "'s", "snake_case", ")."],
        "redbox_ \t\x01\x00.,')\u00a0É\u0301",
    ),
    BERT: ([], "RedLEFTmost!' #ne\u0301z"),
    "WordPieces": (
        ["red", "b", "##ox", "##o", "##x", "r", "e", "d", "##e", "##d", "ж", "##ж", "箱", "##箱"],
        "redboxжЖ箱z #'",
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def forms(request, tmp_path_factory):
    """A vocabulary in both forms, and letters of texts for it."""
    words, letters = KINDS[request.param]
    if request.param == BERT:
        plain = of_text_encoder(towers.PIECES, request.getfixturevalue("hub"), 6)
    else:
        kind = {"ReleasedVocabulary": ReleasedVocabulary}.get(request.param)
        plain = (kind or getattr(keras_cmsa, request.param))(words, 6)
    return plain, in_graph_of(plain, tmp_path_factory.mktemp("words") / "vocabulary.txt"), letters


def in_graph_of(plain, path):
    """A vocabulary, saved to a file, as a function in a graph."""
    if plain.tokenizer == "wordpiece":
        pytest.importorskip("tensorflow_text")
    plain.save(path)
    twin = TWINS[plain.tokenizer](plain, path)
    return tf.function(twin.__call__, input_signature=TEXTS)


def of_text_encoder(pieces, hub, max_words=20):
    """The vocabulary that comes with a text encoder of these pieces."""
    return word_encoder(towers.tiny_bert(hub, len(pieces)), pieces, max_words)[1]


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


def pieces_like_berts(expressions):
    """Tokens that no word has, letters, and pieces of some of the words of expressions."""
    words = sorted({word for text in expressions[::9] for word in split_words(text)})
    letters = sorted({letter for word in words for letter in word})
    pieces = [*letters, *(w[:4] for w in words), *words[::2], *(f"##{w[-3:]}" for w in words)]
    others = ["[PAD]", "[unused0]", "!", "'", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return list(dict.fromkeys([*others, *pieces, *(f"##{x}" for x in letters if x not in "qz7")]))


def test_ids_of_a_text_encoder_on_real_expressions(hub, samples, tmp_path):
    """Python's, the graph's, those of the file beside an export, and those of BERT's own tokenizer."""
    from tokenizers.implementations import BertWordPieceTokenizer

    files = sorted((samples / "expressions").glob("*.txt"))
    texts = [line for path in files for line in path.read_text().splitlines() if line]
    pieces = pieces_like_berts(texts)
    plain = of_text_encoder(pieces, hub)
    path = tmp_path / "vocabulary.txt"
    assert_same_ids(plain, in_graph_of(plain, path), texts)
    assert WordPieces.from_lines(read_lines(path), path, plain.max_words) == plain

    tokenizer = BertWordPieceTokenizer({piece: i for i, piece in enumerate(pieces)})
    words = [" ".join(plain.split_words(text)) for text in texts]
    assert len(texts) > 20_000
    seen = set()
    for text, theirs in zip(texts, tokenizer.encode_batch(words, add_special_tokens=False)):
        assert plain.split(text) == theirs.tokens, text
        seen.update(theirs.tokens)
    assert sum(piece.startswith("##") for piece in seen) > 100
    assert "[UNK]" in seen
