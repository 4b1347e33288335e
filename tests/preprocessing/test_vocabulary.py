"""Words: what is one, which are known, and the file between training and use."""

import re
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_cmsa.preprocessing.released_vocabulary import ReleasedVocabulary
from keras_cmsa.preprocessing.vocabulary import PADDING, UNKNOWN, Vocabulary
from keras_cmsa.preprocessing.vocabulary_files import load_vocabulary
from keras_cmsa.preprocessing.word_pieces import WordPieces
from keras_cmsa.preprocessing.words import COMPOSED, MOST_MARKS, split_words

# Capital letters in the blocks that become small.
ALPHABETS = "ABCXYZ ÄÉÑØ ĀŁŽ ΑΒΩ АБЯ Ѐ Ԁ"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("The LEFT-most man's hat!", ["the", "left", "most", "man", "s", "hat"]),
        ("  2nd   from\tright\n", ["2nd", "from", "right"]),
        ("snake_case and/or 3.5", ["snake", "case", "and", "or", "3", "5"]),
        ("Crème BRÛLÉE", ["crème", "brûlée"]),
        ("cre\u0300me CAFE\u0301", ["crème", "café"]),
        ("I\u0307stanbul \u0130\u0301 H\u0331", ["istanbul", "í", "\u1e96"]),
        ("x\u0301\u0301 \u0301", ["x\u0301\u0301", "\u0301"]),  # there is no such letter
        ("Ổ BÁNH", ["ổ", "bánh"]),
        ("Straße ИЗ Москвы, ΑΘΗΝΑ", ["straße", "из", "москвы", "αθηνα"]),
        ("“左边的人”，穿红衣", ["左边的人", "穿红衣"]),
        ("赤い\u3000箱。", ["赤い", "箱"]),
        ("man 👨‍👩‍👧 here\u200bthere\ufeff", ["man", "here", "there"]),
        ("2 × 3 ÷ 4 · 5", ["2", "3", "4", "5"]),
        ("İstanbul", ["istanbul"]),
        ("…?!", []),
        ("", []),
    ],
)
def test_words(expression, words):
    assert split_words(expression) == words
    assert split_words(expression.encode()) == words


@given(st.text(st.characters(codec="ascii")))
def test_words_of_ascii_are_runs_of_letters_and_digits(text):
    assert split_words(text) == re.findall("[a-z0-9]+", text.lower())


@given(st.text())
def test_words_are_stable(text):
    """Words of words are the words: what a vocabulary holds can be looked up in it again."""
    words = split_words(text)
    assert split_words(" ".join(words)) == words


def test_letters_of_latin_greek_and_cyrillic_are_word_characters():
    """As Unicode's own categories have it, and their capitals become small."""
    for code in range(0x530):
        character, category = chr(code), unicodedata.category(chr(code))
        if category[0] in "LM" or category == "Nd":
            assert len(split_words(character)) == 1, hex(code)
        if category[0] in "PZC" and category != "Cn":
            assert split_words(character) == [], hex(code)
    capitals = [c for c in map(chr, range(0x530)) if c != "İ" and c.lower() != c]
    assert set(ALPHABETS.replace(" ", "")) < set(capitals)
    for capital in capitals:
        assert split_words(capital) == [capital.lower()]


def test_decomposed_letters_are_the_same_words():
    """Of every alphabet to Kana and of Hangul, as Unicode's own tables have it."""
    letters = [chr(code) for code in (*range(0x3100), *range(0xAC00, 0xD7A4))]
    apart = {letter: unicodedata.normalize("NFD", letter) for letter in letters}
    apart = {letter: marks for letter, marks in apart.items() if letter != marks}
    assert len(apart) > 12_000
    for letter, marks in apart.items():
        word = f"a{unicodedata.normalize('NFC', letter)}b"
        assert split_words(f"a{marks}b") == split_words(word), ascii(letter)
        assert all(split_words(word) == [word] for word in split_words(word))


def test_no_mark_begins_a_pair():
    """Pairs are then apart from each other, however they are looked for."""
    assert not {a for a, _ in COMPOSED} & {b for _, b in COMPOSED}
    assert max(len(unicodedata.normalize("NFD", c)) for c in COMPOSED.values()) == MOST_MARKS + 1


def test_vocabulary_counts_and_orders():
    vocabulary = Vocabulary.build(["b a c", "B, a!", "b d"], min_count=2)
    assert vocabulary.words == [PADDING, UNKNOWN, "b", "a"]
    assert Vocabulary.build(["b a d", "B, a!", "b c"]).words[2:] == ["b", "a", "c", "d"]
    with pytest.raises(ValueError, match=r"No word occurs 4 times .* Received: 7 words in all"):
        Vocabulary.build(["b a c", "B, a!", "b d"], min_count=4)


