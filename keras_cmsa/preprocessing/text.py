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
_CHARACTERS = "".join(f"{chr(a)}-{chr(b)}" for a, b in WORD_RANGES)
_WORD = re.compile(f"[{_CHARACTERS}]+")
_RUN = re.compile(f"[_{_CHARACTERS}]+|[^_{_CHARACTERS}]+")  # of ReleasedVocabulary
SPACES = " \t\n\v\f\r"


def split_words(expression):
    """Splits an expression into all of its words, in order and in lower case.

    Args:
        expression: `str`, or `bytes` of UTF-8.

    Returns:
        List of `str`.
    """
    return _WORD.findall(folded(expression))


def _composed(text):
    """A text in which letters and the marks behind them are one, one mark at a time."""
    if text.isascii():
        return text
    for _ in range(MOST_MARKS):
        text = _MARKED.sub(lambda pair: COMPOSED.get(pair[0], pair[0]), text)
    return text


def folded(expression):
    """A text with letters and their marks as one, in small letters (rules 1 to 3).

    Args:
        expression: `str`, or `bytes` of UTF-8.
    """
    if isinstance(expression, bytes):
        expression = expression.decode("utf-8", errors="replace")
    return _composed(_composed(expression).translate(_TO_LOWER))


class Vocabulary:
    """The words that a model knows and their ids: 0 is padding, 1 is `[UNK]`, then the words.

    Args:
        words: the known words in the order of their ids, from 2 on.
        max_words: words per expression N; later words are dropped. Paper: 20.

    Raises:
        ValueError: if a word is not one word by the rules of this module, or occurs twice.
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

    def tokens(self, expression):
        """The words that the model sees: the first `max_words` words of `split`."""
        return self.split(expression)[: self.max_words]

    def checked_count(self, expression):
        """The number of words of an expression.

        Raises:
            ValueError: if it is a whole text, more than `MAX_WORDS_FACTOR` times what the model
                takes.
        """
        count = len(self.split(expression))
        if count > MAX_WORDS_FACTOR * self.max_words:
            raise ValueError(
                f"An expression names one thing in a few words; this model takes "
                f"{self.max_words}. Received: {count} words, {expression[:40]!r}..."
            )
        return count

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
        only_unknown = np.flatnonzero(np.isin(ids, (0, self.unknown_id)).all(axis=1))
        if len(only_unknown):
            warnings.warn(
                f"{len(only_unknown)} of {len(expressions)} expressions have no word that the "
                f"vocabulary ({len(self)} entries) knows, such as "
                f"{expressions[only_unknown[0]]!r}: the model sees only {self.unknown} there",
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
            `WordPieces` if a line starts with `##`, `ReleasedVocabulary` if the first lines are
            those of the authors' files, else `Vocabulary`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a vocabulary.
        """
        lines = read_lines(path)
        if tuple(lines[: len(ReleasedVocabulary.specials)]) == ReleasedVocabulary.specials:
            cls = ReleasedVocabulary
        elif any(line.startswith(JOINER) for line in lines):
            cls = WordPieces
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


class ReleasedVocabulary(Vocabulary):
    """A vocabulary of the authors' released code, with its rules for what is a word.

    The ids are 0 padding, 1 and 2 marks that no expression has, 3 `<unk>`, then the words in the
    order of the authors' file. After rules 1 to 3 of this module,

    4. a word is a longest run of word characters or `_`, and a longest run of all other characters
       is a word too, without the white space around it; white space alone is none;
    5. a full stop at the end is dropped.

    Args:
        words: the words from id 4 on. A text that is no word holds the place of an id.
        max_words: words per expression N. Authors: 20.

    Source: https://github.com/chenxi116/TF-phrasecut-public, which the authors' code builds upon.
    """

    tokenizer = "released"
    specials = ("<pad>", "<go>", "<eos>", "<unk>")
    unknown = "<unk>"

    @staticmethod
    def is_valid_word(word):
        return bool(word) and word == word.strip(SPACES)

    @classmethod
    def build(cls, expressions, min_count=1, max_words=MAX_WORDS):
        raise TypeError("the words are those of the authors' file: see from_authors_file")

    @classmethod
    def from_authors_file(cls, path, max_words=MAX_WORDS):
        """Reads a vocabulary of the authors' code: a word per line, which says its id.

        Their files have blank lines, and of a word that occurs twice the last line counts. The
        places of the others are held by `<unused 37>` and the like, which no expression has.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it does not begin like such a file.
        """
        words = [line.strip(SPACES) for line in read_lines(path)]
        if words[-1:] == [""]:
            words.pop()
        count = len(cls.specials)
        if tuple(words[:count]) != cls.specials:
            raise ValueError(
                f"{path} is not a vocabulary of the authors' code. Wanted the lines "
                f"{', '.join(cls.specials)}, then one word per line. Received: {words[:count]}"
            )
        last = {word: i for i, word in enumerate(words)}
        return cls(
            [
                word if word and last[word] == i else f"<unused {i}>"
                for i, word in enumerate(words[count:], count)
            ],
            max_words,
        )

    def split_words(self, expression):
        runs = (run.strip(SPACES) for run in _RUN.findall(folded(expression)))
        words = [run for run in runs if run]
        return words[:-1] if words[-1:] == ["."] else words


UNKNOWNS = (Vocabulary.unknown, ReleasedVocabulary.unknown)
