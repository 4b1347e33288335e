"""Splits expressions into words.

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
# As both Python's and TensorFlow's regular expressions take them within brackets.
CHARACTERS = "".join(f"{chr(a)}-{chr(b)}" for a, b in WORD_RANGES)
_WORD = re.compile(f"[{CHARACTERS}]+")
RUN = re.compile(f"[_{CHARACTERS}]+|[^_{CHARACTERS}]+")  # of ReleasedVocabulary
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
