"""RefShapes: the files are REFER's and gRefCOCO's, and each sentence has one answer, as judged by
other code than the generator's own, from what stands in the files alone."""

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import log

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from shape_files import (
    DIRECTIONS,
    ORDINALS,
    RANK,
    SAYS,
    Written,
    checksums,
    draw_mask,
    fitting,
    meant,
)

from keras_cmsa.data.readers.refer import read_refer
from keras_cmsa.data.ref_shapes import write_ref_shapes
from keras_cmsa.data.ref_shapes.expressions import SHARES
from keras_cmsa.data.ref_shapes.render import RGB
from keras_cmsa.data.ref_shapes.things import ANGULAR, ROUND

NUMBERS = {"two": 2, "three": 3, "four": 4}
SCENES = {"train": 150, "val": 10, "testA": 20, "testB": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """With any targets; half of the sentences are as in the form of one target each."""
    root = tmp_path_factory.mktemp("ref_shapes") / "data"
    return Written(write_ref_shapes(root, SCENES, processes=1, progress=False, targets="any"))


# Files


def test_same_settings_give_the_same_bytes_for_any_number_of_processes(tmp_path):
    settings = {"scenes": {"train": 9, "val": 3}, "progress": False}
    one = write_ref_shapes(tmp_path / "one", processes=1, **settings)
    two = write_ref_shapes(tmp_path / "two", processes=2, **settings)
    other = write_ref_shapes(tmp_path / "other", processes=1, **settings, seed=1)
    assert checksums(one) == checksums(two)
    assert checksums(one).keys() == checksums(other).keys()
    assert not set(checksums(one).values()) & set(checksums(other).values())


def test_a_seed_keeps_its_scenes(tmp_path):
    """What seed 0 has always drawn; the demo and the results pages are of these scenes."""
    root = write_ref_shapes(
        tmp_path / "data", scenes={"train": 1, "testB": 1}, processes=1, progress=False
    )
    found = [(r["ann_id"], s["sent"]) for r, s, _ in Written(root).sentences()]
    assert found == [
        (102, "the third one from left"),
        (102, "the blue ring"),
        (102, "the blue one"),
        (100, "the one overlapping the heart"),
        (101, "the big red plain heart"),
        (101, "the heart"),
        (200, "star on bottom right"),
        (200, "the green shape"),
        (201, "star closest to the top"),
        (201, "center star"),
        (201, "the blue star"),
        (202, "the small purple triangle"),
    ]


def test_layout_is_grefcocos(data):
    for ref in data.refs:
        wanted = "sent_ids file_name ann_id ref_id image_id split sentences category_id"
        assert set(ref) == set(wanted.split())
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]
        if ref["ann_id"] == [-1]:
            assert ref["category_id"] == [-1]
            continue
        annotations = [data.annotations[ann_id] for ann_id in ref["ann_id"]]
        assert {annotation["image_id"] for annotation in annotations} == {ref["image_id"]}
        assert ref["category_id"] == [annotation["category_id"] for annotation in annotations]
    assert {ref["image_id"] for ref in data.refs} == set(data.images)
    for name in ("ref_id", "sent_ids"):
        ids = np.hstack([ref[name] for ref in data.refs])
        assert len(ids) == len(set(ids))
    objects = [(ref["image_id"], *ref["ann_id"]) for ref in data.refs]
    assert len(objects) == len(set(objects))


def test_each_image_has_one_split_and_the_numbers_are_as_asked(data):
    splits = {(ref["image_id"], ref["split"]) for ref in data.refs}
    assert Counter(split for _, split in splits) == SCENES


def test_our_own_reader_takes_it(data):
    records = read_refer(data.root, "grefcoco")
    assert sum(map(len, records.values())) == len(data.sentences())
    record = next(r for r in records["val"] if r.targets == 1)
    with Image.open(record.image_path) as image:
        assert image.format == "JPEG"
        assert image.size == (record.width, record.height) == (240, 240)
    assert record.mask().any()
    assert record.kind in SHARES


# Masks


def test_annotations_agree_with_pycocotools(data):
    for annotation in data.annotations.values():
        mask = draw_mask(annotation, 240)
        runs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        assert annotation["area"] == coco_mask.area(runs) >= 120
        assert annotation["bbox"] == coco_mask.toBbox(runs).tolist()
        assert annotation["iscrowd"] == isinstance(annotation["segmentation"], dict)
    assert {a["iscrowd"] for a in data.annotations.values()} == {0, 1}


def test_masks_of_an_image_do_not_overlap(data):
    for image_id in list(data.images)[:20]:
        covered = sum(draw_mask(a, 240).astype(int) for a in data.things[image_id].values())
        assert covered.max() == 1


