"""Label Studio's export: masks of both kinds, the phrase in a TextArea, and what is left out."""

import pytest
from label_tools import (
    BOX,
    NAME,
    OTHER,
    OTHER_POLYGON,
    POLYGON,
    brush,
    outline,
    phrases,
    region,
    task,
    text_area,
    wanted,
    write,
)
from PIL import Image

from keras_cmsa.data.check import check_records
from keras_cmsa.data.sources import read_records


def read(folder, *tasks, **options):
    return read_records(write(folder / "train.json", [*tasks]), **options)


def test_masks_come_back_and_the_text_of_a_region_is_its_phrase(tmp_path, rng, capsys):
    masks = [(rng.random((8, 12)) < 0.5).astype("uint8") for _ in range(5)]
    results = [brush(str(n), mask) for n, mask in enumerate(masks)]
    results += [text_area(str(n), f"cup {n}") for n in range(5)]
    results += [outline("p", POLYGON), text_area("p", "the box\nbox in the middle")]
    records = read(tmp_path, task(*results))
    rows = [("train", f"cup {n}", 1, mask) for n, mask in enumerate(masks)]
    rows += [("train", "the box", 1, BOX), ("train", "box in the middle", 1, BOX)]
    assert phrases(records) == wanted(*rows)
    assert check_records(records["train"])[1] == []
    assert records["train"][0].categories == {"Cup"}
    assert "the phrases are regions.phrase (`text` takes another)" in capsys.readouterr().err


def test_a_relation_of_two_regions_is_passed_over(tmp_path):
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    results = [outline("a", POLYGON), outline("b", OTHER_POLYGON), relation]
    assert phrases(read(tmp_path, task(*results))) == wanted(("train", "Cup", 2, BOX | OTHER))


def test_without_a_text_the_label_is_the_phrase(tmp_path):
    """`Labels` on a `Polygon` writes two results for a region, and a key point is no object."""
    value = {"points": [[x * 100 / 12, y * 100 / 8] for x, y in [(0, 0), (2, 0), (2, 2), (0, 2)]]}
    point = region("k", "keypointlabels", {"x": 5, "y": 5, "width": 1, "keypointlabels": ["Cup"]})
    results = [
        outline("a", POLYGON), region("b", "polygon", value),
        region("b", "labels", {**value, "labels": ["Cup"]}), point,
    ]  # fmt: skip
    records = read(tmp_path, task(*results))
    assert phrases(records) == wanted(("train", "Cup", 2, BOX | OTHER))


def test_a_text_of_its_own_is_about_the_whole_task(tmp_path):
    """Without a region nothing fits it; the size is then that of the image file."""
    first = task(outline("a", POLYGON), outline("b", OTHER_POLYGON), text_area("t", "both"))
    second = task(text_area("t", "a dog"))
    records = read(tmp_path, first, second)
    assert phrases(records) == wanted(
        ("train", "both", 2, BOX | OTHER), ("train", "a dog", 0, BOX * 0)
    )


def test_one_annotation_of_a_task_counts(tmp_path):
    made = task(outline("a", POLYGON, "first"))
    for label, of in {"truth": {"ground_truth": True}, "skipped": {"was_cancelled": True}}.items():
        (annotation,) = task(outline("a", OTHER_POLYGON, label))["annotations"]
        made["annotations"].insert(0, {**annotation, **of})
    with pytest.warns(
        UserWarning, match=r"1 further annotations .* are left out. .*train.json, entry 0"
    ):
        records = read(tmp_path, made, task(annotations=[]))
    assert phrases(records) == wanted(("train", "truth", 1, OTHER))


def test_what_is_no_mask_is_left_out(tmp_path):
    box = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0, "rectanglelabels": ["Box"]}
    empty = region("c", "brushlabels", {"format": "rle", "rle": [], "brushlabels": ["Empty"]})
    results = [outline("a", POLYGON), region("b", "rectanglelabels", box), empty]
    with pytest.warns(UserWarning, match="left out are 2 phrases with an object that has no mask"):
        assert phrases(read(tmp_path, task(*results))) == wanted(("train", "Cup", 1, BOX))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (f"/data/upload/4/5e2cfa6e-{NAME}", NAME),
        (f"/data/upload/4/{NAME}", NAME),
        (f"https://host.example/a/{NAME}?Expires=1&Key=2", NAME),
        (f"/data/local-files/?d=photos/{NAME}", NAME),
        ("s3://bucket/a%20b.PNG", "a b.PNG"),
        (r"C:\photos\a.jpeg", "a.jpeg"),
    ],
)
def test_images_are_found_by_their_names(tmp_path, image, name):
    Image.new("RGB", (12, 8)).save(tmp_path / name)
    (record,) = read(tmp_path, task(outline("a", POLYGON), image=image))["train"]
    assert record.image_path == tmp_path / name
    assert read_records(tmp_path / "train.json", images=tmp_path)["train"] == [record]


BAD = {
    "original_width: wanted 'width' of type int. Received: str": task(
        brush("a", BOX, original_width="wide")
    ),
    "result entry 0: wanted 'points' as .* in percent": task(
        region("a", "polygonlabels", {"points": [[1]], "polygonlabels": ["Cup"]})
    ),
    "result entry 0: wanted 'points' as .* Received: .*10000": task(
        region("a", "polygonlabels", {"points": [[10**400, 1]] * 3, "polygonlabels": ["Cup"]})
    ),
    "result entry 0: wanted 4 values .* 8 x 12": task(brush("a", BOX[:4])),
    "result entry 0: wanted 'image_rotation' 0": task(brush("a", BOX, image_rotation=90)),
    "wanted one size of the image": task(brush("a", BOX), brush("b", BOX, original_width=9)),
    "wanted one image file in 'data'. Received: {'image': 'a.mp3'}": task(
        outline("a", POLYGON), image="a.mp3"
    ),
    "wanted an image file. Received: .* does not exist": task(
        {"type": "textarea", "from_name": "phrase", "value": {"text": "x"}}, image="2.jpg"
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_tasks_are_named(tmp_path, message):
    path = write(tmp_path / "train.json", [BAD[message]])
    with pytest.raises(ValueError, match=rf"train\.json, entry 0.*{message}"):
        read_records(path)


@pytest.mark.parametrize("content", [[{"image": "1.jpg", "annotations": []}], [5]])
def test_json_min_and_others_are_named(tmp_path, content):
    path = write(tmp_path / "train.json", content)
    with pytest.raises(ValueError, match=r"train\.json: wanted a list of tasks .* not JSON-MIN"):
        read_records(path)
