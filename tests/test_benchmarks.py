"""The benchmarks at tiny sizes: they run, their JSON has what it should, the forms agree."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.keras

# Memory is read from /proc.
linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
on_tensorflow = pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="exports need TensorFlow"
)
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TIMING = {"name", "seconds", "cpu_seconds", "ratio", "cpu_ratio"}


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of scripts, importable as it is to a script in it."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def names(rows):
    assert all(set(row) == TIMING and row["seconds"] > 0 for row in rows)
    return [row["name"] for row in rows]


def test_attention_writes_its_measurements(benchmarks, tmp_path):
    import attention

    output = tmp_path / "new" / "attention.json"
    attention.main(
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
        output=output,
    )
    results = json.loads(output.read_text())
    assert results["settings"] == {"side": 3, "words": 4, "width": 8, "repeats": 1}
    forms = results["forms"]
    assert names(forms["forward"]) == ["plain", "factorised", "word by word", "literal"]
    assert names(forms["forward_backward"]) == ["plain", "factorised", "word by word"]
    for rows in results["layers"].values():
        assert names(rows) == ["plain layer", "layer"]
    for error in forms["agreement"].values():
        assert error < 1e-5
    assert [row["words"] for row in results["growth"]["words"]] == [1]
    assert results["growth"]["image side"] == []
    assert set(results["targets"]) == set(attention.TARGETS) - {"memory_below_literal"}


@pytest.mark.parametrize("words", [1, 3])
def test_literal_and_factorised_forms_agree(benchmarks, words):
    import attention

    parts = attention.draw_parts(positions=6, words=words, width=4)
    value = attention.factorised(*parts)
    assert value.shape == (1, 6, 4)
    assert attention.relative_error(value, attention.literal(*parts)) < 1e-5
    chunked = attention.factorised(*parts, query_chunk=4)
    assert attention.relative_error(chunked, value) < 1e-5


def test_model_writes_its_measurements(benchmarks, tmp_path):
    import model

    output = tmp_path / "model.json"
    model.main(image_size=16, repeats=1, small=True, memory=False, output=output)
    results = json.loads(output.read_text())
    assert names(results["forward"]) == ["backbone", "model"]
    assert 0 < results["parameters"]["backbone"] < results["parameters"]["model"]
    assert results["training_step"] is None
    assert set(results["targets"]) == {"forward_over_backbone"}


@linux
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside TFDS
@pytest.mark.filterwarnings("ignore:counts differ")
def test_pipeline_writes_its_measurements(benchmarks, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    import pipeline

    output = tmp_path / "pipeline.json"
    pipeline.main(
        images=3, image_size=32, batch_size=2, rounds=1, long_passes=2, scenes=2, output=output
    )
    results = json.loads(output.read_text())
    assert set(results["targets"]) == set(pipeline.TARGETS)
    assert results["rates"]["floor"]["over_floor"] == 1
    assert all(row["per_core_second"] > 0 for row in results["rates"].values())
    assert len(results["memory"]["megabytes_after_pass"]) == 2
    assert results["seconds_to_first_batch"] > 0


@pytest.mark.slow
@linux
def test_training_step_is_weighed_in_another_process(benchmarks):
    import model
    from measure import in_fresh_process

    step = in_fresh_process(model.training_step, 16, True, 1)
    assert step["batch"] == 1
    assert step["peak_bytes"] > step["peak_bytes_above_model"] > 0


def weigh_64_megabytes():
    import keras
    import measure

    return measure.peak_memory(lambda: keras.ops.ones((16, 1024, 1024)))


@linux
def test_peak_memory_is_that_of_the_call(benchmarks):
    from measure import in_fresh_process

    above, total = in_fresh_process(weigh_64_megabytes)
    assert 60e6 < above < 300e6
    assert total > above


def test_targets_are_compared(benchmarks):
    from measure import check_targets

    checked = check_targets({"speed": 3, "size": 3.0}, {"speed": (">=", 2), "size": ("<=", 2)})
    assert checked["speed"] == {"value": 3, "target": ">= 2", "met": True}
    assert not checked["size"]["met"]


def test_unknown_backend_is_named(benchmarks, monkeypatch):
    import keras
    import measure

    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match="Received: 'numpy'"):
        measure.compiled(None, ())


def test_predictor_writes_its_measurements(benchmarks, tmp_path):
    import predictor

    output = tmp_path / "predictor.json"
    # A large photo has pixels on the threshold to rounding, where random weights decide.
    predictor.main(
        image_size=16,
        sentences=2,
        length=3,
        repeats=1,
        small=True,
        photo_size=(24, 32),
        output=output,
    )
    results = json.loads(output.read_text())
    assert names(results["timings"]) == ["at once", "calls", "model"]
    assert results["pixels_that_differ"] == 0
    assert 0 < results["share_of_pixels_found"] < 1
    assert set(results["targets"]) == set(predictor.TARGETS)


@on_tensorflow
def test_serving_writes_its_measurements(benchmarks, tmp_path):
    pytest.importorskip("tensorflow_serving")
    import serving

    output = tmp_path / "serving.json"
    serving.main(
        image_size=16, small=True, batches=(1, 2), clients=3, seconds=1, repeats=1, output=output
    )
    results = json.loads(output.read_text())
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


@on_tensorflow
def test_artefacts_writes_its_measurements(benchmarks, tmp_path, seeded):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    import artefacts
    import tiny

    tiny.refer_root(tmp_path / "data", {"train": 1, "val": 3})
    tiny.model().save(tmp_path / "model.keras")
    tiny.vocabulary().save(tmp_path / "vocabulary.txt")
    output = tmp_path / "artefacts.json"
    with pytest.warns(UserWarning, match="counts differ"):
        artefacts.main(
            tmp_path,
            tmp_path / "data",
            forms=("SavedModel", "SavedModel, bfloat16", "ONNX, folded", "LiteRT"),
            samples=2,
            repeats=1,
            output=output,
        )
    results = json.loads(output.read_text())
    exact, *others = results["forms"]
    assert exact["pixels_that_differ"] == 0 and len(others) == 3
    assert names(results["timings"]) == [row["name"] for row in results["forms"]]
    assert all(0 <= row["pixels_that_differ"] < 0.2 for row in others)
    sizes = {row["name"]: row["bytes"] for row in results["forms"]}
    assert sizes["SavedModel, bfloat16"] < sizes["SavedModel"]
