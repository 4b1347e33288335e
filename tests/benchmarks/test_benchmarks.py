"""Each benchmark at its smallest writes what it measures, and the verdicts that follow."""

import pytest
import tiny
from benchmarking import check_targets, compiles, linux, measured, names, on_tensorflow

pytestmark = pytest.mark.keras


@pytest.mark.slow
@on_tensorflow
@pytest.mark.filterwarnings("ignore:counts differ")
def test_artefacts_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    root = tiny.refer_root(tmp_path / "data", {"train": 1, "val": 3})
    forms = ["Keras", "SavedModel", "SavedModel, bfloat16", "ONNX", "LiteRT"]
    options = {"model": str(preset), "data_dir": root, "forms": forms, "samples": 2, "repeats": 1}
    results = measured("artefacts", tmp_path, **options)
    assert results["samples"] == 2
    exact, *others = results["forms"]
    assert exact["pixels_that_differ"] == 0 and len(others) == 4
    assert names(results["timings"]) == [row["name"] for row in results["forms"]] == forms
    assert all(0 <= row["pixels_that_differ"] < 0.2 for row in others)
    sizes = {row["name"]: row["bytes"] for row in results["forms"]}
    assert sizes["SavedModel, bfloat16"] < sizes["SavedModel"]


@on_tensorflow
def test_artefacts_names_an_unknown_form(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ValueError, match=r"Received: \['PNG'\]"):
        measured("artefacts", tmp_path, forms=("PNG",))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:counts differ from the published")
def test_evaluation_writes_its_measurements(tmp_path):
    root = tiny.refer_root(tmp_path / "refer", {"val": 4})
    results = measured("evaluation", tmp_path, data_dir=root, images=3, image_size=16, small=True)
    assert results["sentences"] == results["images"] == 3
    assert names(results["timings"]) == ["at once", "one by one"]
    assert 0 < results["overall_iou"]["at once"] < 1
    check_targets(results, times_faster=results["timings"][1]["ratio"], difference_of_iou=0)


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
    speed = {
        mode: results[mode][-1]["gflops"] / results[mode][0]["gflops"]
        for mode in ("forward", "forward_backward")
    }
    check_targets(
        results,
        forward_of_matmul=pytest.approx(speed["forward"]),
        forward_backward_of_matmul=pytest.approx(speed["forward_backward"]),
    )


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
    # Medians of one round are its own numbers.
    per_core = rates["per_core_second"] / floor["per_core_second"]
    feeding = results["feeding"]
    assert feeding["multiply_adds_per_row"] == 10**12  # 2e12 operations at 989e12 a second
    assert feeding["rows_wanted_per_second"] == pytest.approx([0.3 * 494.5, 0.4 * 494.5])
    fed = [cores * feeding["rows_per_core_second"] for cores in feeding["cores"]]
    assert fed == pytest.approx(feeding["rows_wanted_per_second"])
    memory, shapes = results["memory"], results["ref_shapes"]
    assert len(memory["megabytes_after_pass"]) == 2 and results["seconds_to_first_batch"] > 0
    before, after = memory["megabytes_after_pass"]
    check_targets(
        results,
        pipeline_over_floor_per_core=pytest.approx(per_core),
        memory_growth_mb=after - before,
        scenes_per_second_of_two_cores=2 * shapes["scenes_per_core_second"],
    )


@compiles
def test_released_writes_its_measurements(tmp_path, monkeypatch):
    import released

    from keras_cmsa.models.backbones import small_resnet

    monkeypatch.setattr(released, "deeplab_resnet101", small_resnet)
    results = measured("released", tmp_path, image_size=16, repeats=1, memory=False)
    assert names(results["forward"]) == ["backbone", "20 words", "8 words"]
    assert results["peak_bytes"] == {} and results["targets"] == {}


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
