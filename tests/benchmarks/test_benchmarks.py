"""Each benchmark at its smallest writes what it measures, and the verdicts that follow."""

import dataclasses

import numpy as np
import pytest
import tiny
from benchmarking import BACKEND, compiles, linux, measured, names, on_tensorflow, targets_of

pytestmark = pytest.mark.keras


@pytest.mark.slow
@on_tensorflow
@pytest.mark.filterwarnings("ignore:counts differ")
@pytest.mark.usefixtures("tensors_alone")
def test_artefacts_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    root = tiny.refer_root(tmp_path / "data", {"train": 1, "val": 3})
    forms = ["TensorFlow", "SavedModel, bfloat16", "ONNX", "LiteRT"]
    options = {"forms": forms, "samples": 2, "repeats": 1, "memory": False}
    results = measured("artefacts", tmp_path, model=str(preset), data_dir=root, **options)
    assert results["samples"] == 2
    exact, *others = results["forms"]
    assert exact["pixels_that_differ"] == 0 and len(others) == 3
    assert names(results["timings"]) == [row["name"] for row in results["forms"]] == forms
    assert all(0 <= row["pixels_that_differ"] < 0.2 and row["bytes"] > 0 for row in others)


@pytest.mark.slow
@compiles
def test_parts_writes_its_measurements(tmp_path):
    pytest.importorskip("jax")
    sizes = {"image_size": 16, "sentences": 2, "matmul_side": 32}
    results = measured("parts", tmp_path, repeats=1, small=True, **sizes)
    for mode in ("forward", "forward_backward"):
        product, *each, whole = results[mode]
        assert product["multiply_adds"] == 32**3
        assert [row["name"] for row in each] == [
            "backbone", "words", "attention res3", "attention res4", "attention res5", "fusion"
        ]  # fmt: skip
        if mode == "forward":  # the backward pass of a part also reaches what is not trained
            assert sum(row["multiply_adds"] for row in each) == whole["multiply_adds"]
    assert targets_of(results) == ["forward_of_matmul", "forward_backward_of_matmul"]


