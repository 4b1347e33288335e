"""What is measured of the attention, against Eqs. 2 and 3 over all pairs, in float64."""

import itertools

import numpy as np
import pytest
import tiny

from keras_cmsa.evaluation.attention import among_shared, distance, entropy


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
    query, key = (feature @ weights[f"{name}_kernel"] for name in ("query", "key"))
    scores = np.einsum("npd,mqd->npmq", key, query)
    if layer.attention == "pair":
        n, p = np.indices(scores.shape[:2])
        same = (n[..., None, None] == n) | (p[..., None, None] == p)
        scores[same] = -np.inf
    scores = np.exp(scores - scores.max(axis=(2, 3), keepdims=True))
    return scores / scores.sum(axis=(2, 3), keepdims=True)


@pytest.mark.parametrize("mode", ["full", "pair"])
def test_alpha_and_beta_are_the_marginals_of_all_pairs(seeded, mode):
    from keras_cmsa.evaluation.attention import attentions

    rng = np.random.default_rng(2)
    layer = tiny.shaken(tiny.model(attention=mode), rng, scale=0.5).attention_layers[1]
    positions, vectors = (tiny.normal(rng, 1, *shape) for shape in ((2, 2, 14), (2, tiny.WORDS, 5)))
    words = np.array([[4, 7, 3, 0, 0], [2, 3, 4, 5, 6]], "int32")
    found = list(attentions(layer, [positions, vectors, words[None] > 0], words))
    for k, (ids, parts) in enumerate(found):
        np.testing.assert_array_equal(ids, words[k][words[k] > 0])
        each = pairs(layer, positions[0], vectors[0, k, : len(ids)].astype("float64"))
        for over, wanted in (("positions", each.sum(axis=2)), ("words", each.sum(axis=3))):
            np.testing.assert_allclose(parts[over].mean, wanted.mean(axis=0), atol=1e-5)
            choices = wanted.shape[-1] - (mode == "pair")
            assert parts[over].entropy == pytest.approx(entropy(wanted, choices).mean(), abs=1e-5)
            assert parts[over].has_choice


def test_the_entropy_of_an_average_is_1_whatever_is_left_out():
    from keras_cmsa.evaluation.attention import averaged

    for left_out in (None, (np.eye(4) > 0)[None]):
        found = averaged([np.zeros((4, 4), "float32")] * 2, left_out)
        assert found.entropy == pytest.approx(1) and found.has_choice
    assert not averaged([np.zeros((3, 1), "float32")]).has_choice
    one_other = averaged([np.zeros((3, 2), "float32")] * 2, (np.eye(2) > 0)[:, None])
    assert not one_other.has_choice
    np.testing.assert_allclose(one_other.mean, 0.5)


def test_a_pair_attention_with_one_word_attends_to_nothing(seeded, records):
    from dataclasses import replace

    from keras_cmsa.evaluation.attention import attention_report

    records = [replace(r, expression="box") for r in records]
    rows = attention_report(tiny.model(attention="pair"), tiny.preprocessor(), records)
    assert {row["entropy"] for row in rows} == {None}


def test_one_vector_for_all_words_is_no_choice(seeded):
    from keras_cmsa.evaluation.attention import learnt_attentions

    model = tiny.model(sentence_vector=True)
    assert {over for _, _, over in learnt_attentions(model)} == {"positions"}


def test_the_measures_of_known_attentions():
    np.testing.assert_allclose(entropy(np.full((2, 4), 0.25), 4), 1, rtol=1e-6)
    np.testing.assert_allclose(entropy(np.eye(4), 4), 0, atol=1e-6)
    np.testing.assert_allclose(entropy(np.array([0.5, 0.5, 0, 0]), 4), 0.5, rtol=1e-6)
    assert distance(np.eye(2), np.eye(2)) == 0
    assert distance(np.eye(2), np.eye(2)[::-1]) == 1
    assert distance(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])) == 0.5


def test_words_that_two_sentences_share():
    one, other = among_shared(
        np.array([5, 6, 5, 9]), np.array([[0.1, 0.4, 0.2, 0.3]]),
        np.array([6, 8, 5]), np.array([[0.3, 0.6, 0.1]]),
    )  # fmt: skip
    np.testing.assert_allclose(one, [[0.3 / 0.7, 0.4 / 0.7]])
    np.testing.assert_allclose(other, [[0.25, 0.75]])
    assert among_shared(np.array([5]), one, np.array([5]), other) == (None, None)


@pytest.fixture
def records(tmp_path):
    """Three images; two sentences about each of the first two."""
    return tiny.several_of_each(tiny.records(tmp_path, 3), [2, 2, 1])


