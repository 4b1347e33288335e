"""The attention's benchmark: it weighs what it says, and its forms agree."""

import numpy as np
import pytest
import tiny
from benchmarking import compiles, linux, measured, names, targets_of

pytestmark = pytest.mark.keras
SIZES = {"words": 4, "width": 8, "visual_dim": 6, "word_dim": 5}


@pytest.mark.slow
@compiles
def test_attention_writes_its_measurements(tmp_path):
    options = {"repeats": 1, "growth_repeats": 1, "growth_words": (1, 2), "growth_sides": ()}
    results = measured("attention", tmp_path, side=3, memory=False, **SIZES, **options)
    assert results["settings"]["side"] == 3 and results["settings"]["words"] == 4
    forward, backward = (results["forms"][name] for name in ("forward", "forward_backward"))
    assert names(forward) == ["plain", "factorised", "literal"]
    assert names(backward) == ["plain", "factorised"]
    for rows in results["layers"].values():
        assert names(rows) == ["plain layer", "layer"]
    assert list(results["growth"]) == ["words"]
    for rows in results["growth"]["words"].values():
        assert names(rows) == ["N = 1", "N = 2"]
    assert targets_of(results) == [
        "forward_times_faster_than_literal", "forward_over_plain", "forward_backward_over_plain",
    ]  # fmt: skip


@pytest.mark.parametrize("words", [1, 3])
def test_literal_and_factorised_forms_agree(seeded, words):
    import forms
    import measure

    parts = forms.draw_parts(positions=6, words=words, width=4)
    value = forms.literal(*parts)
    assert value.shape == (1, 6, 4)
    for form in (forms.factorised, forms.fused):
        tiny.assert_near(form(*parts), tiny.to_numpy(value))
    tiny.assert_near(forms.factorised(*parts, query_chunk=4), tiny.to_numpy(value))
    # The gradients by both parts of query, key and value.
    gradients = [
        measure.with_gradient(form)(*parts)
        for form in (forms.factorised, forms.literal, forms.fused)
    ]
    assert len(gradients[0]) == 6
    for found, *others in zip(*gradients):
        for wanted in others:
            assert np.abs(seeded.ops.convert_to_numpy(found - wanted)).max() < 1e-6


@pytest.mark.slow
@linux
def test_attention_weighs_a_level(tmp_path):
    options = {"growth_words": (), "growth_sides": (), "level_sides": (128, 384), "forms": False}
    results = measured("attention", tmp_path, **SIZES, **options)
    assert results["forms"] == results["layers"] == results["memory"] == results["growth"] == {}
    small, large = results["level"]
    assert (small["positions"], large["positions"]) == (256, 2304)
    assert (small["query_chunk"], large["query_chunk"]) == (None, 1152)
    assert 0 < small["bytes"] < large["bytes"]
    assert targets_of(results) == ["level_gigabytes", "level_bytes_per_position"]
