"""Splits expressions into words, and words into ids.

A TensorFlow graph follows the same rules code point by code point. Python's and TensorFlow's
Unicode tables differ, so the rules are tables of their own:

1. Bytes are read as UTF-8. Invalid bytes become U+FFFD, which is not a word character.
2. A letter and a mark behind it become one letter where Unicode has one (`COMPOSED`): "e" and an
   accent, as some systems write them, are the "é" of the others.
3. Capital letters up to U+1FFF become small letters. Where that makes a pair of rule 2, it becomes
   one letter too.
4. A word is a longest run of word characters (`WORD_RANGES`). All other characters separate words.
5. The model sees the first `max_words` words.
"""

import re
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import replaced

PADDING, UNKNOWN = "[PAD]", "[UNK]"
MAX_WORDS = 20
# An expression of more than `max_words` words is cut, as in training. More than this many times
# `max_words` is a whole text, and a mask for its first words would be meaningless.
MAX_WORDS_FACTOR = 5
JOINER = "##"  # the prefix of a piece that continues a word
MAX_WORD_BYTES = 100  # longer words are not split into pieces

# The code points of word characters, as (first, last): ASCII digits and letters, then every block
# of letters above ASCII without its punctuation, symbols, spaces and control characters.
WORD_RANGES = (
    (0x30, 0x39),  # 0-9
    (0x41, 0x5A),  # A-Z
    (0x61, 0x7A),  # a-z
    (0xAA, 0xAA),
    (0xB5, 0xB5),
    (0xBA, 0xBA),
    (0xC0, 0xD6),  # Latin-1 but the multiplication sign
    (0xD8, 0xF6),  # ... and the division sign
    (0xF8, 0x37D),  # Latin Extended, combining marks, Greek to its question mark
    (0x37F, 0x386),
    (0x388, 0x559),  # Greek, Cyrillic, Armenian
    (0x560, 0x588),
    (0x591, 0x5BD),  # Hebrew points and letters
    (0x5D0, 0x5EA),
    (0x620, 0x669),  # Arabic
    (0x66E, 0x6D3),
    (0x6D5, 0x6FF),
    (0x710, 0x963),  # Syriac ... Devanagari to the danda
    (0x966, 0x1FFF),  # the scripts of Asia and Africa, Latin Extended Additional, Greek Extended
    (0x2C00, 0x2DFF),
    (0x3005, 0x3007),
    (0x3041, 0x30FF),  # Kana
    (0x3105, 0x9FFF),  # Bopomofo, Hangul, CJK
    (0xA000, 0xD7FF),
    (0xF900, 0xFDFF),  # compatibility ideographs, presentation forms
    (0xFE70, 0xFEFC),
    (0xFF10, 0xFF19),  # full-width digits and letters
    (0xFF21, 0xFF3A),
    (0xFF41, 0xFF5A),
    (0xFF66, 0xFFDC),
    (0x20000, 0x323AF),  # CJK extensions
)
LAST_LOWERED = 0x1FFF


def _compositions():
    """`{letter and mark: letter}`; Unicode promises not to change a pair once it has it."""
    composed = {}
    for code in (*range(0xC0, 0x3100), *range(0xAC00, 0xD7A4)):  # to Kana, and Hangul
        letter = chr(code)
        apart = unicodedata.normalize("NFD", letter)
        if len(apart) > 1 and unicodedata.normalize("NFC", letter) == letter:
            composed[unicodedata.normalize("NFC", apart[:-1]) + apart[-1]] = letter
    return composed


COMPOSED = _compositions()
MOST_MARKS = 3  # on one letter
_MARKED = re.compile(f".[{re.escape(''.join({pair[1] for pair in COMPOSED}))}]", re.DOTALL)


def lowered(code_point):
    """The code point of a capital's small letter, up to U+1FFF; other code points are unchanged."""
    if code_point > LAST_LOWERED:
        return code_point
    # The small form of a few capitals is a letter and a mark; only the letter is kept, so that each
    # code point has one code point as its small form.
    return ord(chr(code_point).lower()[0])


_TO_LOWER = {c: lowered(c) for c in range(LAST_LOWERED + 1) if lowered(c) != c}
_WORD = re.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in WORD_RANGES) + "]+")


