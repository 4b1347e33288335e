"""The input pipeline's benchmark."""

import pytest
from benchmarking import check_targets, linux, measured

pytestmark = pytest.mark.keras


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
