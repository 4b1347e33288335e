"""Words and their ids."""

import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.files import replaced

PADDING, UNKNOWN = "[PAD]", "[UNK]"
MAX_WORDS = 20
# An expression of more than `max_words` words is cut, as in training; more than this many times
# `max_words` is a whole text.
MAX_WORDS_FACTOR = 5
JOINER = "##"  # the prefix of a piece that continues a word


class Words(NamedTuple):
    """An expression as a model reads it.

    Attributes:
        tokens: its first N words (or pieces of words) at most; `[UNK]` for unknown ones.
        ids: `(N,)` int32, their ids; 0 is the padding, on the right.
        dropped: the number of words behind these, which the model does not see.
    """

    tokens: list
    ids: np.ndarray
    dropped: int


class Vocabulary:
    """The words that a model knows and their ids: 0 is padding, 1 is `[UNK]`, then the words.

    Args:
        words: the known words in the order of their ids, from 2 on.
        max_words: words per expression N; later words are dropped. Paper: 20.

    Raises:
        ValueError: if a word is not one word by the rules of `split_words`, or occurs twice.
    """

    tokenizer = "words"  # what config.json calls the rules
    specials = (PADDING, UNKNOWN)  # have the first ids
    unknown = UNKNOWN

    def __init__(self, words, max_words=MAX_WORDS):
        self.words = [*self.specials, *words]
        self.max_words = max_words
        self._id_of = {word: i for i, word in enumerate(self.words)}
        for word in words:
            if not self.is_valid_word(word):
                raise ValueError(
                    "A vocabulary holds single lower-case words without punctuation or space. "
                    f"Received: {word!r}"
                )
        if len(self._id_of) != len(self.words):
            (repeated, _), *_ = Counter(self.words).most_common(1)
            raise ValueError(f"A vocabulary holds each word once. Received twice: {repeated!r}")

    @staticmethod
    def is_valid_word(word):
        """Whether a text is one word by the rules of `split_words`."""
        return split_words(word) == [word]

    @classmethod
    def build(cls, expressions, min_count=1, max_words=MAX_WORDS):
        """Makes a vocabulary of the words in some expressions, the most frequent word first.

        Args:
            expressions: iterable of `str`.
            min_count: a word that occurs less often is left out.
            max_words: as in the constructor.

        Raises:
            ValueError: if no word occurs `min_count` times.
        """
        counts = Counter(word for expression in expressions for word in split_words(expression))
        words = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: (-counts[w], w))
        if not words:
            raise ValueError(
                f"No word occurs {min_count} times or more. Received: {sum(counts.values())} words "
                "in all. Give more expressions or a smaller min_count"
            )
        return cls(words, max_words)

    @property
    def unknown_id(self):
        """The id of a word that is not in the vocabulary."""
        return self.specials.index(self.unknown)

    def __len__(self):
        return len(self.words)

    def __eq__(self, other):
        return type(other) is type(self) and self.words == other.words

    @property
    def continues(self):
        """Which ids continue the word before them, as pieces of words do: `(len(self),)` bool."""
        return np.array([word.startswith(JOINER) for word in self.words])

    def word_places(self, ids):
        """The places of each word among ids `(N,)`: list of arrays, several places for pieces."""
        places = np.flatnonzero(ids)
        begins = np.flatnonzero(~self.continues[ids[places]])
        return np.split(places, begins[1:])

    def split(self, expression):
        """All words of an expression; a word that is not in the vocabulary becomes `[UNK]`."""
        return [x if x in self._id_of else self.unknown for x in self.split_words(expression)]

    def split_words(self, expression):
        """All words of an expression, known or not."""
        return split_words(expression)

    def read(self, expressions):
        """Turns expressions into `Words`, each split once.

        Warns once if some expressions have only unknown words. They are kept, because a score
        without them would be too high.

        Args:
            expressions: list of B `str`.

        Returns:
            List of B `Words`.

        Raises:
            ValueError: if an expression has no word.
        """
        sentences = [self._words(expression) for expression in expressions]
        only_unknown = [
            expression
            for expression, words in zip(expressions, sentences)
            if set(words.tokens) == {self.unknown}
        ]
        if only_unknown:
            warnings.warn(
                f"{len(only_unknown)} of {len(sentences)} expressions have no word that the "
                f"vocabulary ({len(self)} entries) knows, such as "
                f"{only_unknown[0]!r}: the model sees only {self.unknown} there",
                stacklevel=2,
            )
        return sentences

    def _words(self, expression):
        words = self.split(expression)
        if not words:
            raise ValueError(
                "An expression needs at least one word of letters or digits. "
                f"Received: {expression!r}"
            )
        tokens, ids = words[: self.max_words], np.zeros(self.max_words, "int32")
        ids[: len(tokens)] = [self._id_of[token] for token in tokens]
        return Words(tokens, ids, len(words) - len(tokens))

    def check_length(self, expression, words):
        """Refuses a whole text, a mask for whose first words would be meaningless.

        Args:
            expression: `str`.
            words: its `Words`.

        Raises:
            ValueError: if it has more than `MAX_WORDS_FACTOR` times the words that a model takes.
        """
        count = len(words.tokens) + words.dropped
        if count > MAX_WORDS_FACTOR * self.max_words:
            raise ValueError(
                f"An expression names one thing in a few words; this model takes "
                f"{self.max_words}. Received: {count} words, {expression[:40]!r}..."
            )

    def encode(self, expressions):
        """Word ids `(B, max_words)` int32 of B expressions; warns and raises as `read`."""
        return self.stack(self.read(expressions))

    def stack(self, sentences):
        """Word ids `(B, max_words)` int32 of a list of B `Words`."""
        return np.array([words.ids for words in sentences], "int32").reshape(-1, self.max_words)

    def save(self, path):
        """Writes one word per line; the line number, counted from 0, is the word's id."""
        with replaced(path) as file:
            file.write("\n".join(self.words) + "\n")

    @classmethod
    def from_lines(cls, lines, path, max_words=MAX_WORDS):
        """A vocabulary of the lines of a file that `save` wrote.

        Args:
            lines: as `read_lines` gives them.
            path: of the file, for the error.
            max_words: as in the constructor.

        Raises:
            ValueError: if the file is not a vocabulary of this kind.
        """
        count = len(cls.specials)
        if tuple(lines[:count]) != cls.specials or lines[-1]:
            raise ValueError(
                f"{path} is not a vocabulary. Wanted the lines {' and '.join(cls.specials)}, then "
                f"one word per line. Received: {lines[:count]}"
            )
        try:
            return cls(lines[count:-1], max_words)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def read_lines(path):
    """The lines of a file, and what stands behind the last line feed."""
    # Only a line feed ends a line, which Windows' programs put a carriage return before.
    # str.splitlines would also split at characters like U+0085.
    text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").split("\n")
