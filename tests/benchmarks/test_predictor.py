"""The predictor's benchmark."""

import numpy as np
import pytest
from benchmarking import check_targets, measured, names

pytestmark = pytest.mark.keras


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
    assert 0 < results["share_of_pixels_found"] < 1
    check_targets(results, faster_than_passes=results["timings"][2]["ratio"], pixels_that_differ=0)
