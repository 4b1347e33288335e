"""What fits nothing: the predictor's answer, the command's words, and the exports'."""

import csv
import json

import keras
import numpy as np
import pytest
import tiny
from command import run
from image_files import mask_of
from PIL import Image
from versions import serve, write_version

from keras_cmsa import Predictor
from keras_cmsa.presets.preset import Preset, save_preset

pytestmark = pytest.mark.usefixtures("untraced")
SENTENCE = "green box on the left"


@pytest.fixture(scope="module")
def shy(tmp_path_factory):
    """A preset that refuses `SENTENCE` about a photo and not the sentence without some word.

    Returns:
        The preset, the photo's path, the word and its `existence`.
    """
    folder = tmp_path_factory.mktemp("shy")
    photo = np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype("uint8")
    Image.fromarray(photo).save(folder / "photo.png")
    words = SENTENCE.split()
    shorter = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    inputs = tiny.preprocessor()([photo], [[SENTENCE, *shorter]])
    for seed in range(20):
        keras.utils.set_random_seed(seed)
        model = tiny.model(existence=True, word_positions=True)
        whole, *without = tiny.to_numpy(model(inputs, training=False)["exists"])[0].tolist()
        if max(without) > whole + 1e-3:
            break
    facts = tiny.existence((whole + max(without)) / 2)
    save_preset(folder / "preset", Preset(model, tiny.preprocessor(), facts))
    return folder / "preset", folder / "photo.png", words[int(np.argmax(without))], whole


def test_nothing_fits(shy):
    preset, photo, _, existence = shy
    predictor = Predictor.from_preset(preset)
    prediction = predictor(photo, SENTENCE)
    assert prediction.existence == pytest.approx(existence, abs=1e-5)
    assert not prediction.exists and prediction.threshold == predictor.threshold > existence
    assert not prediction.mask.any() and prediction.score == 0 and prediction.box is None
    assert prediction.probabilities.max() > 0


def test_a_model_that_does_not_say_finds_what_it_finds(predictor, photo):
    prediction = predictor(photo, "red box")
    assert prediction.existence is None and prediction.exists


def test_the_line_names_the_word_without_which_something_would(shy, capsys):
    preset, photo, word, _ = shy
    assert run("segment", photo, SENTENCE, "--model", preset) == 0
    assert capsys.readouterr().out == (
        f"“{SENTENCE}”: nothing in this photo fits; without “{word}” something would\n"
    )
    assert run("segment", photo, SENTENCE, "--model", preset, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["exists"] is False and result["area"] == 0
    assert result["would_fit_without"][0] == word


def test_a_table_says_it_too(shy, tmp_path):
    preset, photo, _, _ = shy
    table = photo.parent / "pairs.csv"
    table.write_text(f"image,expression\n{photo.name},{SENTENCE}\n")
    assert run("segment", "--csv", table, "--model", preset, "-o", tmp_path / "out") == 0
    with open(tmp_path / "out/results.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["exists"], row["area"], row["error"]) == ("false", "0", "")


@pytest.mark.slow
def test_a_saved_model_decides_as_the_preset(shy, tmp_path):
    pytest.importorskip("tensorflow")
    preset, photo, _, _ = shy
    predictor = Predictor.from_preset(preset)
    path = write_version(predictor, tmp_path / "shy")
    sentences = [SENTENCE, "box", "red box", "left", ""]
    answers = serve(path)([photo.read_bytes()], [sentences], "segment_many")
    answers = {name: value[0] for name, value in answers.items()}
    for k, sentence in enumerate(sentences[:-1]):
        wanted = predictor(photo, sentence)
        assert answers["existence"][k] == pytest.approx(wanted.existence, abs=1e-5)
        assert answers["exists"][k] == wanted.exists
        np.testing.assert_array_equal(mask_of(answers["mask_png_bytes"][k]), wanted.mask)
        assert answers["score"][k] == pytest.approx(wanted.score, abs=1e-5)
    assert not answers["exists"][-1] and not answers["valid"][-1]
    again = Predictor.from_preset(path)
    assert again.threshold == predictor.threshold
    assert not again(photo, SENTENCE).exists
