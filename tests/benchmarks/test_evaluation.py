"""The evaluation's benchmark."""

import pytest
import tiny
from benchmarking import check_targets, measured, names

pytestmark = pytest.mark.keras


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:counts differ from the published")
def test_evaluation_writes_its_measurements(tmp_path):
    root = tiny.refer_root(tmp_path / "refer", {"val": 4})
    results = measured("evaluation", tmp_path, data_dir=root, images=3, image_size=16, small=True)
    assert results["sentences"] == results["images"] == 3
    assert names(results["timings"]) == ["at once", "one by one"]
    assert 0 < results["overall_iou"]["at once"] < 1
    check_targets(results, times_faster=results["timings"][1]["ratio"], difference_of_iou=0)