@pytest.mark.slow
@linux
def test_pipeline_writes_its_measurements(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
    import pipeline

    # test_parts_writes_its_measurements counts.
    monkeypatch.setattr(pipeline, "step_multiply_adds", lambda image_size, sentences: 10**12)
    sizes = {"images": 3, "image_size": 32, "batch_size": 2, "long_passes": 2, "scenes": 2}
    results = measured("pipeline", tmp_path, repeats=1, **sizes)
    floor, rates = results["rates"]
    assert (floor["name"], rates["name"]) == ("floor", "pipeline")
    assert rates["per_second"] == 9 / rates["seconds"]
    feeding = results["feeding"]
    assert feeding["multiply_adds_per_row"] == 10**12  # 2e12 operations at 989e12 a second
    assert feeding["rows_wanted_per_second"] == pytest.approx([0.3 * 494.5, 0.4 * 494.5])
    fed = [cores * feeding["rows_per_core_second"] for cores in feeding["cores"]]
    assert fed == pytest.approx(feeding["rows_wanted_per_second"])
    assert len(results["memory"]["megabytes_after_pass"]) == 2
    assert targets_of(results) == [
        "pipeline_over_floor_per_core", "memory_growth_mb", "scenes_per_second_of_two_cores",
    ]  # fmt: skip


@pytest.mark.slow
@on_tensorflow
def test_features_writes_its_measurements(tmp_path):
    sizes = {"eyes": ("MobileNetV3Small",), "photos": 2, "sentences": 2, "image_size": 64}
    results = measured("features", tmp_path, repeats=1, **sizes)
    (row,) = results["eyes"]
    assert row["ratio"] == row["seconds_without"] / row["seconds_with_features"]
    # The maps of 4 x 4 three times, of 8 x 8 and 16 x 16, in float16.
    assert row["mb_per_photo"] == 2 * (16 * (24 + 48 + 96) + 64 * 24 + 256 * 16) / 1e6


@pytest.mark.slow
@on_tensorflow
def test_serving_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("tensorflow_serving")
    options = {"model": str(preset), "batches": (1, 2), "clients": 3, "seconds": 1}
    results = measured("serving", tmp_path, repeats=1, **options)
    assert results["system"] == "cmsa"
    assert names(results["latency"]) == [
        "predict_on_batch, backbone",
        "predict_on_batch, model",
        "SavedModel, tensors",
        "SavedModel, file to mask",
    ]
    assert [row["name"] for row in results["batches"]] == ["batch 1", "batch 2"]
    assert all(row["images_per_second"] > 0 for row in results["batches"])
    load = results["load"]
    assert load["errors"] == 0 and load["answers"] >= load["clients"] == 3
    assert 0 < load["p50_seconds"] <= load["p99_seconds"]


def test_the_word_that_an_expression_hinges_on():
    """Of a red circle, a blue circle and a red star, all plain and of medium size."""
    from explanations import hinges

    things = [("circle", "red"), ("circle", "blue"), ("star", "red")]
    annotations = [
        {
            "image_id": 7,
            "segmentation": [[number]],
            "attributes": {"shape": s, "colour": c, "size": "medium", "texture": "plain"},
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


@pytest.mark.slow
@linux
def test_gpu_writes_its_measurements(tmp_path):
    sizes = {"image_sizes": (16,), "sentences": (2,), "words": (3,)}
    results = measured("gpu", tmp_path, repeats=1, small=True, **sizes)
    assert results["environment"]["backend"] == BACKEND and results["environment"]["chip"]
    assert list(results["model"]) == ["forward, 16 pixels", "training, 16 pixels"]
    for backbone, two in results["model"].values():
        assert backbone["sentences_per_second"] == 0 < backbone["images_per_second"]
        assert two["images_per_second"] == 2 / two["seconds"]
        assert two["sentences_per_second"] == 4 / two["seconds"]
    for rows in results["attention"].values():
        assert [row["name"] for row in rows] == ["factorised", "fused"]
        assert all(row["seconds"] > 0 and row["peak_bytes"] > 0 for row in rows)
    assert targets_of(results) == [
        "forward_over_backbone", "training_over_backbone", "fused_over_factorised",
    ]  # fmt: skip


@linux
@pytest.mark.parametrize(
    "message", ["CUDA out of memory. Tried to allocate 2 GiB", "RESOURCE_EXHAUSTED: 2 GiB"]
)
def test_gpu_tells_memory_from_other_errors(message):
    import gpu

    def fail(message):
        raise RuntimeError(message)

    assert gpu.measured(lambda: fail(message), 1) == {"note": "does not fit"}
    with pytest.raises(RuntimeError, match="wrong shape"):
        gpu.measured(lambda: fail("wrong shape"), 1)


@compiles
def test_model_writes_its_measurements(tmp_path):
    results = measured("model", tmp_path, image_size=16, repeats=1, small=True, memory=False)
    forms = ["backbone", "model, 1", "model, 4", "model, 8"]
    forms += ["backbone, folded", "model, 1, folded"]
    assert names(results["forward"]) == forms
    small, whole = results["parameters"].values()
    assert 0 < small < whole and results["training_steps"] == []
    assert targets_of(results) == [
        "forward_over_backbone", "folded_forward_over_backbone", "forward_per_sentence_of_4",
        "forward_per_sentence_of_8",
    ]  # fmt: skip


def test_the_model_has_the_sizes_of_the_recipes():
    import model

    from keras_cmsa.recipes.unc import SMALL

    assert model.recipe(320, small=False).word_dim == 1000
    network, backbone = model.build(16, small=True)
    assert network.get_layer("word_vectors").output_dim == SMALL["word_dim"]
    assert network.get_layer("score").input.shape[-1] == SMALL["fusion_dim"]
    assert backbone.input_shape == (None, 16, 16, 3)
    refined, finer = model.build(16, True, "cmsa_refined")
    assert refined.name == "cmsa_refined" and len(finer.outputs) == 4


@pytest.mark.slow
@linux
def test_training_step_is_weighed_in_another_process():
    import model
    from measure import in_fresh_process

    # PyTorch's convolution on the CPU has no gradient for the layout of a batch of one.
    step = in_fresh_process(model.training_step, 16, True, "cmsa", 2, 3)
    assert step["name"] == "2 x 3"
    assert step["peak_bytes"] > step["peak_bytes_above_model"] > 0


def test_predictor_counts_pixels_on_the_threshold_apart():
    """A batch of another size may round them otherwise; any other difference is a miss."""
    import predictor

    found = np.array([0.2, 0.5 - 4e-6, 0.5 + 4e-6, 0.5 + 4e-5, 0.9])
    mask = found >= 0.5
    counts = predictor.count_differences(mask, [mask, ~mask], found)
    assert counts == {"pixels_that_differ": 3, "pixels_of_rounding": 2}


@pytest.mark.slow
def test_predictor_writes_its_measurements(tmp_path):
    # A large photo has pixels on the threshold to rounding, where random weights decide.
    sizes = {"image_size": 16, "sentences": 2, "length": 3, "photo_size": (24, 32)}
    results = measured("predictor", tmp_path, repeats=1, small=True, **sizes)
    assert names(results["timings"]) == ["at once", "calls", "model"]
    assert 0 < results["share_of_pixels_found"] < 1 and results["pixels_that_differ"] == 0
    assert targets_of(results) == ["faster_than_passes", "pixels_that_differ"]


@pytest.mark.slow
def test_explanations_writes_its_measurements(tmp_path):
    results = measured("explanations", tmp_path, image_size=16, length=3, repeats=1, small=True)
    assert names(results["timings"]) == ["prediction", "explanation"]
    assert targets_of(results) == ["explanation_per_prediction"]
