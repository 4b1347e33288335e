"""The model's benchmark."""

import pytest
from benchmarking import check_targets, compiles, linux, measured, names

pytestmark = pytest.mark.keras


@compiles
def test_model_writes_its_measurements(tmp_path):
    results = measured("model", tmp_path, image_size=16, repeats=1, small=True, memory=False)
    forms = ["backbone", "model, 1", "model, 4", "model, 8"]
    forms += ["backbone, folded", "model, 1, folded"]
    assert names(results["forward"]) == forms
    seconds = {row["name"]: row["seconds"] for row in results["forward"]}
    small, whole = results["parameters"].values()
    assert 0 < small < whole
    assert results["training_steps"] == []
    check_targets(
        results,
        forward_over_backbone=seconds["model, 1"] / seconds["backbone"],
        folded_forward_over_backbone=seconds["model, 1, folded"] / seconds["backbone"],
        forward_per_sentence_of_4=seconds["model, 4"] / 4 / seconds["model, 1"],
        forward_per_sentence_of_8=seconds["model, 8"] / 8 / seconds["model, 1"],
    )


def test_the_model_has_the_sizes_of_the_recipes():
    import model

    from keras_cmsa.recipes.unc import SMALL

    assert model.recipe(320, small=False).word_dim == 1000
    network, backbone = model.build(16, small=True)
    assert network.get_layer("word_vectors").output_dim == SMALL["word_dim"]
    assert network.get_layer("score").input.shape[-1] == SMALL["fusion_dim"]
    assert backbone.input_shape == (None, 16, 16, 3)


@pytest.mark.slow
@linux
def test_training_step_is_weighed_in_another_process():
    import model
    from measure import in_fresh_process

    # PyTorch's convolution on the CPU has no gradient for the layout of a batch of one.
    step = in_fresh_process(model.training_step, 16, True, 2, 3)
    assert step["name"] == "2 x 3"
    assert step["peak_bytes"] > step["peak_bytes_above_model"] > 0
