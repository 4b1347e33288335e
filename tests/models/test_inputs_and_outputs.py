"""Both ends that systems share: what a model takes, and the logits of a score map."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.models.inputs_and_outputs import check_inputs, check_preprocessor, mask_logits
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.text import Vocabulary

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(("side", "image_size"), [(2, 16), (16, 16), (5, 20)])
def test_logits_are_the_score_map_resized(seeded, rng, side, image_size):
    score = tiny.normal(rng, 2, side, side, 1)
    inputs = seeded.Input((side, side, 1))
    logits = tiny.to_numpy(seeded.Model(inputs, mask_logits(inputs, image_size))(score))
    for example in range(2):
        wanted = literal.resized(score[example], (image_size, image_size))
        np.testing.assert_allclose(logits[example], wanted, atol=1e-5)


@pytest.mark.parametrize("names", [("image",), ("image", "text"), ("image", "words", "mask")])
def test_a_model_takes_an_image_and_words(seeded, names):
    inputs = {name: seeded.Input((4, 4, 3), name=name) for name in names}
    model = seeded.Model(inputs, seeded.layers.Dense(1)(inputs["image"]), name="other")
    with pytest.raises(ValueError, match="inputs 'image' and 'words'.* Received: 'other' with"):
        check_inputs(model)


def test_a_list_of_inputs_is_none(seeded):
    inputs = seeded.Input((4, 4, 3))
    with pytest.raises(ValueError, match="wanted a functional model"):
        check_inputs(seeded.Model(inputs, inputs))


def test_a_model_takes_what_its_preprocessor_makes(seeded):
    """Another side, other words per expression, one word less: each is refused."""
    model = tiny.model()
    check_preprocessor(model, tiny.preprocessor())
    check_preprocessor(model, tiny.preprocessor("stretch"))
    with pytest.raises(ValueError, match="images of 16 x 16.* Received: image_size=24"):
        check_preprocessor(model, tiny.preprocessor(size=24))
    words = tiny.vocabulary().words[2:]
    longer = Preprocessor(Vocabulary(words, tiny.WORDS + 1), tiny.SIZE)
    with pytest.raises(ValueError, match="takes 5 words per expression .* with max_words=6"):
        check_preprocessor(model, longer)
    fewer = Preprocessor(Vocabulary(words[:-1], tiny.WORDS), tiny.SIZE)
    with pytest.raises(ValueError, match=r"tables of \[10\] rows\. Received: a vocabulary of 9"):
        check_preprocessor(model, fewer)
