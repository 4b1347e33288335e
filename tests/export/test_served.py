"""What a served model answers: the predictor's masks, whatever stands in a batch."""

import time

import numpy as np
import pytest
import tiny
import towers
from image_files import bomb, encoded, mask_of
from PIL import Image
from versions import serve, write_version

from keras_cmsa.export import saved_model
from keras_cmsa.export.saved_model import ExportOptions
from keras_cmsa.inference.masks import to_mask
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.inference.verification import asking_graph
from keras_cmsa.models.cmsa import with_all_outputs
from keras_cmsa.models.image_encoder import image_encoder
from keras_cmsa.models.systems import build_system
from keras_cmsa.models.word_encoder import word_encoder
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.presets.preset import Preset, save_preset

pytest.importorskip("tensorflow")

import tensorflow as tf

from keras_cmsa.export.graph.text import WordIds
from keras_cmsa.export.served import ServedModel


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_answers_are_the_predictors(predictor, served, photo, kind):
    files = [encoded(x, kind) for x in (photo, photo[:20], photo[:, :9], photo[:7, :8])]
    answer = served(files, tiny.SENTENCES)
    heat = served(files, tiny.SENTENCES, "heatmap")
    assert heat["valid"].all() and answer["valid"].all()
    shares = [mask_of(png).mean() for png in answer["mask_png_bytes"]]
    assert sum(0 < share < 1 for share in shares) >= 2
    for row, prediction in enumerate(predictor(files, tiny.SENTENCES)):
        probabilities = 1 / (1 + np.exp(-prediction.logits))
        np.testing.assert_allclose(answer["probabilities"][row], probabilities, atol=1e-5)
        mask = mask_of(answer["mask_png_bytes"][row])
        np.testing.assert_array_equal(mask, prediction.mask)
        assert answer["score"][row] == pytest.approx(prediction.score, abs=1e-5)
        height, width = mask.shape
        box = answer["box"][row] * [width, height, width, height]
        np.testing.assert_allclose(box, prediction.box or (0,) * 4, atol=1e-4)
        tokens = [word.decode() for word in answer["words"][row] if word]
        assert tokens == prediction.tokens
        np.testing.assert_allclose(
            answer["word_attention"][row][:, : len(tokens)], prediction.word_attention, atol=1e-5
        )
        np.testing.assert_allclose(
            heat["position_attention"][row], prediction.position_attention, atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_pretrained_parts_from_the_preset_to_the_server(hub, seeded, rng, tmp_path, photo):
    """Eyes of a pyramid with a text encoder; `test_every_system.py` has the other parts."""
    tower = towers.randomized(towers.tiny_efficientnet(hub), rng)
    encoder = image_encoder(tower, towers.SIDE, scaling=(1 / 128, -1), finer=(8, 4))
    text_encoder = towers.randomized(towers.tiny_bert(hub), rng)
    words, vocabulary = word_encoder(text_encoder, towers.PIECES, max_words=5)
    sizes = {"image_size": towers.SIDE, "max_words": 5, "attention_dim": 4, "fusion_dim": 5}
    parts = {"backbone": encoder, "word_encoder": words}
    model = build_system("cmsa_refined", len(vocabulary), **parts, **sizes)
    preprocessor = Preprocessor(vocabulary, towers.SIDE)
    save_preset(tmp_path / "run", Preset(tiny.shaken(model, rng), preprocessor))
    predictor = Predictor.from_preset(tmp_path / "run")
    expressions = ["Red man!", "the leftmost man", "man", "left of the red man"]
    answers = predictor(photo, expressions)
    wanted = tiny.to_numpy(model(preprocessor([photo], [expressions])))[0, ..., 0]
    for answer, logits in zip(answers, wanted):
        tiny.assert_near(answer.logits, logits, 1e-4)
        (alone,) = predictor(photo, [answer.expression])
        tiny.assert_near(alone.logits, logits, 1e-4)
    assert np.ptp(wanted, axis=0).max() > 0.01  # the words have a say

    served = serve(write_version(predictor, tmp_path / "served"))
    served = served([encoded(photo)] * 4, expressions)
    assert served["valid"].all()
    for row, answer in enumerate(answers):
        tokens = [word.decode() for word in served["words"][row] if word]
        assert tokens == answer.tokens == vocabulary.split(answer.expression)[:5]
        np.testing.assert_allclose(
            served["probabilities"][row], 1 / (1 + np.exp(-answer.logits)), atol=1e-4
        )


def test_a_bad_row_harms_no_other(served, photo):
    good = encoded(photo, "JPEG")
    alone = served([good], ["red box"])
    rows = {
        "a JPEG cut short": (good[: len(good) // 2], "red box"),
        "no image": (b"\x00\x01\x02" * 50, "red box"),
        "text": ("a red box", "red box"),
        "another format": (encoded(photo, "BMP"), "red box"),
        "nothing": (b"", "red box"),
        "too large": (bomb(), "red box"),
        "no expression": (good, ""),
        "no word": (good, "?! 👍"),
        "a text": (good, "red box " * 1250),
        "not UTF-8": (good, b"\xff\xfe"),
    }
    files, expressions = zip(*rows.values())
    answer = served([good, *files, good], ["red box", *expressions, "red box"])
    assert answer["valid"].tolist() == [True] + [False] * len(rows) + [True]
    for row in (0, -1):
        np.testing.assert_allclose(
            answer["probabilities"][row], alone["probabilities"][0], atol=1e-6
        )
        assert answer["mask_png_bytes"][row] == alone["mask_png_bytes"][0]
    for name in ("probabilities", "score", "box", "word_attention"):
        assert not answer[name][1:-1].any(), name
    sizes = [mask_of(png).shape for png in answer["mask_png_bytes"][1:-1]]
    assert sizes == [(tiny.SIZE, tiny.SIZE)] * 6 + [photo.shape[:2]] * 4
    assert not any(mask_of(png).any() for png in answer["mask_png_bytes"][1:-1])


def test_many_sentences_of_an_image_are_answered_as_each_alone(served, photo):
    """And those that fill up a row, or cannot be read, harm no other."""
    files = [encoded(photo), encoded(photo[:20], "JPEG"), b"no image"]
    asked = [["red box", "", "blue box"], ["the green box", "red " * 99, "box"], ["box"] * 3]
    answer = served(files, asked, "segment_many")
    wanted = [[True, False, True], [True, False, True], [False] * 3]
    assert answer["valid"].tolist() == wanted
    for b, row in enumerate(asked):
        for k, expression in enumerate(row):
            alone = served([files[b]], [expression])
            assert set(alone) == set(answer)
            for name, value in alone.items():
                found = answer[name][b, k]
                if value.dtype.kind == "f":
                    np.testing.assert_allclose(found, value[0], atol=1e-6)
                else:
                    np.testing.assert_array_equal(found, value[0])
    none = served(files[:1], np.zeros((1, 0), object), "segment_many")
    assert {name: x.shape[:2] for name, x in none.items()} == dict.fromkeys(none, (1, 0))


def test_sentences_times_pixels_are_bounded(served, photo):
    """60 kB that would cost an hour: many sentences about a large image that packs well."""
    large, fair = encoded(Image.new("L", (5_000, 4_000))), encoded(photo)
    started = time.process_time()
    answer = served([large, fair], [["red box"] * 80] * 2, "segment_many")  # 80 x 20 > 16 x 50
    assert answer["valid"].tolist() == [[False] * 80, [True] * 80]
    assert mask_of(answer["mask_png_bytes"][0, 0]).shape == (tiny.SIZE, tiny.SIZE)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 256 expressions: ask in"):
        served([fair], [["a"] * 20_000], "segment_many")
    assert time.process_time() - started < 8


def test_strange_expressions_are_answered(served, photo):
    strange = ["x" * 10_000, "🟥 box 👈", "הקופסה האדומה", "red\0box"]
    answer = served([encoded(photo)] * 4, strange)
    assert answer["valid"].all() and np.isfinite(answer["probabilities"]).all()


def test_batches_of_nothing_and_of_different_lengths(served, photo):
    answer = served([], [])
    assert {name: x.shape[0] for name, x in answer.items()} == dict.fromkeys(answer, 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows of expressions"):
        served([encoded(photo)] * 2, ["red box"])


# --- As other options have it


def before_saving(predictor, folder, resizing="pad", **options):
    """What an export would save, as an object: its methods are the signatures."""
    words = folder / "words.txt"
    predictor.preprocessor.vocabulary.save(words)
    word_ids = WordIds(predictor.preprocessor.vocabulary, words)
    return ServedModel(
        with_all_outputs(predictor.model), word_ids, resizing, ExportOptions(**options)
    )


@pytest.mark.parametrize("resizing", ["pad", pytest.param("stretch", marks=pytest.mark.slow)])
def test_the_mask_is_that_of_the_profile(predictor, photo, tmp_path, resizing):
    preprocessor = tiny.preprocessor(resizing)
    logits = predictor.model(preprocessor([photo], ["red box"]), training=False)
    masks = []
    for profile in ("strict", "tf_phrasecut"):
        served = before_saving(predictor, tmp_path, resizing, profile=profile)
        answer = served.answer(tf.constant([encoded(photo)]), tf.constant(["red box"]))
        mask = mask_of(answer["mask_png_bytes"].numpy()[0])
        wanted = to_mask(tiny.to_numpy(logits)[0, 0], photo.shape[:2], preprocessor, profile)
        np.testing.assert_array_equal(mask, wanted)
        masks.append(mask)
    assert np.any(masks[0] != masks[1])


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "error"), [("float16", 1e-2), ("bfloat16", 0.1)])
def test_half_of_the_bytes_is_near_and_not_equal(predictor, photo, tmp_path, dtype, error):
    inputs = predictor.preprocessor([photo], ["red box"])
    exact = tiny.to_numpy(predictor.model(inputs, training=False))
    served = before_saving(predictor, tmp_path, dtype=dtype)
    assert {weight.dtype for weight in served.weights} == {tf.as_dtype(dtype)}
    found = served.run(tf.constant(inputs["image"]), tf.constant(inputs["words"]))["logits"]
    assert found.dtype == tf.float32
    assert 0 < np.abs(found - exact).max() <= error * max(1, np.abs(exact).max())


@pytest.mark.slow
def test_an_export_for_small_images_is_not_asked_about_its_reference(
    predictor, exported, tensors_alone, tmp_path, monkeypatch
):
    monkeypatch.delattr(saved_model, "check_masks")
    # Its picture, 48 x 64, has a line more.
    assert write_version(predictor, tmp_path / "cmsa", max_pixels=47 * 64).is_dir()
    ask = asking_graph(exported, Predictor.from_preset(exported))
    with pytest.raises(ValueError, match="does not take the picture of its reference"):
        ask(bomb(), ["box"])


@pytest.mark.slow
def test_an_image_is_read_up_to_max_pixels(predictor, photo, tmp_path):
    files = tf.constant([encoded(photo), encoded(photo[:-1])])
    served = before_saving(predictor, tmp_path, max_pixels=30 * 47)
    answer = served.answer(files, tf.constant(["red box"] * 2))
    assert answer["valid"].numpy().tolist() == [False, True]
