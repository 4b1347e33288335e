"""A model in two, split at the words: the same answers as in one."""

import numpy as np
import pytest
import tiny

from keras_cmsa.inference.masks import to_mask

pytestmark = pytest.mark.keras

SENTENCES = ["red box on the left", "blue box", "the green box right"]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def blind():
    """A system without attention: words weigh the channels of a convolution."""
    import keras
    from keras import layers

    image = keras.Input((tiny.SIZE, tiny.SIZE, 3), name="image")
    ids = keras.Input((tiny.WORDS,), dtype="int32", name="words")
    maps = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(image))
    vectors = layers.Embedding(len(tiny.vocabulary()), 4, name="word_vectors")(ids)
    weights = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling1D()(vectors))
    logits = layers.Conv2D(1, 1, name="score")(layers.Multiply()([maps, weights]))
    return keras.Model({"image": image, "words": ids}, logits, name="blind")


def check(model, photo, sentences=SENTENCES, resizing="pad", atol=1e-5):
    """Runs the halves and the whole for each sentence, eagerly: what the halves gave, as arrays.

    Eagerly, since building a graph for each of these models takes seconds; the tests of the
    predictor run graphs.
    """
    from keras import ops, tree

    from keras_cmsa.inference.encode_once import split_at_words
    from keras_cmsa.models.cmsa import with_all_outputs

    preprocessor, whole = tiny.preprocessor(resizing), with_all_outputs(model)
    image_model, sentence_model = split_at_words(whole)
    assert "backbone" not in {layer.name for layer in sentence_model.layers}
    code = tree.flatten(image_model(preprocessor.image(photo)[None], training=False))
    answers = []
    for sentence in sentences:
        inputs = preprocessor([photo], [sentence])
        words = ops.convert_to_tensor(inputs["words"])
        found = sentence_model({"code": code, "words": words}, training=False)
        wanted = whole(inputs, training=False)
        assert set(found) == set(wanted)
        found, wanted = ({n: tiny.to_numpy(x)[0] for n, x in y.items()} for y in (found, wanted))
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=atol, err_msg=name)
        size = photo.shape[:2]
        if atol < 1e-3:
            np.testing.assert_array_equal(
                to_mask(found["logits"], size, preprocessor),
                to_mask(wanted["logits"], size, preprocessor),
            )
        answers.append(found)
    return answers


@pytest.mark.parametrize(
    "options, resizing",
    [
        ({}, "stretch"),
        ({"attention": "pair"}, "pad"),
        ({"query_chunk": 3, "word_positions": True}, "pad"),
    ],
    ids=str,
)
def test_the_halves_are_the_whole(seeded, photo, options, resizing):
    preprocessor = tiny.preprocessor(resizing)
    answers = check(tiny.finder(preprocessor, **options), photo, resizing=resizing)
    for answer in answers:
        assert set(answer) == {"logits", "word_attention", "position_attention"}
    mask = to_mask(answers[0]["logits"], photo.shape[:2], preprocessor)
    assert 0 < mask.mean() < 1


def test_low_precision_stays_close(seeded, rng, photo):
    """bfloat16 has 8 bits: the folded kernels round elsewhere than the layers one by one."""
    keras = seeded
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny.shaken(tiny.model(), rng, scale=0.3)
    finally:
        keras.config.set_dtype_policy(before)
    preprocessor = tiny.preprocessor()
    logits = model(preprocessor([photo] * 3, SENTENCES), training=False)
    check(model, photo, atol=0.03 * max(1.0, np.abs(tiny.to_numpy(logits)).max()))


def test_a_system_without_attention(seeded, rng, photo):
    answers = check(tiny.shaken(blind(), rng, scale=0.3), photo)
    assert all(set(answer) == {"logits"} for answer in answers)


@pytest.mark.parametrize("name", ["rmi", "kwa", "cmsa_w", "cmsa_convlstm"])
def test_every_kind_of_system(seeded, photo, name):
    """Recurrent ones, and CMSA with one level or another fusion."""
    from keras_cmsa import build_system

    sizes = {"max_words": tiny.WORDS, "word_dim": 5, "attention_dim": 4, "fusion_dim": 3}
    model = build_system(
        name, len(tiny.vocabulary()), image_size=tiny.SIZE, backbone=tiny.backbone(), **sizes
    )
    check(model, photo, SENTENCES[:2])


def test_the_backbone_runs_once_for_many_sentences(predictor, photo, monkeypatch):
    assert "backbone" not in {layer.name for layer in predictor.sentence_model.layers}
    assert "backbone" in {layer.name for layer in predictor.image_model.layers}
    calls, run = [], predictor.image_model.predict_on_batch
    monkeypatch.setattr(
        predictor.image_model, "predict_on_batch", lambda x: calls.append(len(x)) or run(x)
    )
    assert len(predictor(photo, SENTENCES)) == 3
    assert calls == [1]


def test_other_inputs_are_refused(seeded):
    from keras_cmsa.inference.encode_once import split_at_words

    image = seeded.Input((4, 4, 3), name="picture")
    with pytest.raises(ValueError, match="inputs 'image' and 'words'"):
        split_at_words(seeded.Model(image, seeded.layers.Dense(1)(image)))
