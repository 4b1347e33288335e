"""What the tables of existence ask about, and what counts as a planted word that is named."""

import json
from types import SimpleNamespace

import pytest
import tiny

from keras_cmsa.explain import word_importance


@pytest.fixture
def table(recipes):
    import existence_table

    return existence_table


def test_a_sentence_of_another_image_fits_nothing(table, tmp_path):
    records = tiny.records(tmp_path, 12)
    absent = table.of_other_images(records)
    assert {record.image_id for record in absent} > {0, 1}
    sentences = {record.expression for record in records}
    for record in absent:
        own = records[record.image_id]
        assert record.targets == 0 and record.image_path == own.image_path
        assert record.expression == record.raw and record.expression in sentences
        # A word of it is about nothing in the image.
        assert set(record.expression.split()) - set(own.expression.split())


def test_a_planted_word_must_come_first_in_a_sentence_that_is_refused(table, tmp_path, monkeypatch):
    planted = {0: "red", 1: "red", 2: "red", 3: "red"}
    sentences = [{"sent_id": number, "planted": word} for number, word in planted.items()]
    refs = [{"sentences": [*sentences, {"sent_id": 4, "planted": ""}, {"sent_id": 5}]}]
    (tmp_path / "grefcoco").mkdir()
    (tmp_path / "grefcoco/grefs(unc).json").write_text(json.dumps(refs))
    assert table.planted_words(tmp_path) == planted

    # Existence of the sentence, then of it without "red" and without "box".
    found = iter([(0.1, 0.9, 0.8), (0.1, 0.8, 0.9), (0.6, 0.9, 0.8), (0.1, 0.2, 0.3)])

    def explain_words(predictor, image, words):
        whole, *without = next(found)
        words = [SimpleNamespace(word=w, existence=e) for w, e in zip(("red", "box"), without)]
        return {"exists": whole}, words

    monkeypatch.setattr(word_importance, "explain_words", explain_words)
    predictor = SimpleNamespace(threshold=0.5, read=lambda sentences: sentences)
    # Of the three that are refused, the first alone names "red"; the last record has none planted.
    assert table.named(predictor, tiny.records(tmp_path, 5), planted) == pytest.approx(1 / 3)
    assert table.named(predictor, [], planted) == 0