def test_pixels_are_where_the_mask_is(data):
    checked = 0
    for image_id, image in list(data.images.items())[:40]:
        path = data.root / "images/mscoco/images/train2014" / image["file_name"]
        pixels = np.asarray(Image.open(path), int)
        things = data.things[image_id].values()
        free = ~np.any([draw_mask(a, 240) for a in things], axis=0)
        for annotation in things:
            colour = RGB[annotation["attributes"]["colour"]]
            is_coloured = np.abs(pixels - colour).max(axis=2) < 40
            if annotation["attributes"]["texture"] == "plain":
                mask = draw_mask(annotation, 240)
                # The rim of 2 pixels is darker, and JPEG smears it a little.
                assert is_coloured[grown(mask, -3)].mean() > 0.95
                around = grown(mask, 4) & ~grown(mask, 1) & free
                assert is_coloured[around].sum() <= 0.05 * around.sum()
                checked += 1
    assert checked > 30


def grown(mask, margin):
    """The mask with so many pixels more on all sides, or fewer if negative."""
    if margin < 0:
        return ~grown(~mask, -margin)
    for axis in (0, 1):
        mask = np.any([np.roll(mask, step, axis) for step in range(-margin, margin + 1)], axis=0)
    return mask


# Sentences


def test_all_kinds_are_there_in_their_shares(data):
    kinds = Counter(sentence["kind"] for _, sentence, _ in data.sentences(*SHARES))
    assert sum(SHARES.values()) == pytest.approx(1)
    for kind, share in SHARES.items():
        assert kinds[kind] / kinds.total() == pytest.approx(share, abs=0.05)


def test_half_have_one_target_a_quarter_several_and_a_quarter_none(data):
    numbers = Counter(
        0 if ref["ann_id"] == [-1] else min(len(ref["ann_id"]), 2)
        for ref in data.refs
        for _ in ref["sentences"]
    )
    shares = {number: count / numbers.total() for number, count in numbers.items()}
    assert shares == pytest.approx({0: 0.25, 1: 0.5, 2: 0.25}, abs=0.01)
    train = (ref["sentences"] for ref in data.refs if ref["split"] == "train")
    kinds = Counter(sentence["kind"] for sentences in train for sentence in sentences)
    assert kinds["plural"] > kinds["count"] > 50 and kinds["except"] > 50


def test_the_vocabulary_is_modest(data):
    words = {word for _, sentence, _ in data.sentences() for word in sentence["tokens"]}
    assert 60 <= len(words) <= 92


def test_targets_of_the_two_test_splits_are_of_disjoint_families(data):
    shapes = {split: set() for split in SCENES}
    for ref in data.refs:
        if ref["ann_id"] != [-1]:
            kinds = [data.categories[number]["supercategory"] for number in ref["category_id"]]
            shapes[ref["split"]].update(kinds)
    assert not set(ROUND) & set(ANGULAR)
    assert shapes["testA"] <= set(ROUND)
    assert shapes["testB"] <= set(ANGULAR)
    assert shapes["train"] == set(ROUND) | set(ANGULAR)


# One answer to each sentence


def test_most_scenes_have_several_things_of_a_kind(data):
    for image_id in data.images:
        shapes = Counter(thing["shape"] for thing in data.facts(image_id).values())
        assert 3 <= shapes.total() <= 8 and max(shapes.values()) >= 2


def test_sentences_refer_to_all_that_they_fit(data):
    """To one thing or, in the plural, to several."""
    several = ("plural", "count")
    for ref, sentence, things in data.sentences("attribute", "relation", "order", *several):
        assert (len(ref["ann_id"]) > 1) == (sentence["kind"] in several)
        if not RANK.search(sentence["sent"]):
            assert meant(sentence["sent"], things) == ref["ann_id"], sentence


def test_a_superlative_fits_one_thing_clearly(data):
    for ref, sentence, _ in data.sentences("attribute"):
        if rank := RANK.search(sentence["sent"]):
            facts = data.facts(ref["image_id"])
            sign = 1 if rank[0] == "smallest" else -1
            fits = fitting(sentence["sent"], facts)
            sizes = sorted((sign * log(facts[i]["extent"]), i) for i in fits)
            assert [sizes[0][1]] == ref["ann_id"], sentence
            assert sizes[1][0] - sizes[0][0] > log(1.25), sentence


def test_ordinals_count_to_one_thing(data):
    for ref, sentence, _ in data.sentences("ordinal"):
        words = sentence["sent"]
        facts = data.facts(ref["image_id"])
        side = words.split()[-1]
        axis, sign = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}[side]
        row = sorted((sign * facts[i]["centre"][axis], i) for i in fitting(words, facts))
        (number,) = (ORDINALS.index(word) for word in words.split() if word in ORDINALS)
        assert [row[number][1]] == ref["ann_id"], words
        assert len(row) >= 3
        assert min(after[0] - before[0] for before, after in pairwise(row)) > 0.07, words


