"""`keras-cmsa evaluate`: the numbers of the package, as a table, as JSON, and in files."""

import json

import pytest
import tiny
from command import refused, run
from PIL import Image

from keras_cmsa import evaluate, summarize
from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.evaluation.crf import refine
from keras_cmsa.explain import figures
from keras_cmsa.inference.masks import MaskRule

pytestmark = [
    pytest.mark.filterwarnings("ignore:counts differ"),
    pytest.mark.usefixtures("untraced"),
]


@pytest.fixture
def root(tmp_path):
    return tiny.refer_root(tmp_path / "refer", {"train": 1, "val": 3, "testA": 2})


def test_the_numbers_are_those_of_the_package(
    capsys, models_kept, preset, predictor, root, tmp_path
):
    out = tmp_path / "evaluation"
    assert run("evaluate", root, "--model", preset, "-o", out, "--json", "--controls") == 0
    records = read_refer(root, "refcoco", "unc")
    metrics = json.loads(capsys.readouterr().out)
    assert metrics == json.loads((out / "metrics.json").read_text())
    assert set(metrics["splits"]) == {"val", "testA"}
    assert metrics["weights"] == "random (seed 7)" and metrics["profile"] == "strict"
    for split, numbers in metrics["splits"].items():
        scores = evaluate(predictor, records[split])
        assert numbers == pytest.approx(summarize(scores))
        # Each tiny image has one object, so there is no other to ask for or to choose.
        assert set(metrics["controls"][split]) == {"shuffled words", "no words"}
        assert metrics["controls"][split]["no words"]["plain"] == numbers
    names = [
        f"{kind}_{split}"
        for kind in ("failures", "examples", "paper")
        for split in metrics["splits"]
    ]
    assert {path.name for path in out.iterdir()} == {
        "metrics.json", "scores_val.csv", "scores_testA.csv", *(f"{name}.png" for name in names),
    }  # fmt: skip


def test_options(capsys, models_kept, preset, root, tmp_path, monkeypatch):
    """One split, a limit, the authors' profile, DenseCRF: figures get the rule of each number."""
    pytest.importorskip("pydensecrf", reason='pip install "keras-cmsa[crf]"')
    drawn = []
    monkeypatch.setattr(figures, "write_figures", lambda *figure: drawn.append(figure))
    options = ["--profile", "tf_phrasecut", "--crf", "network", "--limit", 2, "--failures", 1]
    asked = ["evaluate", root, "--model", preset, "-o", tmp_path / "out", "--split", "val"]
    assert run(*asked, *options) == 0
    printed = capsys.readouterr().out
    assert "profile tf_phrasecut" in printed and "val+crf" in printed and "testA" not in printed
    of = {name: (rule, len(scores), failures) for _, name, _, _, scores, rule, failures in drawn}
    assert of == {
        "val": (MaskRule("tf_phrasecut"), 2, 1),
        "val+crf": (MaskRule("tf_phrasecut", refine, "network"), 2, 1),
    }
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["profile"] == "tf_phrasecut"
    samples = {split: x["samples"] for split, x in metrics["splits"].items()}
    assert samples == {"val": 2, "val+crf": 2}


def test_masks_in_another_format(models_kept, preset, predictor, root, tmp_path):
    asked = ["evaluate", root, "--model", preset, "-o", tmp_path, "--failures", 0]
    assert run(*asked, "--split", "val", "--format", "coco") == 0
    content = json.loads((tmp_path / "val_coco.json").read_bytes())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    written = {(names[x["image_id"]], x["caption"]): x for x in content["annotations"]}
    records = read_refer(root, "refcoco", "unc")["val"]
    predictions = [predictor(record.image_path, record.expression) for record in records]
    assert len(written) == sum(p.mask.any() for p in predictions) > 0
    for record, prediction in zip(records, predictions):
        if prediction.mask.any():
            annotation = written[str(record.image_path.relative_to(root)), record.raw]
            assert annotation["segmentation"] == prediction.run_lengths
            assert annotation["score"] == pytest.approx(prediction.score, abs=1e-5)


def test_bad_input_is_one_line(capsys, models_kept, preset, root, tmp_path):
    asked = ["evaluate", root, "--model", preset, "-o", tmp_path / "out"]
    assert "has no split test; it has " in refused(capsys, *asked, "--split", "test")
    assert run(*asked, "--profile", "phrasecut") != 0
    record, table = read_refer(root, "refcoco", "unc")["val"][0], root / "mine.csv"
    Image.fromarray(record.mask() * 255).save(root / "mask.png")
    row = f"{record.image_path.relative_to(root)},mask.png,box,train"
    table.write_text(f"image,mask,expression,split\n{row}\n")
    said = refused(capsys, "evaluate", table, *asked[2:])
    assert "wanted a split that is held out" in said and "with train alone. Give --split" in said
    assert not (tmp_path / "out").exists()
