"""The predictor: the same masks as the plain path, whatever the door an image comes in by."""

import warnings
import zipfile

import numpy as np
import pytest
import tiny
from PIL import Image

pytestmark = pytest.mark.keras

SENTENCES = ["red box on the left", "blue box", "the green box right"]


def unseen(model, rng):
    """Every weight moved away from its start."""
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(scale=0.3, size=weight.shape))
    return model


def blind(size=tiny.SIZE, words=tiny.WORDS):
    """A system without attention: words weigh the channels of a convolution."""
    import keras
    from keras import layers

    image = keras.Input((size, size, 3), name="image")
    ids = keras.Input((words,), dtype="int32", name="words")
    maps = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(image))
    vectors = layers.Embedding(len(tiny.vocabulary()), 4, name="word_vectors")(ids)
    weights = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling1D()(vectors))
    logits = layers.Conv2D(1, 1, name="score")(layers.Multiply()([maps, weights]))
    return keras.Model({"image": image, "words": ids}, logits, name="blind")


def plain(model, vocabulary, image, sentence, fit="pad"):
    """Logits `(S, S)` and the mask by way of `keras_cmsa.evaluation`, on the model as it is."""
    from keras_cmsa.evaluation import PROFILES
    from keras_cmsa.image import FITS

    size = model.input["image"].shape[1]
    inputs = {"image": FITS[fit][0](image, size)[None], "words": vocabulary.encode([sentence])}
    logits = np.asarray(model.predict_on_batch(inputs))[0, ..., 0]
    return logits, PROFILES["strict"].to_mask(logits, image.shape[:2], fit)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def photos(rng):
    return [
        rng.integers(0, 256, (h, w, 3)).astype("uint8") for h, w in ((31, 47), (40, 17), (9, 9))
    ]


@pytest.fixture
def predictor(seeded, rng):
    from keras_cmsa import Predictor

    return Predictor(unseen(tiny.model(), rng), tiny.vocabulary())


@pytest.mark.parametrize(
    "options, fit",
    [
        ({}, "stretch"),
        ({"attention": "pair"}, "pad"),
        ({"query_chunk": 3, "word_positions": True}, "pad"),
    ],
    ids=str,
)
def test_one_image_and_many_sentences_are_the_plain_path(seeded, rng, photos, options, fit):
    from keras_cmsa import Predictor, with_attention

    model = unseen(tiny.model(**options), rng)
    vocabulary = tiny.vocabulary()
    logits, _ = plain(model, vocabulary, photos[0], SENTENCES[0], fit)
    model.get_layer("score").bias.assign_sub([np.median(logits)])
    found = Predictor(model, vocabulary, fit)(photos[0], SENTENCES)
    telling = with_attention(model)
    for sentence, prediction in zip(SENTENCES, found, strict=True):
        logits, mask = plain(model, vocabulary, photos[0], sentence, fit)
        np.testing.assert_allclose(prediction.logits, logits, rtol=1e-4, atol=1e-5)
        assert prediction.mask.shape == (31, 47) and prediction.mask.dtype == bool
        np.testing.assert_array_equal(prediction.mask, mask)
        assert prediction.tokens == vocabulary.tokens(sentence)
        fitted, _ = fitted_inputs(photos[0], fit)
        inputs = {"image": fitted, "words": vocabulary.encode([sentence])}
        told = telling.predict_on_batch(inputs)
        words = np.asarray(told["word_attention"])[0, :, : len(prediction.tokens)]
        np.testing.assert_allclose(prediction.word_attention, words, atol=1e-5)
        np.testing.assert_allclose(
            prediction.position_attention, np.asarray(told["position_attention"])[0], atol=1e-5
        )
    assert 0 < found[0].mask.mean() < 1


def fitted_inputs(image, fit):
    from keras_cmsa.image import FITS

    return FITS[fit][0](image, tiny.SIZE)[None], image.shape[:2]


def test_low_precision_stays_close(seeded, rng, photos):
    """bfloat16 has 8 bits: the folded kernels round elsewhere than the layers one by one."""
    from keras_cmsa import Predictor

    keras = seeded
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = unseen(tiny.model(), rng)
    finally:
        keras.config.set_dtype_policy(before)
    for prediction in Predictor(model, tiny.vocabulary())(photos[0], SENTENCES):
        logits, _ = plain(model, tiny.vocabulary(), photos[0], prediction.expression)
        spread = max(1.0, np.abs(logits).max())
        np.testing.assert_allclose(prediction.logits, logits, atol=0.03 * spread)


