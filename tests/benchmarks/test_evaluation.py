"""The evaluation's benchmark."""

import json

import pytest
import tiny
from benchmarking import check_targets, names

pytestmark = pytest.mark.keras


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
