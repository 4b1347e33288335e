"""The attention's benchmark: it weighs what it says, and its forms agree."""

import json

import numpy as np
import pytest
from benchmarking import (
    check_targets,
    compiles,
    linux,
    names,
)

pytestmark = pytest.mark.keras


@pytest.mark.slow
@compiles
def test_attention_writes_its_measurements(tmp_path):
    import attention

    output = tmp_path / "new" / "attention.json"
    options = attention.Options(
        side=3,
        words=4,
        width=8,
        visual_dim=6,
        word_dim=5,
        repeats=1,
        growth_repeats=1,
        growth_words=(1,),
        growth_sides=(),
        memory=False,
    )
    attention.main(options=options, output=output)
    results = json.loads(output.read_text())
    assert results["settings"]["side"] == 3 and results["settings"]["words"] == 4
    forms = results["forms"]
    assert names(forms["forward"]) == ["plain", "bare", "factorised", "word by word", "literal"]
    assert names(forms["forward_backward"]) == ["plain", "bare", "factorised", "word by word"]
    for rows in results["layers"].values():
        assert names(rows) == ["plain layer", "layer"]
    for error in forms["agreement"].values():
        assert error < 1e-5
    assert [row["words"] for row in results["growth"]["words"]] == [1]
    assert results["growth"]["image side"] == []
    forward, backward = (
        {row["name"]: row for row in forms[name]} for name in ("forward", "forward_backward")
    )
    factor = forward["literal"]["seconds"] / forward["factorised"]["seconds"]
    check_targets(
        results,
        forward_times_faster_than_literal=factor,
        forward_over_plain=forward["factorised"]["ratio"],
        forward_backward_over_plain=backward["factorised"]["ratio"],
    )


@pytest.mark.parametrize("words", [1, 3])
def test_literal_and_factorised_forms_agree(seeded, words):
    import forms
    import measure
    from attention import relative_error

    parts = forms.draw_parts(positions=6, words=words, width=4)
    value = forms.factorised(*parts)
    assert value.shape == (1, 6, 4)
    assert relative_error(value, forms.literal(*parts)) < 1e-5
    for form in (forms.fused, forms.bare):
        assert relative_error(value, form(*parts)) < 1e-5
    chunked = forms.factorised(*parts, query_chunk=4)
    assert relative_error(chunked, value) < 1e-5
    # The gradients by both parts of query, key and value.
    gradients = [
        measure.with_gradient(form)(*parts)
        for form in (forms.factorised, forms.literal, forms.fused, forms.bare)
    ]
    assert len(gradients[0]) == 6
    for found, *others in zip(*gradients):
        for wanted in others:
            assert np.abs(seeded.ops.convert_to_numpy(found - wanted)).max() < 1e-6


@pytest.mark.slow
@linux
def test_attention_weighs_a_level(tmp_path):
    import attention

    output = tmp_path / "level.json"
    options = attention.Options(
        words=4, width=8, visual_dim=6, word_dim=5, growth_words=(), growth_sides=(),
        level_sides=(128, 384), forms=False,
    )  # fmt: skip
    attention.main(options=options, output=output)
    results = json.loads(output.read_text())
    assert results["forms"] is results["layers"] is results["memory"] is None
    small, large = results["level"]
    assert (small["positions"], large["positions"]) == (256, 2304)
    assert (small["query_chunk"], large["query_chunk"]) == (None, 1152)
    assert 0 < small["bytes"] < large["bytes"]
    ratio = large["bytes_per_position"] / small["bytes_per_position"]
    check_targets(results, level_gigabytes=large["bytes"] / 1e9, level_bytes_per_position=ratio)
