"""The benchmarks at tiny sizes: they run, their JSON is consistent, the forms agree."""

import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tiny

pytestmark = pytest.mark.keras

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TIMING = {"name", "seconds", "cpu_seconds", "ratio", "cpu_ratio"}
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")

linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux' /proc"
)
compiles = pytest.mark.skipif(
    BACKEND == "torch", reason="this benchmark compiles, with tf.function or jax.jit only"
)
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="exports need TensorFlow")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """The folder of scripts, importable as it is to a script in it."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def names(rows):
    assert all(set(row) == TIMING and row["seconds"] > 0 for row in rows)
    return [row["name"] for row in rows]


def check_targets(results, **values):
    """The measured values stand beside the targets, each with the verdict that follows."""
    assert {name: row["value"] for name, row in results["targets"].items()} == values
    for row in results["targets"].values():
        sign, bound = row["target"].split()
        above = row["value"] >= float(bound)
        assert row["met"] == (above if sign == ">=" else not above or row["value"] == float(bound))


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
    assert names(forms["forward"]) == ["plain", "factorised", "word by word", "literal"]
    assert names(forms["forward_backward"]) == ["plain", "factorised", "word by word"]
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
    import attention
    import measure

    parts = attention.draw_parts(positions=6, words=words, width=4)
    value = attention.factorised(*parts)
    assert value.shape == (1, 6, 4)
    assert attention.relative_error(value, attention.literal(*parts)) < 1e-5
    assert attention.relative_error(value, attention.fused(*parts)) < 1e-5
    chunked = attention.factorised(*parts, query_chunk=4)
    assert attention.relative_error(chunked, value) < 1e-5
    # The gradients by both parts of query, key and value.
    gradients = [
        measure.with_gradient(form)(*parts)
        for form in (attention.factorised, attention.literal, attention.fused)
    ]
    assert len(gradients[0]) == 6
    for found, of_literal, of_fused in zip(*gradients):
        for wanted in (of_literal, of_fused):
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


@compiles
def test_model_writes_its_measurements(tmp_path):
    import model

    output = tmp_path / "model.json"
    model.main(image_size=16, repeats=1, small=True, memory=False, output=output)
    results = json.loads(output.read_text())
    forms = ["backbone", "plain, 1", "model, 1", "model, 4", "model, 8"]
    assert names(results["forward"]) == forms
    seconds = {row["name"]: row["seconds"] for row in results["forward"]}
    small, whole = results["parameters"].values()
    assert 0 < small < whole
    assert results["training_steps"] == []
    check_targets(
        results,
        forward_over_backbone=seconds["model, 1"] / seconds["backbone"],
        forward_per_sentence_of_4=seconds["model, 4"] / 4 / seconds["plain, 1"],
        forward_per_sentence_of_8=seconds["model, 8"] / 8 / seconds["plain, 1"],
    )


def test_the_plain_form_is_the_model(seeded, rng):
    """The same weights give the same logits for one sentence."""
    import model

    network, _ = model.build(16, small=True)
    plain, _ = model.build(16, small=True, plain=True)
    weights = {w.path: w for w in tiny.shaken(network, rng).weights}
    for weight in plain.weights:
        path = weight.path
        for i, level in enumerate(("res3", "res4", "res5"), 1):
            path = path.replace(f"reduction_{i}/", f"attention_{level}/reduction_")
        value = weights.pop(path)
        weight.assign(seeded.ops.reshape(value, weight.shape))
    assert not weights
    inputs, _ = model.draw_batch(network, 2)
    wanted = tiny.to_numpy(network(inputs, training=False))
    tiny.assert_near(plain(inputs, training=False), wanted)


def test_the_model_has_the_sizes_of_the_recipes():
    import model

    from keras_cmsa.training.settings import SMALL

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


@pytest.mark.slow
@linux
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside TFDS
@pytest.mark.filterwarnings("ignore:counts differ")
def test_pipeline_writes_its_measurements(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
    pytest.importorskip("tensorflow_datasets")
    import pipeline

    # test_parts_writes_its_measurements counts.
    monkeypatch.setattr(pipeline, "step_multiply_adds", lambda image_size, sentences: 10**12)
    output = tmp_path / "pipeline.json"
    options = pipeline.Options(
        images=3, image_size=32, batch_size=2, rounds=1, long_passes=2, scenes=2
    )
    pipeline.main(options=options, output=output)
    results = json.loads(output.read_text())
    floor, rates = (results["rates"][name] for name in ("floor", "pipeline"))
    # Medians of one round are its own numbers.
    assert rates["over_floor"] == pytest.approx(rates["per_second"] / floor["per_second"])
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


def weigh_64_megabytes():
    import keras
    import measure

    return measure.peak_memory(lambda: keras.ops.ones((16, 1024, 1024)))


@pytest.mark.slow
@linux
def test_peak_memory_is_that_of_the_call():
    from measure import in_fresh_process

    above, total = in_fresh_process(weigh_64_megabytes)
    assert 60e6 < above < 300e6
    assert total > above


def test_ratios_are_those_within_a_round():
    from measure import summary

    # The machine is three times slower in the second round, for both.
    times = {"base": [(1, 1), (3, 3), (1, 2)], "other": [(2, 1), (6, 3), (2, 2)]}
    base, other = summary(times, "base")
    assert (base["ratio"], other["ratio"], other["cpu_ratio"]) == (1, 2, 1)
    assert (other["seconds"], other["cpu_seconds"]) == (2, 2)


def test_targets_are_compared():
    from measure import check_targets as compare

    targets = {"speed": (">=", 2), "size": ("<=", 2), "unmeasured": ("<=", 2)}
    checked = compare({"speed": 3, "size": 3.0}, targets)
    assert checked["speed"] == {"value": 3, "target": ">= 2", "met": True}
    assert not checked["size"]["met"] and set(checked) == {"speed", "size"}


@pytest.mark.slow
@linux
def test_gpu_writes_its_measurements(tmp_path, capsys):
    """On whichever device there is; what does not fit says so."""
    import gpu

    output = tmp_path / "gpu.json"
    options = gpu.Options(
        image_sizes=(16,), sentences=(1, 2), words=(3,), repeats=1, small=True, memory=False
    )
    gpu.main(options=options, output=output)
    results = json.loads(output.read_text())
    assert results["environment"]["backend"] == BACKEND and results["environment"]["chip"]
    assert [group["mode"] for group in results["model"]] == ["forward", "training"]
    for group in results["model"]:
        backbone, one, two = group["rows"]
        assert backbone["sentences_per_second"] == 0 < backbone["images_per_second"]
        assert one["images_per_second"] == one["sentences_per_second"] == 2 / one["seconds"]
        assert two["sentences_per_second"] == 4 / two["seconds"]
    for group in results["attention"]:
        assert {row["name"] for row in group["rows"]} == set(gpu.FORMS)
        assert all(row["seconds"] > 0 for row in group["rows"])
    check_targets(
        results,
        forward_over_backbone=results["model"][0]["rows"][1]["ratio"],
        training_over_backbone=results["model"][1]["rows"][1]["ratio"],
        fused_over_factorised=results["attention"][0]["rows"][1]["ratio"],
    )


def test_gpu_says_what_does_not_fit():
    """By arithmetic, before it is tried: scores and softmax of (N P) x (N P) numbers."""
    import gpu

    options = gpu.Options(small=True, repeats=1)
    literal = gpu.case(2, 3, options, form="literal", backward=True)
    assert gpu.bytes_needed(literal) == 3 * 12**2 * 4
    assert gpu.bytes_needed(gpu.case(2, 3, options)) == 0
    assert gpu.attention_peak(literal, limit=3 * 12**2 * 4 - 1) is None
    rows = gpu.compare_attention(2, 3, False, options, limit=0)
    left_out = {row["name"]: row["needs_bytes"] for row in rows if "seconds" not in row}
    assert left_out.pop("literal") == 2 * 12**2 * 4
    assert left_out == ({} if BACKEND == "torch" else {"fused": 2 * 12**2 * 4})


def test_gpu_tells_memory_from_other_errors():
    import gpu

    def fail(error):
        raise error

    assert gpu.runs_out(lambda: fail(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")))
    assert gpu.runs_out(lambda: fail(RuntimeError("RESOURCE_EXHAUSTED: 2 GiB")))
    assert not gpu.runs_out(lambda: None)
    with pytest.raises(RuntimeError, match="wrong shape"):
        gpu.runs_out(lambda: fail(RuntimeError("wrong shape")))


@pytest.mark.slow
@compiles
def test_parts_writes_its_measurements(tmp_path):
    pytest.importorskip("jax")
    import parts

    output = tmp_path / "parts.json"
    parts.main(image_size=16, sentences=2, repeats=1, small=True, matmul_side=32, output=output)
    results = json.loads(output.read_text())
    for mode in ("forward", "forward_backward"):
        product, *each, whole = results[mode]
        assert product["multiply_adds"] == 32**3
        assert [row["name"] for row in each] == [
            "backbone", "words", "attention res3", "attention res4", "attention res5", "fusion"
        ]  # fmt: skip
        if mode == "forward":  # the backward pass of a part also reaches what is not trained
            assert sum(row["multiply_adds"] for row in each) == whole["multiply_adds"]
    speed = {
        mode: results[mode][-1]["gflops"] / results[mode][0]["gflops"] for mode in parts.PASSES
    }
    check_targets(
        results,
        forward_of_matmul=pytest.approx(speed["forward"]),
        forward_backward_of_matmul=pytest.approx(speed["forward_backward"]),
    )


@pytest.mark.parametrize("script", ["attention", "model", "predictor", "pipeline", "gpu", "parts"])
def test_the_readme_wants_what_the_benchmark_wants(script):
    """Every bound stands in the benchmark's row, 40 times less as 1/40."""
    source = (BENCHMARKS / f"{script}.py").read_text()
    table = re.search(r"^TARGETS = \{(.*?)\}", source, re.DOTALL | re.MULTILINE)[1]
    bounds = re.findall(r'\("[<>]=", ([\d.]+)\)', table)
    readme = (BENCHMARKS / "README.md").read_text().split("## How it is measured")[0]
    (row,) = (line for line in readme.splitlines() if f"benchmarks/{script}.py" in line)
    wanted = row.split("|")[-2]
    assert bounds and set(bounds) == set(re.findall(r"\d+(?:\.\d+)?", wanted.replace("1/", "")))


