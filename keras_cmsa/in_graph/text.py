"""`keras_cmsa.text` as a graph: the same rules, code point by code point."""

import tensorflow as tf

from keras_cmsa.text import JOINER, LAST_LOWERED, MAX_WORD_BYTES, UNKNOWN, WORD_RANGES, lowered

SPACE = 0x20


def split_words(expressions):
    """The words of each expression, lower case.

    Args:
        expressions: `(B,)` strings of UTF-8; what is not valid separates words.

    Returns:
        Ragged `(B, None)` strings.
    """
    codes = tf.strings.unicode_decode(expressions, "UTF-8", errors="replace")  # ragged (B, None)
    table = tf.constant([lowered(code) for code in range(LAST_LOWERED + 1)])
    code = codes.values
    small = tf.where(code <= LAST_LOWERED, tf.gather(table, tf.minimum(code, LAST_LOWERED)), code)
    # A code point lies in a range if an odd number of edges is at or below it.
    edges = tf.constant([edge for first, last in WORD_RANGES for edge in (first, last + 1)])
    in_word = tf.searchsorted(edges, small, side="right") % 2 == 1
    spaced = tf.strings.unicode_encode(codes.with_values(tf.where(in_word, small, SPACE)), "UTF-8")
    return tf.strings.split(spaced)


class WordIds(tf.Module):
    """`Vocabulary.encode` and `tokens` of it.

    Args:
        path: file that `Vocabulary.save` wrote; becomes an asset of the SavedModel.
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
        """Word ids `(B, N)` int32, tokens `(B, N)` (empty at padding) and counts of words `(B,)`.

        Args:
            expressions: `(B,)` strings.
        """
        words = self.split(expressions)
        first = words[:, : self.max_words].to_tensor("", shape=(None, self.max_words))
        is_word = first != ""
        ids = tf.where(is_word, tf.cast(self.table.lookup(first), tf.int32), 0)
        return ids, tf.where(ids == 1, UNKNOWN, first), words.row_lengths()

    def split(self, expressions):
        return split_words(expressions)


class PieceIds(WordIds):
    """`WordIds` for `WordPieces`, with an operation of tensorflow-text.

    TensorFlow Serving links it; elsewhere `import tensorflow_text` comes before loading.
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