def test_a_system_without_attention(seeded, rng, photos):
    from keras_cmsa import Predictor

    model = unseen(blind(), rng)
    found = Predictor(model, tiny.vocabulary())(photos[1], SENTENCES)
    for sentence, prediction in zip(SENTENCES, found, strict=True):
        logits, mask = plain(model, tiny.vocabulary(), photos[1], sentence)
        np.testing.assert_allclose(prediction.logits, logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(prediction.mask, mask)
        assert prediction.word_attention is None and prediction.position_attention is None
    with pytest.raises(ValueError, match="no position attention"):
        found[0].heat_map()


@pytest.mark.parametrize("name", ["rmi", "kwa", "cmsa_w", "cmsa_convlstm"])
def test_every_kind_of_system(seeded, rng, photos, name):
    """Recurrent ones, and CMSA with one level or another fusion: split at the words, the same."""
    from keras_cmsa import Predictor, build_system

    sizes = {"max_words": tiny.WORDS, "word_dim": 5, "attention_dim": 4, "fusion_dim": 3}
    model = build_system(
        name, len(tiny.vocabulary()), image_size=tiny.SIZE, backbone=tiny.backbone(), **sizes
    )
    predictor = Predictor(model, tiny.vocabulary())
    assert "backbone" not in {layer.name for layer in predictor.sentence_model.layers}
    for prediction in predictor(photos[0], SENTENCES[:2]):
        logits, mask = plain(model, tiny.vocabulary(), photos[0], prediction.expression)
        np.testing.assert_allclose(prediction.logits, logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(prediction.mask, mask)


def test_many_images_are_answered_as_each_alone(predictor, photos):
    """More images than a batch holds, one sentence or several each, in order."""
    predictor.batch_size = 2
    alone = [predictor(photo, sentence) for photo, sentence in zip(photos, SENTENCES)]
    for found in (
        predictor(photos, SENTENCES),
        [p for (p,) in predictor(photos, [[s] for s in SENTENCES])],
        [of_photo[i] for i, of_photo in enumerate(predictor(photos, [SENTENCES] * 3))],
        list(predictor.stream(zip(photos, SENTENCES))),
    ):
        for one, other in zip(alone, found, strict=True):
            assert one.expression == other.expression
            np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(one.mask, other.mask)


def test_the_backbone_runs_once_for_many_sentences(seeded, photos):
    from keras_cmsa import Predictor

    keras = seeded
    calls = []

    @keras.saving.register_keras_serializable(package="tests")
    class Counting(keras.layers.Layer):
        def call(self, x):
            return x

    backbone = tiny.backbone()
    image = keras.Input((tiny.SIZE, tiny.SIZE, 3), name="image")
    counted = keras.Model(image, backbone(Counting(name="counting")(image)), name="backbone")
    from keras_cmsa import build_cmsa

    model = build_cmsa(
        len(tiny.vocabulary()), tiny.SIZE, counted, tiny.WORDS, 5, attention_dim=4, fusion_dim=3
    )
    predictor = Predictor(model, tiny.vocabulary())
    in_sentence_model = {layer.name for layer in predictor.sentence_model.layers}
    assert "backbone" not in in_sentence_model
    assert "backbone" in {layer.name for layer in predictor.image_model.layers}
    run = predictor.image_model.predict_on_batch
    predictor.image_model.predict_on_batch = lambda x: calls.append(len(x)) or run(x)
    assert len(predictor(photos[0], SENTENCES)) == 3
    assert calls == [1]


def test_any_door_for_an_image(predictor, photos, tmp_path):
    photo = photos[0]
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(photo))).save(tmp_path / "turned.png", exif=exif)
    expected = predictor(photo, SENTENCES[0]).mask
    opened = Image.open(tmp_path / "turned.png")
    for image in (path, str(path), path.read_bytes(), Image.open(path), opened):
        np.testing.assert_array_equal(predictor(image, SENTENCES[0]).mask, expected)
    opaque = np.concatenate([photo, np.full((31, 47, 1), 255, "uint8")], axis=-1)
    np.testing.assert_array_equal(predictor(opaque, SENTENCES[0]).mask, expected)
    grey = photo[..., 0]
    in_colour = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(
        predictor(grey, SENTENCES[0]).mask, predictor(in_colour, SENTENCES[0]).mask
    )


def test_score_and_box_of_a_known_answer():
    from keras_cmsa import Prediction

    logits = np.full((8, 8), -20.0, "float32")
    logits[2:5, 1:7] = np.log(3)  # probability 3/4
    mask = logits > 0
    prediction = Prediction("it", ["it"], logits, mask, None, None, "pad")
    assert prediction.box == (1, 2, 7, 5)
    assert prediction.score == pytest.approx(0.75)
    nothing = Prediction("it", ["it"], logits, np.zeros((8, 8), bool), None, None, "pad")
    assert nothing.box is None and nothing.score == 0


