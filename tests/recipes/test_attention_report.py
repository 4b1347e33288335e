"""What is measured of the attention, against Eqs. 2 and 3 over all pairs, in float64."""

import collections
import contextlib
import itertools
import json
from dataclasses import replace

import keras
import literal
import numpy as np
import pytest
import tiny

from keras_cmsa import Controls, Predictor, evaluate, read_records, summarize
from keras_cmsa.preprocessing.preprocessor import Preprocessor

pytestmark = pytest.mark.usefixtures("recipes", "untraced")


@pytest.fixture
def records(tmp_path):
    """Three images; two sentences about each of the first two."""
    return tiny.several_of_each(tiny.records(tmp_path, 3), [2, 2, 1])


def entropy(shares, choices=None):
    """Of distributions over the last axis, as a share of the largest among so many choices."""
    shares = np.asarray(shares, "float64")
    terms = np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1)), 0)
    return -terms.sum(axis=-1) / np.log(choices or shares.shape[-1])


def pairs(layer, positions, words):
    """The attention a of Eq. 3 for one sentence: `(n, P, n, P)` float64, over all pairs at once."""
    flat = positions.reshape(-1, positions.shape[-1]).astype("float64")
    feature = np.concatenate(
        [
            np.broadcast_to(flat[None], (len(words), *flat.shape)),
            np.broadcast_to(words[:, None], (len(words), len(flat), words.shape[-1])),
        ],
        axis=-1,
    )
    weights = tiny.weights_of(layer)
    return literal.attention(
        feature, weights["query_kernel"], weights["key_kernel"], layer.attention
    )


@pytest.mark.parametrize("mode", ["full", "pair"])
def test_alpha_and_beta_are_the_marginals_of_all_pairs(seeded, rng, mode):
    from attention_measures import attentions

    layer = tiny.shaken(tiny.model(attention=mode), rng, scale=0.5).attention_layers[1]
    positions, vectors = (tiny.normal(rng, 1, *shape) for shape in ((2, 2, 14), (1, tiny.WORDS, 5)))
    parts = layer.queries_and_keys(positions.reshape(1, 4, 14), vectors)
    of_positions, of_words = (np.stack([tiny.to_numpy(x[i])[0] for x in parts]) for i in (0, 1))
    for n in (3, 5):
        (found,) = attentions(mode, of_positions, [of_words[:, 0, :n]])
        each = pairs(layer, positions[0], vectors[0, 0, :n].astype("float64"))
        for over, wanted in (("positions", each.sum(axis=2)), ("words", each.sum(axis=3))):
            np.testing.assert_allclose(found[over].mean, wanted.mean(axis=0), atol=1e-5)
            choices = wanted.shape[-1] - (mode == "pair")
            assert found[over].entropy == pytest.approx(entropy(wanted, choices).mean(), abs=1e-5)
            assert found[over].has_choice


def test_scores_far_apart_are_no_trouble():
    """A choice of one, by scores that a single exponential of float32 cannot hold."""
    from attention_measures import attention, exponentials

    scores = np.array([[300.0, 0], [0, 300.0]]), np.array([[0, 100.0], [0, 0]])
    found = attention(*map(exponentials, scores))
    np.testing.assert_allclose(found.mean, np.eye(2))
    assert found.entropy == pytest.approx(0) and found.has_choice


def test_an_average_has_entropy_1_whatever_is_left_out():
    from attention_measures import attentions

    def average(mode, positions, words):
        (found,) = attentions(mode, np.zeros((2, positions, 1)), [np.zeros((2, words, 1))])
        return found

    for mode, alpha, beta in (
        ("full", np.full((4, 4), 1 / 4), np.full((4, 3), 1 / 3)),
        ("pair", (1 - np.eye(4)) / 3, np.full((4, 3), 1 / 3)),
    ):
        found = average(mode, 4, 3)
        for over, wanted in (("positions", alpha), ("words", beta)):
            np.testing.assert_allclose(found[over].mean, wanted, rtol=1e-6)
            assert found[over].entropy == pytest.approx(1) and found[over].has_choice
    assert not average("full", 4, 1)["words"].has_choice
    assert not average("pair", 4, 2)["words"].has_choice  # one other word
    alone = average("pair", 4, 1)
    assert not alone["words"].has_choice and not alone["positions"].has_choice


