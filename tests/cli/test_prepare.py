"""`keras-cmsa prepare`: what is wrong with a data set."""

import json
import pickle
import re
import shlex
from pathlib import Path

import one_ref
import pytest
from command import last_line, read_rows, run
from label_tools import NAME, POLYGON, coco, labelme, outline, points, shape, task, text_area, write
from PIL import Image

from keras_cmsa.data.ref_shapes import write_ref_shapes


def test_problems_are_counted_and_named(capsys, tmp_path):
    root = write_ref_shapes(
        tmp_path / "shapes", scenes={"train": 6, "val": 2, "testA": 2, "testB": 2}, processes=1
    )
    broken = sorted(root.glob("images/mscoco/images/train2014/*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:500])
    assert run("prepare", root, "--problems", tmp_path / "problems.csv") == 0
    printed = capsys.readouterr().out
    rows = read_rows(tmp_path / "problems.csv")
    assert rows and {row["image"] for row in rows} == {str(broken)}
    assert f"{len(rows)} of " in printed and "train: " in printed


def test_missing_images_are_counted(capsys, samples):
    with pytest.warns(UserWarning, match=r"4 of 4 images are missing|counts differ"):
        code = run("prepare", samples / "refer_without_images", "--dataset", "refcoco+")
    assert code == 2
    output = capsys.readouterr()
    assert "25 of 25 expressions cannot be used" in output.out
    assert "no usable expression" in output.err


@pytest.mark.filterwarnings("ignore:counts differ")
def test_images_that_are_held_out_elsewhere_are_told(capsys, samples):
    assert (
        run("prepare", samples / "refer", "--dataset", "refcocog", "--split-owner", "google") == 0
    )
    printed = capsys.readouterr().out
    assert "The training set has 2 images of refcocog/google/val" in printed
    assert "train: 26 refs, 26 sentences, 26 images" in printed


def test_a_table_without_a_good_row(capsys, tmp_path):
    """Problems name rows as they are."""
    table, problems = tmp_path / "mine.csv", tmp_path / "problems.csv"
    table.write_text("image,expression,mask,split\n=1.png,=1+1 cups,none.png,train\n")
    Image.new("RGB", (12, 8)).save(tmp_path / "=1.png")
    assert run("prepare", table, "--problems", problems) == 2
    assert last_line(capsys).endswith(f"no usable expression in {table}")
    (row,) = read_rows(problems)
    assert row["expression"] == "=1+1 cups" and row["image"] == str(tmp_path / "=1.png")

    written = table.read_bytes()
    assert run("prepare", table, "--problems", table) == 2
    assert "other than what is read" in last_line(capsys) and table.read_bytes() == written


def test_every_row_that_is_left_out_is_counted_and_named(capsys, tmp_path):
    """Those that the reader drops, by their line, and those that the check finds."""
    Image.new("RGB", (12, 8)).save(tmp_path / "1.png")
    good = '1.png,cup,"[1, 1, 6, 1, 6, 7]",train'
    lines = ["image,expression,mask,split", good, good.replace("1.png", "2.png"), good, *[good] * 2]
    lines[4:] = [good.replace("train", "a b"), good.replace("[1, 1, 6", "[[1, 1, x"), good]
    lines += ["1.png,cup,none.png,val"]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(lines))
    assert run("prepare", table, "--problems", tmp_path / "problems.csv") == 0
    printed = capsys.readouterr().out
    assert (
        "4 of 7 expressions cannot be used" in printed
        and "3  entry cannot be read, first: " in printed
    )
    reasons = [row["reason"] for row in read_rows(tmp_path / "problems.csv")]
    places = [re.match(rf"entry cannot be read: {table}, line (\d+): ", r) for r in reasons[:3]]
    assert [int(place[1]) for place in places] == [3, 5, 6] and "mask missing" in reasons[3]


PAGE = (Path(__file__).parents[2] / "docs/own_data.md").read_text("utf-8")
ROWS = {  # of the table in docs/own_data.md: a file, what is in it, and the phrase that is found
    "CVAT": ("annotations/instances_default.json", coco(), "categories.name", "--images"),
    "Roboflow": ("train/_annotations.coco.json", coco(), "categories.name"),
    "SAM 3's SA-Co": (
        "gold.json",
        coco(images=[{**coco()["images"][0], "text_input": "cups"}]),
        "images.text_input",
        "--images",
    ),
    "COCO with captions of objects": (
        "instances_train.json",
        coco(annotations=[{**coco()["annotations"][0], "caption": "the cup"}]),
        "annotations.caption",
    ),
    "Label Studio": (
        "project.json",
        [task(outline("a", POLYGON), text_area("a", "the cup"))],
        "regions.phrase",
        "--images",
    ),
    "LabelMe 5": (
        "labelled/7.json",
        labelme(shape("cup", points(POLYGON), description="the cup")),
        "shapes.description",
    ),
}


def test_the_rows_are_those_of_the_page():
    table = PAGE[PAGE.index("| tool | export") : PAGE.index("`--text` is needed")]
    tools = re.findall(r"(?m)^\| (.+?)(?:,.*?)? \|", table)[1:]
    assert tools == [*ROWS, *["Hugging Face"] * 2]


@pytest.mark.parametrize("tool", ROWS)
def test_exports_of_label_tools(capsys, tmp_path, tool):
    name, content, field, *flags = ROWS[tool]
    path = write(tmp_path / name, content)
    if flags:
        (path.parent / NAME).rename(tmp_path / NAME)
        flags = [*flags, tmp_path]
    whole = path.parent if tool == "LabelMe 5" else tmp_path if tool == "Roboflow" else path
    for arguments in ([], ["--text", field]):
        assert run("prepare", whole, *flags, *arguments) == 0
        printed = capsys.readouterr()
        assert (
            "train: 1 refs, 1 sentences, 1 images\n0 of 1 expressions cannot be used\nnone is in val, which"
            in printed.out
        )
        assert (f"the phrases are {field}" in printed.err) == (not arguments)
    several = tool in ("CVAT", "Roboflow", "SAM 3's SA-Co")
    assert run("prepare", whole, *flags, "--one-each") == (2 if several else 0)
    if several:
        assert "1 phrases of several objects" in last_line(capsys)


@pytest.mark.parametrize("command", re.findall(r"\| `(--dataset .*)` \|", PAGE))
def test_layouts_of_refer_under_names_of_their_own(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    options = shlex.split(command)
    dataset, images, owner = (
        options[options.index(flag) + 1] if flag in options else "unc"
        for flag in ("--dataset", "--images", "--split-owner")
    )
    folder = Path("data") / dataset
    for path in (folder, Path(images)):
        path.mkdir(parents=True)
    Image.new("RGB", (12, 8)).save(Path(images) / one_ref.NAME)
    (folder / f"refs({owner}).p").write_bytes(pickle.dumps([one_ref.REF], 2))
    (folder / "instances.json").write_text(json.dumps(one_ref.INSTANCES))
    assert run("prepare", "data", *options) == 0
    assert "train: 1 refs, 1 sentences, 1 images\n0 of 1 " in capsys.readouterr().out


def test_a_field_that_is_not_there_is_named_with_its_flag(capsys, tmp_path):
    path = write(tmp_path / "train.json", coco())
    assert run("prepare", path, "--text", "annotations.captoin") == 2
    assert "Give one of these as --text: categories.name" in last_line(capsys)
    assert run("prepare", tmp_path / "mine.csv", "--images", tmp_path) == 2
    assert "--images would be ignored" in last_line(capsys)