@pytest.mark.parametrize("backend", ["numpy"])
def test_other_backends_are_refused(monkeypatch, backend):
    import keras
    import measure

    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    with pytest.raises(ValueError, match=f"Received: '{backend}'"):
        measure.compiled(None, ())


def test_predictor_counts_pixels_on_the_threshold_apart():
    """A batch of another size may round them otherwise; any other difference is a miss."""
    import predictor

    found = np.array([0.2, 0.5 - 4e-6, 0.5 + 4e-6, 0.5 + 4e-5, 0.9])
    mask = found >= 0.5
    counts = predictor.count_differences(mask, [mask, ~mask], found)
    assert counts == {"pixels_that_differ": 3, "pixels_of_rounding": 2}


@pytest.mark.slow
def test_predictor_writes_its_measurements(tmp_path):
    import predictor

    output = tmp_path / "predictor.json"
    # A large photo has pixels on the threshold to rounding, where random weights decide.
    options = predictor.Options(
        image_size=16, sentences=2, length=3, repeats=1, small=True, photo_size=(24, 32)
    )
    predictor.main(options=options, output=output)
    results = json.loads(output.read_text())
    assert names(results["timings"]) == ["at once", "calls", "model"]
    assert 0 < results["share_of_pixels_found"] < 1
    check_targets(results, faster_than_passes=results["timings"][2]["ratio"], pixels_that_differ=0)


