"""What systems share: where a model splits, and what it takes."""

import numpy as np
import pytest
import tiny

from keras_cmsa.models.folding import fold_for_inference
from keras_cmsa.models.inputs_and_outputs import check_inputs, check_preprocessor, split_at_maps
from keras_cmsa.models.systems import build_system
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary

pytestmark = pytest.mark.keras


def folded(keras, model, folder):
    return fold_for_inference(model)


def saved_and_loaded(keras, model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def of_another_class(keras, model, folder):
    return keras.Model(model.input, model.output)


@pytest.mark.parametrize(
    ("form", "name", "policy"),
    [
        (folded, "cmsa", "float32"),
        (saved_and_loaded, "cmsa", "float32"),
        (of_another_class, "cmsa", "float32"),
        (folded, "cmsa_w", "mixed_bfloat16"),
        (saved_and_loaded, "rmi", "float32"),
    ],
)
def test_a_model_splits_at_the_maps_of_its_backbone(seeded, rng, tmp_path, form, name, policy):
    """Whatever the backbone is called."""
    sizes = {"word_dim": 5, "attention_dim": 4, "fusion_dim": 3, "max_words": tiny.WORDS}
    with tiny.dtype_policy(seeded, policy):
        eyes = tiny.backbone()
        backbone = seeded.Model(eyes.input, eyes.outputs, name="eyes")
        model = build_system(name, 10, image_size=tiny.SIZE, backbone=backbone, **sizes)
    model = form(seeded, tiny.shaken(model, rng), tmp_path)
    image = seeded.ops.convert_to_tensor(tiny.normal(rng, 2, tiny.SIZE, tiny.SIZE, 3))
    words = seeded.ops.convert_to_tensor(rng.integers(1, 9, (2, 3, tiny.WORDS)).astype("int32"))
    image_model, sentence_model = split_at_maps(model)
    maps = seeded.tree.flatten(image_model(image))
    assert [tuple(x.shape) for x in maps] == [(2, 2, 2, c) for c in (5, 6, 7)]
    np.testing.assert_allclose(
        tiny.to_numpy(sentence_model({"maps": maps, "words": words})),
        tiny.to_numpy(model({"image": image, "words": words})),
        atol=1e-6,
    )


@pytest.mark.parametrize("names", [("image",), ("image", "text"), ("image", "words", "mask")])
def test_a_model_takes_an_image_and_words(seeded, names):
    inputs = {name: seeded.Input((4, 4, 3), name=name) for name in names}
    model = seeded.Model(inputs, seeded.layers.Dense(1)(inputs["image"]), name="other")
    with pytest.raises(ValueError, match="inputs 'image' and 'words'.* Received: 'other' with"):
        check_inputs(model)
    with pytest.raises(ValueError, match="wanted a functional model"):  # a list of inputs
        check_inputs(seeded.Model([*inputs.values()], model.output))


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
