"""The ablation recipe at a smoke size, and what it counts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tiny

RECIPES = Path(__file__).parents[1] / "recipes"
SMOKE = {"image_size": 16, "batch_size": 3, "steps": 2, "steps_per_round": 1}

pytestmark = pytest.mark.filterwarnings("ignore:counts differ from the published")


@pytest.fixture
def recipes(monkeypatch):
    """The folder of scripts, importable as it is to a script in it."""
    monkeypatch.syspath_prepend(RECIPES)


@pytest.fixture
def smoke(recipes, shared):
    """The recipe's main on a REFER root of a few scenes; all runs go into one folder."""
    import ablations

    def main(run_dir="runs", **options):
        ablations.main(
            **{**SMOKE, "data_dir": shared / "refer", "run_dir": shared / run_dir, **options}
        )
        return shared / run_dir

    return main


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablations")
    tiny.refer_root(folder / "refer", {"train": 6, "val": 3, "testA": 2, "testB": 2})
    return folder


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("table", [1, 2, 3])
def test_a_table(seeded, smoke, monkeypatch, table):
    """Each of its systems is trained, evaluated and in the table beside the paper's number."""
    import costs

    from keras_cmsa.systems import PAPER_UNC_VAL, TABLES

    # A process of its own for each model; it has its own test.
    monkeypatch.setattr(costs, "multiply_adds_in_jax", lambda path: 3 * 10**9)
    runs = smoke(table=table)
    rows = rows_of(runs / f"table_{table}.csv")
    assert {row["row"]: row["system"] for row in rows} == TABLES[table]
    for row in rows:
        assert row["paper_iou_unc_val"] == str(PAPER_UNC_VAL[table].get(row["row"], ""))
        metrics = json.loads((runs / row["system"] / "seed_0/metrics.json").read_text())
        wanted = 100 * metrics["splits"]["val"]["overall_iou"]
        assert float(row["overall_iou"]) == pytest.approx(wanted)
        test = 100 * metrics["splits"]["testA"]["overall_iou"]
        assert float(row["iou on testA"]) == pytest.approx(test)
        assert metrics["splits"]["all held out"]["samples"] == 3 + 2 + 2
        assert 0 <= float(row["prec@0.9"]) <= float(row["prec@0.5"]) <= 100
        assert float(row["milliseconds"]) > 0 and int(row["parameters"]) > 1000
    text = (runs / f"table_{table}.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(rows)
    assert len({line.count("|") for line in lines}) == 1
    assert (runs / f"table_{table}.png").stat().st_size > 10_000


def test_systems_share_a_backbone_that_stays_as_it_is(seeded, smoke, monkeypatch):
    import ablations

    monkeypatch.setattr(ablations, "measure_costs", lambda *_: dict.fromkeys(
        ("parameters", "multiply_adds", "milliseconds"), 7))  # fmt: skip
    runs = smoke("shared", systems=["rrn_cnn", "lstm_cnn_deeplab"], pretrain_steps=1)
    start = seeded.saving.load_model(runs / "backbone.keras").get_weights()
    for name in ("rrn_cnn", "lstm_cnn_deeplab"):
        folder = runs / name / "seed_0"
        (kept,) = (
            x for x in seeded.saving.load_model(folder / "model.keras").layers
            if isinstance(x, seeded.Model)
        )  # fmt: skip
        for weight, begun in zip(kept.get_weights(), start, strict=True):
            np.testing.assert_array_equal(weight, begun)
        weights = json.loads((folder / "metrics.json").read_text())["weights"]
        assert weights.startswith("backbone after 1 steps")


def test_what_is_done_is_not_done_again_and_seeds_are_averaged(seeded, smoke, monkeypatch):
    import ablations

    monkeypatch.setattr(ablations, "measure_costs", lambda *_: dict.fromkeys(
        ("parameters", "multiply_adds", "milliseconds"), 7))  # fmt: skip
    runs = smoke("seeds", systems=["rrn_cnn"])
    first = runs / "rrn_cnn/seed_0/metrics.json"
    stamp = first.stat().st_mtime_ns
    smoke("seeds", systems=["rrn_cnn"], seeds=2)
    assert first.stat().st_mtime_ns == stamp
    ious = [
        100 * json.loads(path.read_text())["splits"]["val"]["overall_iou"]
        for path in sorted(runs.glob("rrn_cnn/*/metrics.json"))
    ]
    (row,) = rows_of(runs / "table_systems.csv")
    assert len(ious) == 2 and row["seeds"] == "2"
    assert float(row["overall_iou"]) == pytest.approx(np.mean(ious))
    assert [float(row["lowest"]), float(row["highest"])] == pytest.approx(sorted(ious))
    with pytest.raises(ValueError, match=r"give another --run-dir\. Received: .*'steps': 3"):
        smoke("seeds", systems=["rrn_cnn"], steps=3)
    with pytest.raises(ValueError, match=r"Received: \['lstm'\]"):
        smoke("seeds", systems=["lstm"])


def test_multiply_adds_are_those_of_the_definitions(recipes):
    """On layers whose products are easily counted by hand, loops and branches among them."""
    jax = pytest.importorskip("jax")
    import costs

    x, w = np.ones((2, 3, 5), "float32"), np.ones((5, 7), "float32")
    image, kernel = np.ones((1, 8, 8, 3), "float32"), np.ones((3, 3, 3, 4), "float32")

    def convolve(image, **options):
        return jax.lax.conv_general_dilated(
            image, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
        )

    def loop(x):
        return jax.lax.scan(
            lambda state, _: (state @ np.ones((5, 5), "float32"), None), x, length=4
        )

    def branch(x):
        return jax.lax.cond(x.sum() > 0, lambda x: x @ w, lambda x: x @ np.ones((5, 5)) @ w, x)

    for function, argument, wanted in (
        (lambda x: x @ w, x, 2 * 3 * 5 * 7),
        (jax.jit(lambda x: jax.numpy.einsum("abc,adc->abd", x, x)), x, 2 * 3 * 3 * 5),
        (lambda x: convolve(x, window_strides=(1, 1), padding="SAME"), image, 64 * 27 * 4),
        (lambda x: convolve(x, window_strides=(2, 2), padding="SAME"), image, 16 * 27 * 4),
        # A transposed convolution of stride 2: each of 64 inputs meets the whole kernel.
        (
            lambda x: convolve(
                x, window_strides=(1, 1), padding=((1, 2), (1, 2)), lhs_dilation=(2, 2)
            ),
            image,
            64 * 27 * 4,
        ),
        (loop, x, 4 * 2 * 3 * 5 * 5),
        (branch, x, 2 * 3 * 5 * 7),
    ):
        assert costs.multiply_adds_of(jax.make_jaxpr(function)(argument).jaxpr) == wanted


def test_multiply_adds_of_a_system(seeded, recipes, tmp_path):
    """LSTM-CNN on a backbone of one dense map, by hand, from a file and in another process."""
    pytest.importorskip("jax")
    import costs

    from keras_cmsa.systems import build_system

    sizes = {"word_dim": 6, "fusion_dim": 8, "max_words": 5}
    model = build_system("lstm_cnn_deeplab", 10, image_size=16, backbone=tiny.backbone(), **sizes)
    model.save(tmp_path / "model.keras")
    positions = 2 * 2
    by_hand = positions * 8 * 8 * 3 * 4  # the stem: 8 x 8 from 3 channels to 4
    by_hand += positions * 4 * (5 + 6 + 7)  # Res3 to Res5
    by_hand += positions * 7 * 6  # reduced
    by_hand += 5 * 4 * (6 * 6 + 6 * 6)  # LSTM: five words, four gates
    by_hand += positions * (6 + 8 + 6) * 8 + positions * 8  # fusion and score
    counted = costs.multiply_adds_in_jax(tmp_path / "model.keras")
    # Keras resizes bilinearly by two matrix products on JAX: 2 x 2 to 16 x 16.
    assert 0 <= counted - by_hand <= 2 * 2 * 16 + 16 * 16 * 2 + 1