def test_places_hold_one_thing(data):
    """Of the things that the noun fits, no other is as far in the direction of the words."""
    for ref, sentence, _ in data.sentences("location"):
        facts = data.facts(ref["image_id"])
        fits = fitting(sentence["sent"], facts)
        assert len(fits) >= 2, sentence
        direction = np.sum([DIRECTIONS.get(word, (0, 0)) for word in sentence["tokens"]], axis=0)
        centres = np.array([facts[i]["centre"] for i in fits]) - 0.5
        distance = -centres @ direction if direction.any() else np.abs(centres).max(axis=1)
        assert [fits[int(np.argmin(distance))]] == ref["ann_id"], sentence


def test_order_changes_the_answer(data):
    """Each `order` sentence has its counterpart: the same words, the nouns swapped, another thing."""
    by_words = {}
    for ref, sentence, _ in data.sentences("order"):
        bag = ref["image_id"], tuple(sorted(sentence["tokens"]))
        by_words.setdefault(bag, []).append((sentence["tokens"], ref["ann_id"]))
    assert by_words
    for pairs in by_words.values():
        (words, target), (swapped, counterpart) = pairs
        assert words != swapped
        assert target != counterpart
        assert nouns_swapped(words, swapped)


def nouns_swapped(words, swapped):
    """Whether both are "A between B" and "B between A" for some words A, B and between."""
    words, swapped = ([w for w in sentence if w != "the"] for sentence in (words, swapped))
    return any(
        swapped == words[end:] + words[start:end] + words[:start]
        for start in range(1, len(words))
        for end in range(start + 1, len(words))
    )


def test_a_count_is_right(data):
    for ref, sentence, _ in data.sentences("count"):
        numbers = [NUMBERS[word] for word in sentence["tokens"] if word in NUMBERS]
        assert numbers == [len(ref["ann_id"])], sentence


def test_an_exception_leaves_out_what_it_names(data):
    for ref, sentence, things in data.sentences("except"):
        named = re.fullmatch("(?:everything|all) (?:but|except) the (.+)", sentence["sent"])[1]
        left_out = meant(named, things)
        assert left_out and ref["ann_id"] == [i for i in things if i not in left_out], sentence


def test_an_absent_sentence_fits_nothing_and_is_one_word_away_from_one_that_fits(data):
    kinds = set()
    for ref, sentence, things in data.sentences("absent"):
        assert ref["ann_id"] == [-1]
        assert meant(sentence["sent"], things) == [], sentence
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


# Arguments and interrupted runs


def test_several_processes_may_want_the_same(tmp_path):
    """Whoever ends later finds what it has drawn."""
    with ThreadPoolExecutor(3) as pool:
        given = tmp_path / "shapes", {"train": 2, "val": 1}, 96
        roots = set(pool.map(lambda _: write_ref_shapes(*given, processes=1), range(3)))
    assert roots == {tmp_path / "shapes"}
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_same_root_again_does_nothing_and_other_content_is_refused(tmp_path):
    """An empty folder is none; tests/utils/test_files.py stops and kills a writer of a folder."""
    root = tmp_path / "data"
    root.mkdir()
    arguments = {"scenes": {"train": 3}, "size": 160, "processes": 1, "progress": False}
    assert write_ref_shapes(root, **arguments) == root
    settings = json.loads((root / "ref_shapes.json").read_text())["settings"]
    assert settings == {"version": 2, "scenes": {"train": 3}, "size": 160, "seed": 0}
    assert {record.mask().shape for record in read_refer(root)["train"]} == {(160, 160)}
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write_ref_shapes(root, **arguments) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    for other in ({"seed": 1}, {"targets": "any"}):
        with pytest.raises(FileExistsError, match="Choose another root, or remove"):
            write_ref_shapes(root, **other, **arguments)
    (root / "ref_shapes.json").write_text("[]")
    with pytest.raises(FileExistsError, match="Received: None. Choose another root, or remove"):
        write_ref_shapes(root, **arguments)
    (root / "ref_shapes.json").write_text("{")
    with pytest.raises(ValueError, match=r"ref_shapes\.json is not whole JSON"):
        write_ref_shapes(root, **arguments)
    (root / "ref_shapes.json").unlink()
    with pytest.raises(FileExistsError, match="holds something else"):
        write_ref_shapes(root, **arguments)
    assert len(list(root.rglob("*.jpg"))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenes": {"test": 5}}, "splits .*'train', 'val'.* Received"),
        ({"scenes": {}}, "scenes must give 1 or more"),
        ({"scenes": {"train": 0}}, "scenes must give 1 or more"),
        ({"size": 32}, "`size` must be at least 96. Received: 32"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"targets": "two"}, "`targets` must be one of one, any. Received: 'two'"),
        ({"colours": ["red", "red", "blue", "green"]}, "`colours` must be 4 or more of red, "),
        ({"colours": ["red", "pink", "blue", "green"]}, "Received: red, pink, blue, green"),
        ({"colours": []}, "Received: none"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_ref_shapes(tmp_path / "data", progress=False, **arguments)
    assert not list(tmp_path.iterdir())


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
