"""The benchmark of explanations: time, and the word that an expression hinges on."""

import dataclasses

import pytest
import tiny
from benchmarking import check_targets, measured, names

pytestmark = pytest.mark.keras


@pytest.mark.slow
def test_explanations_writes_its_measurements(tmp_path):
    results = measured("explanations", tmp_path, image_size=16, length=3, repeats=1, small=True)
    assert names(results["timings"]) == ["prediction", "explanation"]
    check_targets(results, explanation_per_prediction=results["timings"][1]["ratio"])


def test_the_word_that_an_expression_hinges_on():
    """Of a red circle, a blue circle and a red star, all plain and of medium size."""
    from explanations import hinges

    things = [("circle", "red"), ("circle", "blue"), ("star", "red")]
    annotations = [
        {
            "image_id": 7,
            "segmentation": [[number]],
            "attributes": {
                "shape": s,
                "colour": c,
                "size": "medium",
                "texture": "plain",
            },
        }
        for number, (s, c) in enumerate(things)
    ]

    def found(expression, number):
        record = tiny.record("a.png", tiny.box(4, 4, 0, 0, 2, 2), expression, 7)
        record = dataclasses.replace(record, segmentation=[[number]])
        return [place for _, place in hinges([record], annotations)]

    assert found("the blue circle", 1) == [1]  # "circle" may go: nothing else is blue
    assert found("blue one", 1) == [0]
    assert found("plain star", 2) == [1]
    assert found("red circle", 0) == []  # both words count
    assert found("star on the left", 2) == []  # not of attributes alone
    assert found("the circle", 0) == []  # refers to no one thing