@pytest.mark.parametrize("size", [(40, 80), (80, 40), (80, 80)])
def test_the_heat_map_lies_over_the_image(size):
    """Attention to one cell of the fitted square lands where that cell shows the image."""
    from keras_cmsa import Prediction
    from keras_cmsa.image import resize_and_pad

    marked = np.zeros(size, "float32")
    marked[10:20, 10:20] = 1
    attention = resize_and_pad(marked, 80).reshape(8, 10, 8, 10).mean(axis=(1, 3))[None]
    prediction = Prediction(
        "it", ["it"], np.zeros((80, 80), "float32"), np.zeros(size, bool), None, attention, "pad"
    )
    heat = prediction.heat_map()
    assert heat.shape == size and heat.max() == 1 and heat.min() >= 0
    rows, columns = np.nonzero(heat == heat.max())
    assert 10 <= rows.mean() <= 20 and 10 <= columns.mean() <= 20
    assert heat[30:, 30:].max() < 0.01
    np.testing.assert_array_equal(prediction.heat_map(0), heat)


def saved(folder, model, vocabulary=None):
    folder.mkdir()
    model.save(folder / "model.keras")
    (vocabulary or tiny.vocabulary()).save(folder / "vocabulary.txt")
    return folder


@pytest.mark.parametrize("where", ["", "model.keras"])
def test_load(seeded, rng, photos, tmp_path, where):
    from keras_cmsa import Predictor

    model = unseen(tiny.model(), rng)
    predictor = Predictor.load(saved(tmp_path / "run", model) / where)
    assert predictor.vocabulary.max_words == tiny.WORDS
    _, mask = plain(model, tiny.vocabulary(), photos[0], SENTENCES[0])
    np.testing.assert_array_equal(predictor(photos[0], SENTENCES[0]).mask, mask)


def test_what_cannot_be_loaded(seeded, tmp_path):
    from keras_cmsa import Predictor, Vocabulary

    keras = seeded
    run = saved(tmp_path / "run", tiny.model())
    path = run / "model.keras"
    whole = path.read_bytes()

    with pytest.raises(FileNotFoundError, match=r"nowhere.keras is not there"):
        Predictor.load(tmp_path / "nowhere.keras")
    for length in (0, 100, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot be loaded: it is cut short") as error:
            Predictor.load(path)
        assert "\n" not in str(error.value)
    # A whole archive with half its weights.
    with zipfile.ZipFile(path, "w") as archive:
        (run / "whole.keras").write_bytes(whole)
        with zipfile.ZipFile(run / "whole.keras") as good:
            for name in good.namelist():
                data = good.read(name)
                archive.writestr(name, data[: len(data) // 2] if name.endswith(".h5") else data)
    with pytest.raises(ValueError, match="cannot be loaded"):
        Predictor.load(path)

    image = keras.Input((8, 8, 3), name="picture")
    keras.Model(image, keras.layers.Dense(1)(image)).save(path)
    with pytest.raises(ValueError, match="inputs 'image' and 'words'"):
        Predictor.load(path)

    class Foreign(keras.layers.Layer):
        def call(self, x):
            return x

    keras.Model(image, Foreign()(image)).save(path)
    with pytest.raises(ValueError, match="model of another package"):
        Predictor.load(path)

    path.write_bytes(whole)
    Vocabulary(["red"]).save(run / "vocabulary.txt")
    with pytest.raises(ValueError, match="does not fit the model"):
        Predictor.load(path)
    (run / "vocabulary.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocabulary.txt is missing"):
        Predictor.load(path)


def test_what_cannot_be_asked(predictor, photos, tmp_path):
    photo = photos[0]
    with pytest.raises(ValueError, match="at least one word"):
        predictor(photo, "?!")
    with pytest.raises(ValueError, match="300 words"):
        predictor(photo, "box " * 300)
    with pytest.warns(UserWarning, match="takes 5 words; the last 1 of"):
        cut = predictor(photo, "the red box on the left")
    assert cut.tokens == ["the", "red", "box", "on", "the"]
    with pytest.raises(ValueError, match=r"uint8 array.*got float64 of shape \(31, 47, 3\)"):
        predictor(photo / 255, "red box")
    with pytest.raises(ValueError, match="uint8 array"):
        predictor(photo[None], "red box")
    with pytest.raises(ValueError, match="3 images want a list"):
        predictor(photos, ["red box"])
    (tmp_path / "notes.txt").write_text("a red box")
    with pytest.raises(ValueError, match="is no image"):
        predictor(tmp_path / "notes.txt", "red box")
    with pytest.raises(FileNotFoundError):
        predictor(tmp_path / "nowhere.png", "red box")


def test_no_sentence_no_answer(predictor, photos):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert predictor(photos[0], []) == []