def split_words(expression):
    """Splits an expression into all of its words, in order and in lower case.

    Args:
        expression: `str`, or `bytes` of UTF-8.

    Returns:
        List of `str`.
    """
    if isinstance(expression, bytes):
        expression = expression.decode("utf-8", errors="replace")
    return _WORD.findall(_composed(_composed(expression).translate(_TO_LOWER)))


def _composed(text):
    """A text in which letters and the marks behind them are one, one mark at a time."""
    if text.isascii():
        return text
    for _ in range(MOST_MARKS):
        text = _MARKED.sub(lambda pair: COMPOSED.get(pair[0], pair[0]), text)
    return text


class Vocabulary:
    """The words that a model knows and their ids: 0 is padding, 1 is `[UNK]`, then the words.

    Args:
        words: the known words in the order of their ids, from 2 on.
        max_words: words per expression N; later words are dropped. Paper: 20.

    Raises:
        ValueError: if a word is not one word by the rules of this module, or occurs twice.
    """

    def __init__(self, words, max_words=MAX_WORDS):
        self.words = [PADDING, UNKNOWN, *words]
        self.max_words = max_words
        self._id_of = {word: i for i, word in enumerate(self.words)}
        for word in self.words[2:]:
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
        """Whether a text is one word by the rules of this module."""
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

    def __len__(self):
        return len(self.words)

    def __eq__(self, other):
        return type(other) is type(self) and self.words == other.words

    def split(self, expression):
        """All words of an expression; a word that is not in the vocabulary becomes `[UNK]`."""
        return [word if word in self._id_of else UNKNOWN for word in split_words(expression)]

    def tokens(self, expression):
        """The words that the model sees: the first `max_words` words of `split`."""
        return self.split(expression)[: self.max_words]

    def encode(self, expressions):
        """Turns expressions into word ids.

        Warns once if some expressions have only unknown words. They are kept, because a score
        without them would be too high.

        Args:
            expressions: list of B `str`.

        Returns:
            `(B, max_words)` int32; 0 is the padding, on the right.

        Raises:
            ValueError: if an expression has no word.
        """
        ids = np.zeros((len(expressions), self.max_words), "int32")
        for row, expression in zip(ids, expressions, strict=True):
            tokens = self.tokens(expression)
            if not tokens:
                raise ValueError(
                    "An expression needs at least one word of letters or digits. "
                    f"Received: {expression!r}"
                )
            row[: len(tokens)] = [self._id_of[token] for token in tokens]
        only_unknown = np.flatnonzero(ids.max(axis=1, initial=0) == 1)
        if len(only_unknown):
            warnings.warn(
                f"{len(only_unknown)} of {len(expressions)} expressions have no word that the "
                f"vocabulary ({len(self)} entries) knows, such as "
                f"{expressions[only_unknown[0]]!r}: the model sees only {UNKNOWN} there",
                stacklevel=2,
            )
        return ids

    def save(self, path):
        """Writes one word per line; the line number, counted from 0, is the word's id."""
        with replaced(path) as file:
            file.write("\n".join(self.words) + "\n")

    @classmethod
    def load(cls, path, max_words=MAX_WORDS):
        """Reads a file that `save` wrote.

        Returns:
            `WordPieces` if a line starts with `##`, else `Vocabulary`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a vocabulary.
        """
        # Only a line feed ends a line, which Windows' programs put a carriage return before.
        # str.splitlines would also split at characters like U+0085.
        text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
        lines = text.replace("\r\n", "\n").split("\n")
        if lines[:2] != [PADDING, UNKNOWN] or lines[-1]:
            raise ValueError(
                f"{path} is not a vocabulary. Wanted the lines {PADDING} and {UNKNOWN}, then one "
                f"word per line. Received: {lines[:2]}"
            )
        has_pieces = any(line.startswith(JOINER) for line in lines)
        try:
            return (WordPieces if has_pieces else cls)(lines[2:-1], max_words)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


class WordPieces(Vocabulary):
    """A vocabulary of word pieces, which also encodes words that training has never seen.

    A word is split into its longest known beginning, then the longest known piece that continues
    it (with the prefix `##`), and so on. A word that cannot be split completely becomes `[UNK]`.
    The ids, `max_words` and all methods of `Vocabulary` then refer to pieces.

    Source: Wu et al., "Google's Neural Machine Translation System", 2016. The rules are those of
    `tensorflow_text.WordpieceTokenizer`, which splits the words in an exported model.
    """

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
