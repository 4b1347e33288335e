"""The comparison of the paper's systems, at a size that says nothing: it trains, resumes, refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from command import read_rows

from keras_cmsa import Predictor

pytestmark = pytest.mark.filterwarnings("ignore:counts differ from the published")
SMOKE = {"image_size": 16, "batch_size": 3, "steps": 2, "steps_per_round": 1}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with a REFER root, for all runs."""
    folder = tmp_path_factory.mktemp("ablations")
    tiny.refer_root(folder / "refer", {"train": 6, "val": 3, "testA": 2, "testB": 2})
    return folder


@pytest.fixture
def compare(recipes, shared, monkeypatch):
    """Runs the comparison with flags of its own and settings; gives the folder of its runs."""
    import ablations
    import costs

    # A process of its own for each model; it has its own test.
    monkeypatch.setattr(costs, "multiply_adds_in_jax", lambda preset: 3 * 10**9)

    def run(folder, table=None, systems=None, seeds=1, **settings):
        settings = {
            **SMOKE,
            "data_dir": str(shared / "refer"),
            "run_dir": str(shared / folder),
            **settings,
        }
        given = ablations.Given(**settings)
        ablations.main(table=table, systems=systems, seeds=seeds, given=given)
        return shared / folder

    return run


def read(path):
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
def test_systems_share_a_backbone_seeds_are_averaged_and_nothing_is_done_twice(seeded, compare):
    names = ["rrn_cnn", "lstm_cnn_deeplab"]
    runs = compare("shared", systems=names, pretrain_steps=1)
    start = seeded.saving.load_model(runs / "backbone.keras").get_weights()
    for name in names:
        preset = Predictor.from_preset(runs / name / "seed_0")
        (kept,) = (x for x in preset.model.layers if isinstance(x, seeded.Model))
        for weight, begun in zip(kept.get_weights(), start, strict=True):
            np.testing.assert_array_equal(weight, begun)
        beginning = "backbone after 1 steps on its images' classes, the rest random (seed 0)"
        assert preset.config["starting_weights"] == beginning
        assert preset.config["training"]["freeze_backbone"]
        assert beginning in (runs / name / "seed_0/README.md").read_text()

    first = runs / "rrn_cnn/seed_0/config.json"
    kept = first.read_bytes()
    first.unlink()  # its line in runs.csv is enough
    compare("shared", systems=names[:1], seeds=2, pretrain_steps=1)
    assert not first.exists()
    first.write_bytes(kept)
    paths = sorted(runs.glob("rrn_cnn/*/config.json"))
    ious = [100 * read(path)["metrics"]["splits"]["val"]["overall_iou"] for path in paths]
    (row,) = read_rows(runs / "table_systems.csv")
    assert len(ious) == 2 and row["seeds"] == "2"
    assert float(row["overall_iou"]) == pytest.approx(np.mean(ious), abs=1e-3)
    assert [float(row["lowest"]), float(row["highest"])] == pytest.approx(sorted(ious), abs=1e-3)
    with pytest.raises(
        ValueError, match=r"steps was 2 and is 3.* Give those, or another `run_dir`"
    ):
        compare("shared", systems=names[:1], steps=3, pretrain_steps=1)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"systems": ["lstm"]}, r"`systems` must be among .*'rmi'.* Received: \['lstm'\]"),
        ({"table": 2, "systems": ["rmi"]}, r"`systems` must be among .* Received: \['rmi'\]"),
        ({"validate_on": "train"}, "`validate_on` must name a split that is not trained on"),
        ({"pieces": 9}, "`pieces` would be ignored"),
        ({"exclude_images_of": ("refcoco+",)}, "name of a held-out split.* Received: 'refcoco"),
    ],
)
def test_what_would_not_count_is_refused(compare, shared, options, named):
    with pytest.raises(ValueError, match=named):
        compare("refused", **options)
    assert not (shared / "refused").exists()


@pytest.fixture
def trained(recipes, monkeypatch):
    """What a comparison would train: a list of the arguments of each run."""
    import comparison

    runs = []
    monkeypatch.setattr(comparison, "train_and_evaluate", lambda *run: runs.append(run))
    monkeypatch.setattr(comparison, "write_table", lambda *_: None)
    return runs


def test_the_budget_is_that_of_the_results_page(recipes):
    """docs/results.md reports what these settings gave."""
    import ablations

    small = ablations.shared_settings(paper_size=False, given={})
    docs = Path(__file__).parents[2] / "docs"
    reported = read(docs / "ablations/settings.json")
    differing = {"system", "seed", "max_words"}  # the last follows from the data
    settings = {name: x for name, x in small.to_config().items() if name not in differing}
    assert {name: reported[name] for name in settings} == settings
    facts = {"data", "counts", "profile", "backend", "max_words"}
    for folder in ("ablations", "muon"):  # a copy of either can be added to
        assert read(docs / folder / "settings.json").keys() == settings.keys() | facts
    assert (small.image_size, small.word_dim, small.batch_size) == (112, 64, 8)
    assert (small.steps, small.learning_rate, small.pretrain_steps) == (4800, 3e-3, 1000)
    assert small.freeze_backbone and small.dice_weight == 1
    paper = ablations.shared_settings(paper_size=True, given={"steps": 5})
    assert (paper.image_size, paper.steps, paper.backbone) == (320, 5, "dilated_resnet101")
    assert not paper.freeze_backbone
    other = ablations.shared_settings(paper_size=False, given={"data_dir": "x"})
    assert (other.pretrain_steps, other.freeze_backbone, other.steps) == (0, False, 4800)


def test_systems_that_were_published_on_another_backbone_get_it(trained, shared):
    import ablations

    given = {"data_dir": str(shared / "refer"), "run_dir": str(shared / "paper")}
    ablations.main(table=1, paper_size=True, given=ablations.Given(**given))
    runs = {settings.system: settings for settings, *_ in trained}
    backbones = {name: settings.backbone for name, settings in runs.items()}
    assert backbones.pop("lstm_cnn") == "vgg16"
    assert backbones.pop("dmn") == "pyramid_resnet101" and runs["dmn"].fusion_dim == 512
    assert set(backbones.values()) == {"dilated_resnet101"} and len(backbones) == 4
    assert {(s.seed, s.steps, s.max_words) for s in runs.values()} == {(0, 100_000, 5)}


def test_help_has_every_shared_setting(page, capsys):
    assert page("ablations", help=True) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[default: 4800; paper size: 100000]" in text
    assert "--exclude-images-of" in text and "--seed " not in text