@pytest.mark.slow
def test_explanations_writes_its_measurements(tmp_path):
    import explanations

    output = tmp_path / "explanations.json"
    options = explanations.Options(image_size=16, length=3, repeats=1, small=True)
    explanations.main(options=options, output=output)
    results = json.loads(output.read_text())
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


@compiles
def test_released_writes_its_measurements(tmp_path, monkeypatch):
    import released

    from keras_cmsa.models.backbones import small_resnet

    monkeypatch.setattr(released, "deeplab_resnet101", small_resnet)
    output = tmp_path / "released.json"
    released.main(image_size=16, repeats=1, memory=False, output=output)
    results = json.loads(output.read_text())
    assert names(results["forward"]) == ["backbone", "20 words", "8 words"]
    assert results["peak_bytes"] == {} and results["targets"] == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:counts differ from the published")
def test_evaluation_writes_its_measurements(tmp_path):
    import evaluation

    root, output = tiny.refer_root(tmp_path / "refer", {"val": 4}), tmp_path / "evaluation.json"
    evaluation.main(root, images=3, image_size=16, small=True, output=output)
    results = json.loads(output.read_text())
    assert results["sentences"] == results["images"] == 3
    assert names(results["timings"]) == ["at once", "one by one"]
    assert 0 < results["overall_iou"]["at once"] < 1
    check_targets(results, times_faster=results["timings"][1]["ratio"], difference_of_iou=0)


@pytest.mark.slow
@on_tensorflow
def test_serving_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("tensorflow_serving")
    import serving

    output = tmp_path / "serving.json"
    options = serving.Options(model=str(preset), batches=(1, 2), clients=3, seconds=1, repeats=1)
    serving.main(options=options, output=output)
    results = json.loads(output.read_text())
    assert results["settings"]["system"] == "cmsa"
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


@pytest.mark.slow
@on_tensorflow
def test_artefacts_writes_its_measurements(preset, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    import artefacts
    import tiny

    tiny.refer_root(tmp_path / "data", {"train": 1, "val": 3})
    output = tmp_path / "artefacts.json"
    forms = ("SavedModel", "SavedModel, bfloat16", "ONNX, folded", "LiteRT")
    options = artefacts.Options(forms=forms, samples=2, repeats=1)
    with pytest.warns(UserWarning, match="counts differ"):
        artefacts.main(str(preset), tmp_path / "data", options=options, output=output)
    results = json.loads(output.read_text())
    assert results["settings"]["samples"] == 2
    exact, *others = results["forms"]
    assert exact["pixels_that_differ"] == 0 and len(others) == 3
    assert names(results["timings"]) == [row["name"] for row in results["forms"]] == list(forms)
    assert all(0 <= row["pixels_that_differ"] < 0.2 for row in others)
    sizes = {row["name"]: row["bytes"] for row in results["forms"]}
    assert sizes["SavedModel, bfloat16"] < sizes["SavedModel"]


@on_tensorflow
def test_artefacts_names_an_unknown_form(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    import artefacts

    with pytest.raises(ValueError, match=r"Received: \['PNG'\]"):
        artefacts.main("none", tmp_path, options=artefacts.Options(forms=("PNG",)))