def test_one_vector_for_all_words_is_no_choice(seeded):
    from attention_measures import learnt_attentions

    model = tiny.model(sentence_vector=True)
    assert {over for _, _, over in learnt_attentions(model)} == {"positions"}


def test_the_measures_of_known_attentions():
    from attention_measures import among_shared, distance

    assert distance(np.eye(2), np.eye(2)) == 0
    assert distance(np.eye(2), np.eye(2)[::-1]) == 1
    assert distance(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])) == 0.5
    one, other = among_shared(
        np.array([5, 6, 5, 9]), np.array([[0.1, 0.4, 0.2, 0.3]]),
        np.array([6, 8, 5]), np.array([[0.3, 0.6, 0.1]]),
    )  # fmt: skip
    np.testing.assert_allclose(one, [[0.3 / 0.7, 0.4 / 0.7]])
    np.testing.assert_allclose(other, [[0.25, 0.75]])


def report_of(predictor, records):
    """The rows of the report and the scores that were made with it."""
    from attention_measures import AttentionReport

    report = AttentionReport(predictor)
    scores = evaluate(predictor, records, [report])
    return report.rows(), scores


def test_the_report_is_the_mean_over_the_split(predictor, records):
    rows, _ = report_of(predictor, records)
    assert [(r["level"], r["over"]) for r in rows] == [
        (level, over) for level in ("Res3", "Res4", "Res5") for over in ("positions", "words")
    ]
    model, preprocessor = predictor.model, predictor.preprocessor
    layer = model.attention_layers[2]
    features = keras.Model(model.input, layer.input)

    def alpha(record, expression):
        """From the literal form, `(n, P, P)`."""
        inputs = preprocessor([record.image()], [expression])
        positions, words, is_word = map(tiny.to_numpy, features(inputs, training=False))
        return pairs(layer, positions[0], words[0, 0][is_word[0, 0]].astype("float64")).sum(axis=2)

    (row,) = (r for r in rows if (r["level"], r["over"]) == ("Res5", "positions"))
    attention = [alpha(record, record.expression) for record in records]
    wanted = np.mean([entropy(one).mean() for one in attention])
    assert row["entropy"] == pytest.approx(wanted, abs=1e-5)
    means, firsts = collections.defaultdict(list), {}
    for record, one in zip(records, attention):
        means[record.image_id].append(one.mean(axis=0))
        firsts.setdefault(record.image_id, record)

    def distance(one, other):
        return np.abs(one - other).sum(axis=-1).mean() / 2

    changes = [distance(*both) for both in means.values() if len(both) == 2]
    assert len(changes) == 2
    assert row["change_with_sentence"] == pytest.approx(np.mean(changes), abs=1e-5)
    changes = [distance(one, one.mean(axis=0)) for both in means.values() for one in both]
    assert row["change_with_place"] == pytest.approx(np.mean(changes), abs=1e-5)
    # A sentence has the same words as the other, only more often.
    assert {r["change_with_sentence"] for r in rows if r["over"] == "words"} == {None}
    # The first sentence of each image on the next one.
    changes = [
        distance(alpha(firsts[after], firsts[before].expression).mean(axis=0), means[before][0])
        for before, after in itertools.pairwise(means)
    ]
    assert row["change_with_image"] == pytest.approx(np.mean(changes), abs=1e-5)


@contextlib.contextmanager
def averaged(layer, over):
    """Makes one attention of a layer an average with queries of zeros, whose scores are equal."""
    kernel = tiny.to_numpy(layer.query_kernel)
    channels, changed = layer.input[0].shape[-1], kernel.copy()
    changed[slice(channels) if over == "positions" else slice(channels, None)] = 0
    layer.query_kernel.assign(changed)
    yield
    layer.query_kernel.assign(kernel)