def test_the_report_is_the_mean_over_the_split(predictor, records):
    from keras_cmsa.evaluation.attention import attention_report

    model, preprocessor = predictor.model, predictor.preprocessor
    rows = attention_report(model, preprocessor, records)
    assert [(r["level"], r["over"]) for r in rows] == [
        (level, over) for level in ("Res3", "Res4", "Res5") for over in ("positions", "words")
    ]
    # From the literal form: one sentence of each image, and all of them for the entropy.
    import keras

    layer = model.attention_layers[2]
    features = keras.Model(model.input, layer.input)
    attention = {}
    for r in records:
        inputs = preprocessor([r.image()], [r.expression])
        positions, words, is_word = map(tiny.to_numpy, features(inputs, training=False))
        each = pairs(layer, positions[0], words[0, 0][is_word[0, 0]].astype("float64"))
        attention[r.image_id, r.expression] = each.sum(axis=2)
    (row,) = (r for r in rows if (r["level"], r["over"]) == ("Res5", "positions"))
    wanted = np.mean([entropy(alpha, alpha.shape[-1]).mean() for alpha in attention.values()])
    assert row["entropy"] == pytest.approx(wanted, abs=1e-5)
    of_image = {}
    for r in sorted(records, key=lambda r: (r.image_id, r.sentence_id)):
        of_image.setdefault(r.image_id, []).append(attention[r.image_id, r.expression].mean(axis=0))
    changes = [distance(*of_one) for of_one in of_image.values() if len(of_one) == 2]
    assert len(changes) == 2
    assert row["change_with_sentence"] == pytest.approx(np.mean(changes), abs=1e-5)
    # A sentence has the same words as the other, only more often.
    assert {r["change_with_sentence"] for r in rows if r["over"] == "words"} == {None}
    # The first sentence of each image on the next one.
    order = list(dict.fromkeys(r.image_id for r in records))
    firsts = {}
    for r in records:
        firsts.setdefault(r.image_id, r)
    changes = []
    for before, after in itertools.pairwise(order):
        inputs = preprocessor([firsts[after].image()], [firsts[before].expression])
        positions, words, is_word = map(tiny.to_numpy, features(inputs, training=False))
        each = pairs(layer, positions[0], words[0, 0][is_word[0, 0]].astype("float64"))
        own = attention[before, firsts[before].expression].mean(axis=0)
        changes.append(distance(each.sum(axis=2).mean(axis=0), own))
    assert row["change_with_image"] == pytest.approx(np.mean(changes), abs=1e-5)


def test_uniform_is_uniform_and_undone(predictor, records):
    from keras_cmsa.evaluation.attention import attention_report, uniform
    from keras_cmsa.evaluation.evaluate import evaluate
    from keras_cmsa.evaluation.scores import summarize
    from keras_cmsa.models.cmsa import with_attention

    model, preprocessor = predictor.model, predictor.preprocessor
    layers, inputs = (model.attention_layers, preprocessor([records[0].image()], ["red box on"]))
    before = tiny.weights_of(layers[1])
    rows = {(r["level"], r["over"]): r for r in attention_report(model, preprocessor, records)}
    with uniform(layers[1], "positions"):
        found = tiny.to_numpy(with_attention(model)(inputs)["position_attention"])[0, 0]
        iou = summarize(evaluate(model, preprocessor, records))["overall_iou"]
    np.testing.assert_allclose(found[1], 1 / found[1].size, rtol=1e-5)
    assert np.ptp(found[0]) > 1e-3 and np.ptp(found[2]) > 1e-3
    assert rows["Res4", "positions"]["overall_iou_uniform"] == iou
    with uniform(layers[2], "words"):
        found = tiny.to_numpy(with_attention(model)(inputs)["word_attention"])[0, 0]
    np.testing.assert_allclose(found[2][:3], 1 / 3, rtol=1e-5)
    assert np.ptp(found[1][:3]) > 1e-3
    for name, value in tiny.weights_of(layers[1]).items():
        np.testing.assert_array_equal(value, before[name])
    as_trained = summarize(evaluate(model, preprocessor, records))["overall_iou"]
    assert {row["overall_iou"] for row in rows.values()} == {as_trained}
    assert any(row["overall_iou_uniform"] != as_trained for row in rows.values())


def test_what_a_mode_does_not_learn_is_not_reported(seeded, records):
    from keras_cmsa.evaluation.attention import attention_report

    preprocessor = tiny.preprocessor()
    rows = attention_report(tiny.model(attention="word"), preprocessor, records)
    assert {row["over"] for row in rows} == {"words"}
    with pytest.raises(ValueError, match="which has none"):
        attention_report(tiny.model(attention="none"), preprocessor, records)
