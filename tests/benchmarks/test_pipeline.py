"""The input pipeline's benchmark."""

import json

import pytest
from benchmarking import (
    check_targets,
    linux,
)

pytestmark = pytest.mark.keras


@pytest.mark.slow
@linux
def test_pipeline_writes_its_measurements(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
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
