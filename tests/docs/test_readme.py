"""The front page proves itself: what stands there after `make demo` runs as printed, in order."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*counts differ from the published")
def test_what_to_do_after_make_demo(run_examples, place):
    names = run_examples(README)
    assert names["mask"].shape == names["image"].shape[:2]
    assert names["rocket"].mask.shape == names["helmet"].mask.shape == (512, 512)
    assert names["mask"].dtype == bool
    left = (
        "found.png",
        "figures/explanation.png",
        "results/metrics.json",
        "saved_models/cmsa/1/README.md",
    )
    assert all((place / name).is_file() for name in left)
    with open(place / "results/scores_val.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_the_wheel_has_the_name_that_is_installed():
    from keras_cmsa import __version__

    wheels = re.findall(r"keras_cmsa-[\w.]+?-py3-none-any\.whl", README.read_text("utf-8"))
    assert wheels and set(wheels) == {f"keras_cmsa-{__version__}-py3-none-any.whl"}
