"""Pieces of words and their ids. Extra `wordpiece` to learn them."""

from collections import Counter

from keras_cmsa.preprocessing.vocabulary import JOINER, MAX_WORDS, PADDING, UNKNOWN, Vocabulary
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.extras import require

MAX_WORD_BYTES = 100  # longer words are not split into pieces


class WordPieces(Vocabulary):
    """A vocabulary of word pieces, which also encodes words that training has never seen.

    A word is split into its longest known beginning, then the longest known piece that continues
    it (with the prefix `##`), and so on. A word that cannot be split completely becomes `[UNK]`.
    The ids, `max_words` and all methods of `Vocabulary` then refer to pieces.

    Source: Wu et al., "Google's Neural Machine Translation System", 2016. The rules are those of
    `tensorflow_text.WordpieceTokenizer`, which splits the words in an exported model.
    """

    tokenizer = "wordpiece"

    @staticmethod
    def is_valid_word(word):
        return Vocabulary.is_valid_word(word.removeprefix(JOINER))

    @classmethod
    def build(cls, expressions, size=1000, max_words=MAX_WORDS):
        """Learns about `size` pieces from the words of some expressions.

        Needs `pip install "keras-cmsa[wordpiece]"`.

        Args:
            expressions: iterable of `str`.
            size: the number of pieces to aim at.
            max_words: pieces per expression N.

        Raises:
            ModuleNotFoundError: if tensorflow-text is not installed.
            ValueError: if the expressions have no words, or too few for pieces.
        """
        counts = Counter(word for expression in expressions for word in split_words(expression))
        if not counts:
            raise ValueError(
                "wanted expressions with words, to learn pieces from. Received: no word"
            )
        learner = require(
            "tensorflow_text.tools.wordpiece_vocab.wordpiece_tokenizer_learner_lib",
            "wordpiece",
            "A vocabulary of word pieces",
        )
        pieces = learner.learn(
            counts.items(),
            vocab_size=size,
            # The least number of times that a piece occurs. The learner searches from here for the
            # number that gives `size` pieces.
            lower_thresh=2,
            reserved_tokens=[PADDING, UNKNOWN],
            joiner=JOINER,
        )
        return cls([piece for piece in pieces if piece not in (PADDING, UNKNOWN)], max_words)

    def split(self, expression):
        """All pieces of an expression; a word that cannot be split becomes `[UNK]`."""
        return [piece for word in split_words(expression) for piece in self.split_word(word)]

    def split_word(self, word):
        """The pieces of one word, or `[UNK]` if it cannot be split completely."""
        if len(word.encode()) > MAX_WORD_BYTES:
            return [UNKNOWN]
        pieces, start = [], 0
        while start < len(word):
            joiner = JOINER if start else ""
            for end in range(len(word), start, -1):
                if (piece := joiner + word[start:end]) in self._id_of:
                    break
            else:
                return [UNKNOWN]
            pieces.append(piece)
            start = end
        return pieces
