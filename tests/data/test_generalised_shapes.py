"""RefShapes with any number of targets: each sentence is answered once more, by brute force, from its
words and from the places and attributes that stand in the files."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from shape_files import SAYS, Written, meant

from keras_cmsa.data.ref_shapes import write_ref_shapes
from keras_cmsa.data.ref_shapes.things import ANGULAR, ROUND

SCENES = {"train": 150, "testA": 25, "testB": 25}

NUMBERS = {"two": 2, "three": 3, "four": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("generalised") / "data"
    return Written(write_ref_shapes(root, SCENES, processes=1, progress=False, targets="any"))


# Files


def test_layout_is_grefcocos(data):
    for ref in data.refs:
        assert set(ref) == {
            *("sent_ids", "file_name", "ann_id", "ref_id"),
            *("image_id", "split", "sentences", "category_id"),
        }
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]
        if ref["ann_id"] == [-1]:
            assert ref["category_id"] == [-1]
            continue
        annotations = [data.annotations[ann_id] for ann_id in ref["ann_id"]]
        assert {annotation["image_id"] for annotation in annotations} == {ref["image_id"]}
        assert ref["category_id"] == [annotation["category_id"] for annotation in annotations]
        runs = [coco_mask.frPyObjects(a["segmentation"], 240, 240) for a in annotations]
        flat = [part for run in runs for part in (run if isinstance(run, list) else [run])]
        assert coco_mask.area(coco_mask.merge(flat)) == sum(a["area"] for a in annotations)
    for name in ("ref_id", "sent_ids"):
        ids = np.hstack([ref[name] for ref in data.refs])
        assert len(ids) == len(set(ids))
    objects = [(ref["image_id"], *ref["ann_id"]) for ref in data.refs]
    assert len(objects) == len(set(objects))


def test_half_have_one_target_a_quarter_several_and_a_quarter_none(data):
    numbers = Counter(
        0 if ref["ann_id"] == [-1] else min(len(ref["ann_id"]), 2)
        for ref in data.refs
        for _ in ref["sentences"]
    )
    shares = {number: count / numbers.total() for number, count in numbers.items()}
    assert shares == pytest.approx({0: 0.25, 1: 0.5, 2: 0.25}, abs=0.01)
    kinds = json.loads((data.root / "ref_shapes.json").read_text())["counts"]["train"]["kinds"]
    assert kinds["plural"] > kinds["count"] > 50 and kinds["except"] > 50


def test_targets_of_the_two_test_splits_are_of_disjoint_families(data):
    shapes = {split: set() for split in SCENES}
    for ref in data.refs:
        if ref["ann_id"] != [-1]:
            kinds = [data.categories[number]["supercategory"] for number in ref["category_id"]]
            shapes[ref["split"]].update(kinds)
    assert shapes["testA"] <= set(ROUND)
    assert shapes["testB"] <= set(ANGULAR)


# One answer to each sentence


def test_a_plural_refers_to_all_that_match(data):
    for ref, sentence, things in data.sentences("plural", "count"):
        assert meant(sentence["sent"], things) == ref["ann_id"], sentence
        assert len(ref["ann_id"]) > 1


def test_a_count_is_right(data):
    for ref, sentence, _ in data.sentences("count"):
        numbers = [NUMBERS[word] for word in sentence["tokens"] if word in NUMBERS]
        assert numbers == [len(ref["ann_id"])], sentence


def test_an_exception_leaves_out_what_it_names(data):
    for ref, sentence, things in data.sentences("except"):
        named = re.fullmatch("(?:everything|all) (?:but|except) the (.+)", sentence["sent"])[1]
        left_out = meant(named, things)
        assert left_out and ref["ann_id"] == [i for i in things if i not in left_out], sentence


def test_an_absent_sentence_fits_nothing(data):
    for ref, sentence, things in data.sentences("absent"):
        assert ref["ann_id"] == [-1]
        assert meant(sentence["sent"], things) == [], sentence


def test_an_absent_sentence_is_one_word_away_from_one_that_fits(data):
    kinds = set()
    for _, sentence, things in data.sentences("absent"):
        pairs = list(zip(sentence["tokens"], sentence["original"].split(), strict=True))
        changed = [word for word, before in pairs if word != before]
        assert changed == [sentence["planted"]], sentence
        assert meant(sentence["original"], things), sentence
        kinds.add(SAYS.get(changed[0], ("place",))[0])
    assert kinds == {"shape", "colour", "size", "texture", "place"}


def test_no_word_alone_tells_that_nothing_fits(data):
    """Else a model could answer without a look at the image."""
    words, absent = Counter(), Counter()
    for ref in data.refs:
        for sentence in ref["sentences"]:
            words.update(set(sentence["tokens"]))
            absent.update(set(sentence["tokens"]) if sentence["kind"] == "absent" else ())
    frequent = [word for word, number in words.items() if number >= 40]
    assert len(frequent) > 30
    assert {word for word in frequent if absent[word] > 0.55 * words[word]} == set()


# Arguments


@pytest.mark.parametrize("targets", ["one", "any"])
def test_things_and_sentences_have_the_given_colours(tmp_path, targets):
    colours = ["yellow", "red", "blue", "green"]
    arguments = {"targets": targets, "colours": colours, "processes": 1, "progress": False}
    root = write_ref_shapes(tmp_path / "data", {"train": 25}, **arguments)
    (folder,) = (path.parent for path in root.glob("*/instances.json"))
    annotations = json.loads((folder / "instances.json").read_text())["annotations"]
    assert {a["attributes"]["colour"] for a in annotations} == set(colours)
    refs = next(folder.glob("*refs(unc).*")).read_bytes()
    assert all(name.encode() in refs for name in colours)
    assert not any(name.encode() in refs for name in ("orange", "purple"))
    settings = json.loads((root / "ref_shapes.json").read_text())["settings"]
    assert settings["colours"] == ["red", "yellow", "green", "blue"]


def test_settings_name_only_what_is_not_the_default(tmp_path):
    arguments = {"scenes": {"train": 1}, "processes": 1, "progress": False}
    root = write_ref_shapes(tmp_path / "data", **arguments)
    settings = json.loads((root / "ref_shapes.json").read_text())["settings"]
    assert settings == {"version": 2, "scenes": {"train": 1}, "size": 240, "seed": 0}
    with pytest.raises(FileExistsError, match="holds RefShapes with other settings"):
        write_ref_shapes(root, targets="any", **arguments)