def test_a_text_of_more_than_five_times_the_words_is_refused():
    vocabulary = Vocabulary(["box"], max_words=3)
    longest, longer = vocabulary.read(["box " * 15, "box " * 16])
    vocabulary.check_length("box " * 15, longest)
    with pytest.raises(ValueError, match="16 words"):
        vocabulary.check_length("box " * 16, longer)


def test_encode_pads_right_cuts_and_marks_the_unknown():
    vocabulary = Vocabulary(["left", "man"], max_words=3)
    ids = vocabulary.encode(["Man left", "the man on the left", "left"])
    assert ids.dtype == "int32"
    assert ids.tolist() == [[3, 2, 0], [1, 3, 1], [2, 0, 0]]
    (words,) = vocabulary.read(["the man on the left"])
    assert (words.tokens, words.dropped) == ([UNKNOWN, "man", UNKNOWN], 2)
    np.testing.assert_array_equal(words.ids, ids[1])
    assert vocabulary.encode([]).shape == (0, 3)


def test_literal_markers_in_an_expression_are_not_the_markers():
    vocabulary = Vocabulary(["pad", "unk"], max_words=2)
    assert vocabulary.encode([f"{PADDING} {UNKNOWN}"]).tolist() == [[2, 3]]


def test_expressions_without_words_or_without_known_words():
    vocabulary = Vocabulary(["left"])
    with pytest.raises(ValueError, match=r"at least one word .* Received: ' \?!'"):
        vocabulary.encode(["left", " ?!"])
    with pytest.warns(UserWarning, match="2 of 3 expressions have no word .* such as 'zebra'"):
        ids = vocabulary.encode(["left", "zebra", "the zebra"])
    assert ids[:, :2].tolist() == [[2, 0], [1, 0], [1, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vocabulary.encode(["zebra left"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(min_size=1), min_size=1))
def test_saved_vocabulary_loads_equal(tmp_path_factory, texts):
    words = dict.fromkeys(word for text in texts for word in split_words(text))
    vocabulary = Vocabulary(words, max_words=4)
    path = tmp_path_factory.mktemp("words") / "vocabulary.txt"
    vocabulary.save(path)
    loaded = load_vocabulary(path, max_words=4)
    assert loaded == vocabulary
    assert [path] == list(path.parent.iterdir())
    if words:
        np.testing.assert_array_equal(loaded.encode([*words]), vocabulary.encode([*words]))


def test_a_words_line_is_its_id(tmp_path):
    path = tmp_path / "vocabulary.txt"
    Vocabulary(["left", "straße"]).save(path)
    assert path.read_bytes() == "[PAD]\n[UNK]\nleft\nstraße\n".encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a vocabulary"),
        (b"left\nright\n", r"is not a vocabulary.* Received: \['left', 'right'\]"),
        (b"[PAD]\n[UNK]\nleft\nrig", "is not a vocabulary"),
        (b"[PAD]\n[UNK]\nleft\nleft\n", "each word once. Received twice: 'left'"),
        (b"[PAD]\n[UNK]\ntwo words\n", "single lower-case words .* Received: 'two words'"),
        (b"[PAD]\n[UNK]\nLeft\n", "Received: 'Left'"),
        (b"[PAD]\n[UNK]\n\xff\n", "Received: '\ufffd'"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_named(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_vocabulary(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_vocabulary_that_an_editor_has_saved(tmp_path, mark, ending):
    path = tmp_path / "words.txt"
    path.write_bytes((mark + ending.join(["[PAD]", "[UNK]", "left", "straße", ""])).encode())
    assert load_vocabulary(path) == Vocabulary(["left", "straße"])


def test_a_missing_vocabulary(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"words\.txt"):
        load_vocabulary(tmp_path / "words.txt")


# --- pieces of words


@pytest.fixture
def pieces():
    return WordPieces(["red", "skate", "##board", "##er", "##s", "s", "the", "##e"], max_words=4)


def test_words_are_cut_greedily(pieces):
    cut = ["the", "skate", "##board", "##er", "red", "##s", "[UNK]", "s"]
    assert pieces.split("The skateboarder, reds zebra s") == cut
    assert pieces.read(["the skateboarder reds"])[0].tokens == cut[:4]
    np.testing.assert_array_equal(pieces.encode(["the reds"]), [[8, 2, 6, 0]])
    # The longest beginning first, even where it leaves a rest that nothing fits.
    assert pieces.split("skatee skateb") == ["skate", "##e", "[UNK]"]
    assert pieces.split("s" * 101) == ["[UNK]"] and pieces.split("s" * 100)[1:] == ["##s"] * 99


def test_pieces_are_saved_and_told_from_words(pieces, tmp_path):
    pieces.save(tmp_path / "pieces.txt")
    loaded = load_vocabulary(tmp_path / "pieces.txt", 4)
    assert loaded == pieces and isinstance(loaded, WordPieces)
    words = Vocabulary(["red"], 4)
    assert words != WordPieces(["red"], 4)
    with pytest.raises(ValueError, match="Received: '##red'"):
        Vocabulary(["##red"])
    with pytest.raises(ValueError, match="Received: '##'"):
        WordPieces(["##"])


def test_learnt_pieces_spell_words_never_seen(samples):
    pytest.importorskip("tensorflow_text")
    lines = (samples / "expressions/unc_val.txt").read_text("utf-8").splitlines()[:3000]
    pieces = WordPieces.build(lines, 600)
    assert 300 < len(pieces) < 900
    others = (samples / "expressions/unc_testA.txt").read_text("utf-8").splitlines()
    unknown = {
        type(words): sum(token == "[UNK]" for line in others for token in words.split(line))
        for words in (pieces, Vocabulary.build(lines))
    }
    assert unknown[WordPieces] == 0 < unknown[Vocabulary]
    for line in others[:200]:
        spelt = " ".join(pieces.split(line)).replace(" ##", "")
        assert spelt.split() == split_words(line)


def test_pieces_need_words():
    with pytest.raises(ValueError, match="expressions with words"):
        WordPieces.build(["?!"])


# --- the authors' released code


AUTHORS_FILE = "<pad>\n<go>\n<eos>\n<unk>\nred\n\nbox\nred\n,\n\n'.\n"


def authors_tokens(text):
    """The rule as it is known of the authors' code, for ASCII."""
    tokens = [token.strip() for token in re.split(r"(\W+)", text.lower(), flags=re.ASCII)]
    tokens = [token for token in tokens if token]
    return tokens[:-1] if tokens and tokens[-1] == "." else tokens


@given(
    st.text(st.sampled_from("abXY_19 .,'()\t\n-") | st.characters(min_codepoint=32, codec="ascii"))
)
def test_released_words_are_those_of_the_authors_code(text):
    assert ReleasedVocabulary([]).split_words(text) == authors_tokens(text)


def test_released_ids_are_lines_of_the_authors_file(tmp_path):
    path = tmp_path / "vocabulary_Gref.txt"
    path.write_text(AUTHORS_FILE)
    vocabulary = ReleasedVocabulary.from_authors_file(path, max_words=5)
    lines = AUTHORS_FILE.split("\n")[:-1]
    assert len(vocabulary) == len(lines) == 11
    # Of two lines with one word the last counts, as in a dict that is filled line by line.
    assert vocabulary.encode(["Red, box '."]).tolist() == [[7, 8, 6, 10, 0]]
    assert vocabulary.encode(["the box. red ."]).tolist() == [[3, 6, 3, 7, 0]]
    assert vocabulary.read(["the box"])[0].tokens == ["<unk>", "box"]
    assert vocabulary.unknown_id == 3
    with pytest.warns(UserWarning, match="the model sees only <unk> there"):
        vocabulary.encode(["what"])
    with pytest.raises(ValueError, match="needs at least one word"):
        vocabulary.encode([" . "])

    vocabulary.save(tmp_path / "vocabulary.txt")
    loaded = load_vocabulary(tmp_path / "vocabulary.txt", 5)
    assert loaded == vocabulary and type(loaded) is ReleasedVocabulary
    # No expression has the words that hold a place.
    held = [word for word in loaded.words if word.startswith("<unused")]
    assert held == ["<unused 4>", "<unused 5>", "<unused 9>"]
    assert all(loaded.split_words(word) != [word] for word in held)


@pytest.mark.parametrize("text", ["[PAD]\n[UNK]\nred\n", "<pad>\n<go>\n<unk>\n", ""])
def test_a_file_that_is_not_the_authors(tmp_path, text):
    path = tmp_path / "words.txt"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"Wanted the lines <pad>, <go>, <eos>, <unk>, .* Received"
    ):
        ReleasedVocabulary.from_authors_file(path)
