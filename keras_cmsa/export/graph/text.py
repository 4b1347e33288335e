"""The TensorFlow twin of `keras_cmsa.preprocessing.text`: the same rule for each code point."""

import tensorflow as tf

from keras_cmsa.preprocessing.text import (
    JOINER,
    LAST_LOWERED,
    MAX_WORD_BYTES,
    UNKNOWN,
    WORD_RANGES,
    lowered,
)

SPACE = 0x20
# Built once: AutoGraph would convert the loop for every graph, in half a second each.
LOWERED = [lowered(code) for code in range(LAST_LOWERED + 1)]


def split_words(expressions):
    """Splits expressions into lower-case words.

    Args:
        expressions: `(B,)` UTF-8 strings; invalid bytes separate words.

    Returns:
        Ragged `(B, None)` strings.
    """
    codes = tf.strings.unicode_decode(expressions, "UTF-8", errors="replace")  # ragged (B, None)
    code = codes.values
    small = tf.gather(tf.constant(LOWERED), tf.minimum(code, LAST_LOWERED))
    small = tf.where(code <= LAST_LOWERED, small, code)
    # A code point lies in a range if the number of edges at or below it is odd.
    edges = tf.constant([edge for first, last in WORD_RANGES for edge in (first, last + 1)])
    in_word = tf.searchsorted(edges, small, side="right") % 2 == 1
    spaced = tf.strings.unicode_encode(codes.with_values(tf.where(in_word, small, SPACE)), "UTF-8")
    return tf.strings.split(spaced)


class WordIds(tf.Module):
    """The twin of `Vocabulary`: expressions to word ids and tokens.

    Args:
        path: file that `Vocabulary.save` wrote; it becomes an asset of the SavedModel.
        max_words: words per expression N.
    """

    def __init__(self, path, max_words):
        super().__init__()
        self.max_words = max_words
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(path),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=1,  # [UNK]
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
        return ids, tf.where(ids == 1, UNKNOWN, first), words.row_lengths()

    def split(self, expressions):
        return split_words(expressions)


class PieceIds(WordIds):
    """The twin of `WordPieces`, with an operation of tensorflow-text.

    TensorFlow Serving includes this operation; Python needs `import tensorflow_text` before it
    loads the SavedModel.
    """

    def __init__(self, path, max_words):
        super().__init__(path, max_words)
        import tensorflow_text

        self.tokenizer = tensorflow_text.WordpieceTokenizer(
            self.table,
            suffix_indicator=JOINER,
            max_bytes_per_word=MAX_WORD_BYTES,
            token_out_type=tf.string,
            unknown_token=UNKNOWN,
        )

    def split(self, expressions):
        return self.tokenizer.tokenize(split_words(expressions)).merge_dims(1, 2)
