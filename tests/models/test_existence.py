"""The output `exists`, and what it leaves as it is."""

import keras
import numpy as np
import pytest
import tiny

from keras_cmsa import build_cmsa_refined, build_system, fold_for_inference
from keras_cmsa.models.cmsa import with_all_outputs

pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("untraced")]


def inputs(rng, sentences=2):
    image = rng.uniform(0, 255, (2, tiny.SIZE, tiny.SIZE, 3)).astype("float32")
    words = rng.integers(1, 9, (2, sentences, tiny.WORDS)).astype("int32")
    words[1, 0, 2:] = 0
    return {"image": image, "words": words}


def refined():
    sizes = {"word_dim": 6, "attention_dim": 4, "fusion_dim": 4, "decoder_dim": 4}
    vocabulary = len(tiny.vocabulary())
    return build_cmsa_refined(
        vocabulary, tiny.SIZE, tiny.backbone(), max_words=tiny.WORDS, existence=True, **sizes
    )


def test_masks_are_those_of_the_model_without_it(rng):
    given = inputs(rng)
    keras.utils.set_random_seed(1)
    plain = tiny.model(word_positions=True)
    model = tiny.model(word_positions=True, existence=True)
    names = {layer.name for layer in plain.layers} & {layer.name for layer in model.layers}
    for name in names:
        model.get_layer(name).set_weights(plain.get_layer(name).get_weights())
    logits = plain.predict_on_batch(given)
    answers = model.predict_on_batch(given)
    np.testing.assert_allclose(answers["logits"], logits, rtol=1e-5, atol=1e-6)
    assert answers["exists"].shape == (2, 2)
    assert ((answers["exists"] > 0) & (answers["exists"] < 1)).all()


@pytest.mark.parametrize("make", [lambda: tiny.model(existence=True), refined])
def test_a_sentence_gets_what_it_gets_alone_saved_and_folded(rng, make, tmp_path):
    model, given = make(), inputs(rng, 3)
    wanted = model.predict_on_batch(given)
    for k in range(3):
        alone = model.predict_on_batch({**given, "words": given["words"][:, k : k + 1]})["exists"]
        np.testing.assert_allclose(alone[:, 0], wanted["exists"][:, k], rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    folded = fold_for_inference(with_all_outputs(model))
    for other in (again, folded):
        answers = other.predict_on_batch(given)
        for name in ("logits", "exists"):
            np.testing.assert_allclose(answers[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_other_systems_have_none():
    with pytest.raises(ValueError, match="`existence` is an output of"):
        build_system("rmi", 12, image_size=16, existence=True)