@pytest.mark.parametrize(
    "mode", ["full", *(pytest.param(x, marks=pytest.mark.slow) for x in ("word", "pixel", "pair"))]
)
def test_an_attention_becomes_an_average_and_all_else_stays(seeded, tmp_path, mode):
    from attention_measures import learnt_attentions

    records = tiny.several_of_each(tiny.noise_records(tmp_path, 3), [4, 2, 1])
    expressions = itertools.cycle(["red box on the left", "the blue box", "green box"])
    records = [replace(r, expression=e) for r, e in zip(records, expressions)]
    preprocessor = tiny.preprocessor()
    model = tiny.finder(preprocessor, attention=mode)
    for layer in model.attention_layers:
        layer.query_kernel.assign(4 * layer.query_kernel)
    predictor = Predictor(model, preprocessor)
    rows, scores = report_of(predictor, records)
    assert {row["overall_iou"] for row in rows} == {summarize(scores)["overall_iou"]}
    image, (words,) = records[0].image(), preprocessor.vocabulary.encode(["red box on the left"])
    before = predictor.outputs(image, [words])[0]
    parts = learnt_attentions(model, predictor.network)
    for row, (level, layer, over) in zip(rows, parts, strict=True):
        with averaged(layer, over):
            wanted = summarize(evaluate(predictor, records))["overall_iou"]
            outputs = predictor.outputs(image, [words])[0]
        assert row["overall_iou_uniform"] == pytest.approx(wanted, abs=1e-9)
        assert np.abs(outputs["logits"] - before["logits"]).max() > 1e-2
        at = predictor.levels.index(level)
        for name in ("positions", "words"):
            found, as_trained = (
                x[f"{name.removesuffix('s')}_attention"][at] for x in (outputs, before)
            )
            shares = np.full_like(found, 1 / found.size) if name == over else as_trained
            tiny.assert_near(found, shares)
    tiny.assert_near(predictor.outputs(image, [words])[0]["logits"], before["logits"])


def test_a_pair_attention_with_one_word_attends_to_nothing(seeded, records):
    records = [replace(r, expression="box") for r in records]
    predictor = Predictor(tiny.model(attention="pair"), tiny.preprocessor())
    rows, _ = report_of(predictor, records)
    assert {row["entropy"] for row in rows} == {None}
    assert {row["overall_iou_uniform"] - row["overall_iou"] for row in rows} == {0}


def test_a_model_without_learnt_attention_is_refused(seeded):
    from attention_measures import AttentionReport

    with pytest.raises(ValueError, match="which has none"):
        AttentionReport(Predictor(tiny.model(attention="none"), tiny.preprocessor()))


def test_all_at_once_opens_encodes_and_draws_once(predictor, tmp_path, monkeypatch, spied):
    """Controls and report: each file is opened, each image encoded, each object drawn once."""
    from attention_measures import AttentionReport

    from keras_cmsa.data import record as module

    one, other = tiny.records(tmp_path, 2)
    records = tiny.several_of_each([one, other], [3, 9])
    # A second object of the first image.
    mask = tiny.box(one.height, one.width, 0, 0, 5, 5)
    records.append(tiny.record(one.image_path, mask, "blue box", number=7))
    predictor = Predictor(predictor.model, predictor.preprocessor)
    opened, drawn = spied(module, "read_image"), spied(module, "rasterize")
    fitted = spied(Preprocessor, "image")
    encoded = spied(predictor.image_model, "predict_on_batch")
    monkeypatch.setattr(Preprocessor, "mask", None)  # none is brought to the network's size
    controls, report = Controls(predictor.preprocessor.vocabulary), AttentionReport(predictor)
    scores = evaluate(predictor, records, [controls, report])
    assert len(scores) == len(records) and len(controls.scores["no words"].control) == len(records)
    assert len(controls.scores["largest object"].control) == 4 and len(report.rows()) == 6
    assert sorted(path for path, *_ in opened) == sorted({r.image_path for r in records})
    assert sum(len(squares) for (squares,) in encoded) == len(fitted) == 2
    assert len(drawn) == 3


@pytest.mark.filterwarnings("ignore:counts differ")
def test_the_page_writes_scores_controls_and_attention(page, preset, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    root = tiny.refer_root(tmp_path / "refer", {"train": 1, "val": 3})
    monkeypatch.chdir(tmp_path)
    assert page("attention_report", root, model=preset, controls=True) == 0
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.splitlines())
    for text in ("no words", "Res5", "positions", " - "):
        assert text in printed
    metrics = json.loads((tmp_path / "runs/attention/metrics.json").read_text())
    predictor, records = Predictor.from_preset(preset), read_records(root)["val"]
    assert metrics["splits"]["val"] == pytest.approx(summarize(evaluate(predictor, records)))
    assert metrics["controls"]["val"]["no words"]["plain"] == metrics["splits"]["val"]
    rows, _ = report_of(predictor, records)
    for row, wanted in zip(metrics["attention"]["val"], rows, strict=True):
        assert row == pytest.approx(wanted)
