"""The preprocessor: what a network is given, the way back over the image, what is recorded."""

import hashlib

import cases
import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.preprocessing.fitting import RESIZINGS
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.preprocessing.word_pieces import WordPieces


@pytest.mark.parametrize("resizing", RESIZINGS)
def test_inputs_of_a_model(resizing):
    """Images of any sizes and an expression for each, as the table and the vocabulary have them."""
    chosen = [case for case in cases.CASES if (case.size, case.resizing) == (24, resizing)]
    sizes = {(case.height, case.width) for case in chosen}
    assert len(sizes) == len(chosen) > 1
    preprocessor = tiny.preprocessor(resizing, 24)
    expressions = (tiny.SENTENCES * 2)[: len(chosen)]
    inputs = preprocessor([case.image() for case in chosen], expressions)
    assert {name: (x.shape, x.dtype.name) for name, x in inputs.items()} == {
        "image": ((len(chosen), 24, 24, 3), "float32"),
        "words": ((len(chosen), 1, tiny.WORDS), "int32"),
    }
    np.testing.assert_allclose(inputs["image"], [case.square() for case in chosen], atol=0.02)
    ids = {word: i for i, word in enumerate(preprocessor.vocabulary.words)}
    words = [
        [ids[word] for word in "red box on the left".split()],
        [ids["blue"], ids["box"], 0, 0, 0],
        [ids["the"], ids["green"], 1, ids["right"], 0],  # zebra is in no vocabulary
    ]
    assert inputs["words"][:, 0].tolist()[:3] == words[: len(chosen)]
    several = preprocessor.words(["blue box", tiny.SENTENCES[:3]])
    assert several.tolist() == [[words[1], [0] * tiny.WORDS, [0] * tiny.WORDS], words]


def test_images_and_expressions_come_in_pairs():
    image = np.zeros((4, 4, 3), "uint8")
    with pytest.raises(ValueError, match=r"an expression per image\. Received: 2 images, 1 "):
        tiny.preprocessor()([image, image], ["red box"])
    with pytest.raises(ValueError, match=r"at least one word .* Received: '\?'"):
        tiny.preprocessor()([image], ["?"])


@pytest.mark.parametrize("resizing", RESIZINGS)
def test_a_smaller_map_is_first_brought_to_the_square(resizing):
    """Attention has 8 x 8 cells for 64 x 64 pixels: padding is cut off in pixels, not in cells."""
    preprocessor = tiny.preprocessor(resizing, 64)
    cells = np.random.default_rng(0).random((8, 8))
    found = preprocessor.undo(cells, (31, 47))
    new_height, new_width, top, left = preprocessor.placement(31, 47)
    square = literal.resized(cells, (64, 64))[top : top + new_height, left : left + new_width]
    np.testing.assert_allclose(found, literal.resized(square, (31, 47)), atol=1e-5)


def test_a_mask_takes_half_and_more():
    two, one = tiny.preprocessor(size=2), tiny.preprocessor(size=1)
    np.testing.assert_array_equal(two.mask([[1, 1, 0, 0]] * 4)[..., 0], [[1, 0], [1, 0]])
    np.testing.assert_array_equal(one.mask([[0, 1], [0, 1]])[..., 0], [[1]])


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_a_map_over_the_image_again(case):
    preprocessor = tiny.preprocessor(case.resizing, case.size)
    found = preprocessor.undo(case.over_square(), (case.height, case.width))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, case.probabilities(), atol=1e-4)
    two = np.stack([case.over_square()] * 2, -1)
    again = preprocessor.undo(two, (case.height, case.width))
    np.testing.assert_array_equal(again, np.stack([found] * 2, -1))


def test_what_is_recorded():
    """With a checksum of the lines of its vocabulary."""
    words = ["[PAD]", "[UNK]", "red", "straße"]
    preprocessor = Preprocessor(Vocabulary(words[2:], max_words=7), 32, "stretch")
    config = preprocessor.get_config()
    assert config == {
        "image_size": 32,
        "resizing": "stretch",
        "tokenizer": "words",
        "max_words": 7,
        "vocabulary_size": 4,
        "vocabulary_sha256": hashlib.sha256(b"[PAD]\n[UNK]\nred\nstra\xc3\x9fe").hexdigest(),
    }
    others = [
        Preprocessor(Vocabulary(["straße", "red"], 7), 32),
        Preprocessor(Vocabulary(["red"], 7), 32),
        Preprocessor(WordPieces(["red", "##s"], 7), 32),
    ]
    checksums = {of.get_config()["vocabulary_sha256"] for of in (preprocessor, *others)}
    assert len(checksums) == 4
    assert others[-1].get_config()["tokenizer"] == "wordpiece"
    assert preprocessor.max_words == 7


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match="must be positive. Received: image_size=0"):
        Preprocessor(tiny.vocabulary(), 0)
    with pytest.raises(ValueError, match="one of .*'pad', 'stretch'.* Received: resizing='fit'"):
        Preprocessor(tiny.vocabulary(), 16, "fit")
