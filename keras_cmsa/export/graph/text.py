"""The TensorFlow twin of `keras_cmsa.preprocessing.words`: the same rule for each code point."""

import numpy as np
import tensorflow as tf

from keras_cmsa.preprocessing.vocabulary import JOINER
from keras_cmsa.preprocessing.word_pieces import MAX_WORD_BYTES
from keras_cmsa.preprocessing.words import (
    CHARACTERS,
    COMPOSED,
    LAST_LOWERED,
    MOST_MARKS,
    SPACES,
    lowered,
)

# Built once: AutoGraph would convert the loop for every graph, in half a second each.
LOWERED = [lowered(code) for code in range(LAST_LOWERED + 1)]
CODE_BITS = 21  # a code point has at most so many
PAIRS = {(ord(a) << CODE_BITS) + ord(b): ord(letter) for (a, b), letter in COMPOSED.items()}
PAIR, LETTER = np.array(sorted(PAIRS.items()), "int64").T


def split_words(expressions):
    """Splits expressions into lower-case words.

    Args:
        expressions: `(B,)` UTF-8 strings; invalid bytes separate words.

    Returns:
        Ragged `(B, None)` strings.
    """
    return tf.strings.split(tf.strings.regex_replace(folded(expressions), f"[^{CHARACTERS}]+", " "))


def split_runs(expressions):
    """Splits expressions into words as `ReleasedVocabulary.split_words` does.

    Args:
        expressions: `(B,)` UTF-8 strings.

    Returns:
        Ragged `(B, None)` strings.
    """
    # This byte is in no UTF-8, so it stands between two runs alone.
    parted = tf.strings.regex_replace(folded(expressions), f"([_{CHARACTERS}]+)", b"\xff\\1\xff")
    runs = tf.strings.split(parted, b"\xff")
    # Of white space the authors' rules know what Python's bytes do.
    words = runs.with_values(
        tf.strings.regex_replace(runs.values, f"^[{SPACES}]+|[{SPACES}]+$", "")
    )
    words = tf.ragged.boolean_mask(words, words != "")
    is_last = tf.concat([words.value_rowids()[1:] != words.value_rowids()[:-1], [True]], 0)
    is_last = is_last[: tf.size(words.values)]
    return tf.ragged.boolean_mask(words, words.with_values(~(is_last & (words.values == "."))))


def folded(expressions):
    """The twin of `keras_cmsa.preprocessing.words.folded`: `(B,)` UTF-8 strings."""
    codes = tf.strings.unicode_decode(expressions, "UTF-8", errors="replace")
    codes = composed(codes)
    code = codes.values
    small = tf.gather(tf.constant(LOWERED), tf.minimum(code, LAST_LOWERED))
    small = codes.with_values(tf.where(code <= LAST_LOWERED, small, code))
    return tf.strings.unicode_encode(composed(small), "UTF-8")


def composed(codes):
    """Makes letters and the marks behind them one, one mark at a time: ragged `(B, None)` int32."""
    pairs, letters = tf.constant(PAIR), tf.constant(LETTER, tf.int32)
    for _ in range(MOST_MARKS):
        code, text = codes.values, codes.value_rowids()
        pair = tf.bitwise.left_shift(tf.cast(code[:-1], tf.int64), CODE_BITS) + tf.cast(
            code[1:], tf.int64
        )
        place = tf.minimum(tf.searchsorted(pairs, pair), len(PAIR) - 1)
        is_one = (tf.gather(pairs, place) == pair) & (text[:-1] == text[1:])
        first = tf.where(is_one, tf.gather(letters, place), code[:-1])
        # No mark is the first of a pair: no code point is in two of them.
        kept = tf.concat([tf.ones_like(text[:1], tf.bool), ~is_one], 0)
        places = tf.concat([[0], tf.cumsum(tf.cast(kept, tf.int64))], 0)
        codes = tf.RaggedTensor.from_row_splits(
            tf.boolean_mask(tf.concat([first, code[-1:]], 0), kept),
            tf.gather(places, codes.row_splits),
            validate=False,
        )
    return codes


class WordIds(tf.Module):
    """The twin of `Vocabulary`: expressions to word ids and tokens.

    Args:
        vocabulary: the `Vocabulary`.
        path: file that it was saved to; it becomes an asset of the SavedModel.
    """

    def __init__(self, vocabulary, path):
        super().__init__()
        self.max_words = vocabulary.max_words
        self.unknown, self.unknown_id = vocabulary.unknown, vocabulary.unknown_id
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(path),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=self.unknown_id,
        )

    def __call__(self, expressions):
        """Encodes `(B,)` strings.

        Returns:
            Word ids `(B, N)` int32, tokens `(B, N)` strings, empty at padding, and the number of
            words in each expression `(B,)`.
        """
        words = self.split(expressions)
        first = words[:, : self.max_words].to_tensor("", shape=(None, self.max_words))
        is_word = first != ""
        ids = tf.where(is_word, tf.cast(self.table.lookup(first), tf.int32), 0)
        return ids, tf.where(ids == self.unknown_id, self.unknown, first), words.row_lengths()

    def split(self, expressions):
        return split_words(expressions)


class PieceIds(WordIds):
    """The twin of `WordPieces`, with an operation of tensorflow-text.

    TensorFlow Serving includes this operation; Python needs `import tensorflow_text` before it
    loads the SavedModel.
    """

    def __init__(self, vocabulary, path):
        super().__init__(vocabulary, path)
        import tensorflow_text

        self.tokenizer = tensorflow_text.WordpieceTokenizer(
            self.table,
            suffix_indicator=JOINER,
            max_bytes_per_word=MAX_WORD_BYTES,
            token_out_type=tf.string,
            unknown_token=self.unknown,
        )

    def split(self, expressions):
        return self.tokenizer.tokenize(split_words(expressions)).merge_dims(1, 2)


class RunIds(WordIds):
    """The twin of `ReleasedVocabulary`."""

    def split(self, expressions):
        return split_runs(expressions)


TWINS = {"words": WordIds, "wordpiece": PieceIds, "released": RunIds}  # by `Vocabulary.tokenizer`
