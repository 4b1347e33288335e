"""Both ends that systems share: what a model takes, and the logits of a score map."""

import literal
import numpy as np
import pytest
import tiny

from keras_cmsa.models.inputs_and_outputs import (
    check_inputs,
    check_preprocessor,
    mask_logits,
    split_at_maps,
)
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(("side", "image_size"), [(2, 16), (16, 16), (5, 20)])
def test_logits_are_the_score_map_resized(seeded, rng, side, image_size):
    score = tiny.normal(rng, 2, side, side, 1)
    inputs = {
        "image": seeded.Input((image_size, image_size, 3), name="image"),
        "words": seeded.Input((None, 4), dtype="int32", name="words"),
        "score": seeded.Input((side, side, 1), name="score"),
    }
    model = seeded.Model(inputs, mask_logits(inputs["score"], inputs))
    given = {"image": np.zeros((1, image_size, image_size, 3)), "words": np.zeros((1, 2, 4))}
    logits = tiny.to_numpy(model({**given, "score": score}))
    assert logits.shape == (1, 2, image_size, image_size, 1)
    for sentence in range(2):
        wanted = literal.resized(score[sentence], (image_size, image_size))
        np.testing.assert_allclose(logits[0, sentence], wanted, atol=1e-5)


@pytest.mark.parametrize("exported", [False, True])
def test_a_model_splits_at_the_maps_of_its_backbone(seeded, rng, exported):
    """Or, where nobody knows its backbone, at the image."""
    model = tiny.shaken(tiny.model(), rng)
    image = rng.uniform(0, 255, (2, tiny.SIZE, tiny.SIZE, 3)).astype("float32")
    words = rng.integers(1, 9, (2, 3, tiny.WORDS)).astype("int32")
    wanted = tiny.to_numpy(model({"image": image, "words": words}))
    if exported:
        model = seeded.Model(model.input, seeded.models.clone_model(model)(model.input))
    image_model, sentence_model = split_at_maps(model)
    maps = seeded.tree.flatten(image_model(image))
    shapes = [(2, tiny.SIZE, tiny.SIZE, 3)] if exported else [(2, 2, 2, c) for c in (5, 6, 7)]
    assert [tuple(x.shape) for x in maps] == shapes
    found = tiny.to_numpy(
        sentence_model({"maps": maps, "words": seeded.ops.convert_to_tensor(words)})
    )
    if not exported:
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert found.shape == wanted.shape


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
