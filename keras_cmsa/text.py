"""Words: an expression to the ids of its words.

The rules, written so that a TensorFlow graph can follow them code point by code point (Python's and
TensorFlow's Unicode tables differ, so nothing here asks either of them about classes of letters):

1. bytes are read as UTF-8; what is not valid becomes U+FFFD, which is no word character
2. capital letters of the Latin, Greek and Cyrillic blocks (up to U+052F) become small ones
3. a word is a longest run of word characters (`WORD_RANGES`); everything else separates words
4. the first `max_words` words count
"""

import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from keras_cmsa.files import replaced

PADDING, UNKNOWN = "[PAD]", "[UNK]"
MAX_WORDS = 20
JOINER = "##"  # begins a piece that goes on with a word
MAX_WORD_BYTES = 100  # longer ones are cut into no pieces

# Code points that make up words: digits and letters of ASCII, then every block of letters above,
# less what is punctuation, symbol, space or control there. Ends are included.
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
LAST_LOWERED = 0x52F


def lowered(code_point):
    """The small letter of a capital one up to U+052F, as a code point; others as they are."""
    if code_point > LAST_LOWERED:
        return code_point
    # A few capitals lower to a letter and a mark; the letter alone keeps the table one to one.
    return ord(chr(code_point).lower()[0])


_TO_LOWER = {c: lowered(c) for c in range(LAST_LOWERED + 1) if lowered(c) != c}
_WORD = re.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in WORD_RANGES) + "]+")


def split_words(expression):
    """The words of an expression in order, lower case, however many.

    Args:
        expression: `str`, or `bytes` of UTF-8.
    """
    if isinstance(expression, bytes):
        expression = expression.decode("utf-8", errors="replace")
    return _WORD.findall(expression.translate(_TO_LOWER))


class Vocabulary:
    """Which words a model knows, and their ids: 0 is padding, 1 `[UNK]`, then the words.

    Args:
        words: the known words in the order of their ids, from 2 on.
        max_words: words per expression; later ones are dropped. Paper: 20.

    Raises:
        ValueError: if a word is not one word by the rules of this module, or comes twice.
    """

    def __init__(self, words, max_words=MAX_WORDS):
        self.words = [PADDING, UNKNOWN, *words]
        self.max_words = max_words
        self._id_of = {word: i for i, word in enumerate(self.words)}
        for word in self.words[2:]:
            if not self.holds(word):
                raise ValueError(
                    "A vocabulary holds single lower-case words without punctuation or space. "
                    f"Received: {word!r}"
                )
        if len(self._id_of) != len(self.words):
            (twice, _), *_ = Counter(self.words).most_common(1)
            raise ValueError(f"A vocabulary holds each word once. Received twice: {twice!r}")

    @staticmethod
    def holds(word):
        """Whether a text is one word by the rules of this module."""
        return split_words(word) == [word]

    @classmethod
    def build(cls, expressions, min_count=1, max_words=MAX_WORDS):
        """The words that occur `min_count` times or more in the expressions, frequent ones first.

        Raises:
            ValueError: if there is no such word.
        """
        counts = Counter(word for expression in expressions for word in split_words(expression))
        words = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: (-counts[w], w))
        if not words:
            raise ValueError(
                f"No word occurs {min_count} times or more: give more expressions or a smaller "
                f"min_count. Received: {sum(counts.values())} words in all"
            )
        return cls(words, max_words)

    def __len__(self):
        return len(self.words)

    def __eq__(self, other):
        return type(other) is type(self) and self.words == other.words

    def split(self, expression):
        """All its words, `[UNK]` for what the vocabulary has not."""
        return [word if word in self._id_of else UNKNOWN for word in split_words(expression)]

    def tokens(self, expression):
        """The words as the model sees them: at most `max_words` of `split`."""
        return self.split(expression)[: self.max_words]

    def encode(self, expressions):
        """Word ids of a list of expressions: `(B, max_words)` int32, 0 at the padding on the right.

        Warns once if there are expressions of unknown words only: they are kept, since leaving them
        out would flatter a measurement.

        Raises:
            ValueError: if an expression has no word at all.
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
        blind = np.flatnonzero(ids.max(axis=1, initial=0) == 1)
        if len(blind):
            warnings.warn(
                f"{len(blind)} of {len(expressions)} expressions have no word that the vocabulary "
                f"of {len(self)} knows, such as {expressions[blind[0]]!r}: the model sees only "
                f"{UNKNOWN} there.",
                stacklevel=2,
            )
        return ids

    def save(self, path):
        """Writes one word a line; a word's line is its id, counted from 0."""
        with replaced(path) as file:
            file.write("\n".join(self.words) + "\n")

    @classmethod
    def load(cls, path, max_words=MAX_WORDS):
        """Reads what `save` wrote: a `Vocabulary`, or `WordPieces` if there are any.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not a vocabulary.
        """
        # Only a line feed ends a line: str.splitlines would also cut at characters like U+0085.
        lines = Path(path).read_bytes().decode("utf-8", errors="replace").split("\n")
        if lines[:2] != [PADDING, UNKNOWN] or lines[-1]:
            raise ValueError(
                f"{path} is not a vocabulary: its first lines should be {PADDING} and {UNKNOWN}, "
                f"then a word a line. Received: {lines[:2]}"
            )
        has_pieces = any(line.startswith(JOINER) for line in lines)
        try:
            return (WordPieces if has_pieces else cls)(lines[2:-1], max_words)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


class WordPieces(Vocabulary):
    """Pieces of words, of which words that were in no training expression are put together too.

    A word becomes its longest known beginning, then the longest known piece that goes on from
    there (`##` in front), and so on; one that does not come out even is `[UNK]`. `max_words` and
    what a `Vocabulary` says of words then holds of pieces.

    Source: Wu et al., "Google's Neural Machine Translation System", 2016; the rules are those of
    `tensorflow_text.WordpieceTokenizer`, which cuts them in an exported model.
    """

    @staticmethod
    def holds(word):
        return Vocabulary.holds(word.removeprefix(JOINER))

    @classmethod
    def build(cls, expressions, size=1000, max_words=MAX_WORDS):
        """Learns about `size` pieces of the words of the expressions.

        Needs `pip install "keras-cmsa[wordpiece]"`.

        Raises:
            ModuleNotFoundError: without tensorflow-text.
            ValueError: if the expressions have no words, or too few for pieces.
        """
        counts = Counter(word for expression in expressions for word in split_words(expression))
        if not counts:
            raise ValueError("Pieces are learnt from words. Received: expressions without any")
        try:
            from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'{error.name} is missing: pip install "keras-cmsa[wordpiece]"'
            ) from error
        pieces = wordpiece_tokenizer_learner_lib.learn(
            counts.items(),
            vocab_size=size,
            lower_thresh=2,  # of how often a piece occurs; the learner looks for the one that fits
            reserved_tokens=[PADDING, UNKNOWN],
            joiner=JOINER,
        )
        return cls([piece for piece in pieces if piece not in (PADDING, UNKNOWN)], max_words)

    def split(self, expression):
        """All its pieces, `[UNK]` for a word that cannot be cut into any."""
        return [piece for word in split_words(expression) for piece in self.cut(word)]

    def cut(self, word):
        """The pieces of one word."""
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
