"""Bad input: each kind is refused with an error that says what is wrong, and where."""

import copy
import json
import os
import pickle
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from keras_cmsa.data.check import check_records, problems_table
from keras_cmsa.data.records import rasterize
from keras_cmsa.data.refer import read_refer
from keras_cmsa.data.restricted_pickle import read_plain_pickle
from keras_cmsa.image import read_image

SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]

REF = {
    "ref_id": 5,
    "ann_id": 70,
    "image_id": 9,
    "split": "train",
    "sent_ids": [31],
    "file_name": "COCO_train2014_000000000009_5.jpg",
    "category_id": 1,
    "sentences": [{"sent_id": 31, "raw": "Café!", "sent": "café", "tokens": ["café"]}],
}

INSTANCES = {
    "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "height": 8, "width": 12}],
    "annotations": [{"id": 70, "image_id": 9, "segmentation": [SQUARE]}],
}


class TinyRoot:
    """A REFER root of one image, one ref, one sentence, to be spoilt."""

    def __init__(self, path):
        self.path = path
        self.refs = [copy.deepcopy(REF)]
        self.instances = copy.deepcopy(INSTANCES)
        self.image = path / "images/mscoco/images/train2014/COCO_train2014_000000000009.jpg"
        self.image.parent.mkdir(parents=True)
        Image.new("RGB", (12, 8)).save(self.image)
        (path / "ref_shapes.json").write_text("{}")  # no published counts
        (path / "refcoco").mkdir()

    def write(self, refs=None, instances=None):
        """Write both files; `refs` and `instances` are bytes to write instead."""
        content = pickle.dumps(self.refs, 2) if refs is None else refs
        (self.path / "refcoco/refs(unc).p").write_bytes(content)
        content = json.dumps(self.instances).encode() if instances is None else instances
        (self.path / "refcoco/instances.json").write_bytes(content)

    def read(self, **options):
        self.write()
        return read_refer(self.path, **options)


@pytest.fixture
def root(tmp_path):
    return TinyRoot(tmp_path)


def test_the_tiny_root_is_good(root):
    (record,) = root.read()["train"]
    assert (record.raw, record.expression, record.image_path) == ("Café!", "café", root.image)
    assert record.mask().sum() == 16
    assert check_records([record]) == ([record], [])


# --- pickles


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed > executed.txt",)


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickle_is_named_and_not_run(root, protocol, monkeypatch):
    monkeypatch.chdir(root.path)
    root.write(refs=pickle.dumps([Evil()], protocol))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p asks to import posix\.system\."):
        read_refer(root.path)
    assert not (root.path / "executed.txt").exists()


def test_any_object_is_refused(root):
    root.write(refs=pickle.dumps([{1, 2}], 4))
    with pytest.raises(
        ValueError, match=r"refs\(unc\)\.p holds more than plain data \(opcode EMPTY_SET"
    ):
        read_refer(root.path)


def test_numpy_is_named(root):
    root.write(refs=pickle.dumps([np.float64(1)]))
    with pytest.raises(ValueError, match=r"asks to import numpy\.\w+\.multiarray\.scalar"):
        read_refer(root.path)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_gives_the_same(tmp_path, protocol):
    data = [
        True,
        False,
        None,
        -1,
        255,
        65535,
        2**31,
        -(2**62),
        0.5,
        "a'b\\\n\tß€",
        (),
        (1,),
        (1, 2),
    ]
    data += [
        (1, 2, 3),
        (1, 2, 3, 4),
        [],
        [data[9], data[9]],
        {},
        {"a": {1: "b"}, 2.5: []},
        "x" * 300,
    ]
    path = tmp_path / "data.p"
    path.write_bytes(pickle.dumps(data, protocol))
    assert read_plain_pickle(path) == data


# What Python 2's cPickle writes for [{'raw': u'Café', 'sent': 'caf\xc3\xa9 it\'s', ...}].
PYTHON_2 = {
    0: b"(lp1\n(dp2\nS'raw'\np3\nVCaf\xe9\np4\nsS'sent'\np5\nS\"caf\\xc3\\xa9 it's\"\np6\ns"
    b"S'latin'\nS'caf\\xe9'\nsS'sent_id'\nL31L\nsS'tab'\nS'\\t\\n\\\\'\nsS'is'\nI01\nsa.",
    2: b"\x80\x02]q\x01}q\x02(U\x03rawX\x05\x00\x00\x00Caf\xc3\xa9U\x04sentU\x0acaf\xc3\xa9 it's"
    b"U\x05latinU\x04caf\xe9U\x07sent_id\x8a\x01\x1fU\x03tabT\x03\x00\x00\x00\t\n\\U\x02is\x88ua.",
}


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_pickles_of_python_2(tmp_path, protocol):
    path = tmp_path / "old.p"
    path.write_bytes(PYTHON_2[protocol])
    expected = {"raw": "Café", "sent": "café it's", "latin": "café", "sent_id": 31}
    assert read_plain_pickle(path) == [{**expected, "tab": "\t\n\\", "is": True}]


@pytest.mark.parametrize(
    "content",
    {
        "empty": b"",
        "text": b"<html>404 Not Found</html>",
        "cut short": pickle.dumps([REF], 2)[:-40],
        "text of 4 GB": b"X\xff\xff\xff\xff.",
        "text of 2**63 bytes": b"\x8d" + b"\xff" * 7 + b"\x7f" + b".",
        "integer of 2 GB": b"\x8b\xff\xff\xff\x7f.",
        "integer of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
        "memo that is not there": b"j\xff\xff\xff\xff.",
        "key nested a million deep": b"}" + b")" + b"\x85" * 1_000_000 + b"Ns.",
        "list as key": b"}]Ns.",
        "nothing on the stack": b"a.",
        "append to a number": b"K\x01K\x02a.",
        "mark that is not there": b"e.",
        "no opcode": b"\xff.",
        "bad utf-8": b"X\x01\x00\x00\x00\xff.",
        "string without quotes": b"Sabc\n.",
    }.items(),
    ids=lambda item: item[0],
)
def test_broken_pickle_names_the_file(root, content):
    root.write(refs=content[1])
    started = time.monotonic()
    with pytest.raises(
        ValueError, match=r"refs\(unc\)\.p is not a whole pickle: reading stopped at"
    ):
        read_refer(root.path)
    assert time.monotonic() - started < 5


def test_far_memo_index_costs_no_memory(tmp_path):
    path = tmp_path / "memo.p"
    path.write_bytes(b"Nr\xff\xff\xff\xff.")  # pickle.load would ask for 64 GB
    assert read_plain_pickle(path) is None


@pytest.mark.parametrize("refs", [{}, "refs", None, 7], ids=repr)
def test_other_things_than_a_list_of_refs(root, refs):
    root.refs = refs
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p holds no refs: wanted a list of at most"):
        root.read()


def test_one_sentence_named_over_and_over(root, monkeypatch):
    monkeypatch.setattr("keras_cmsa.data.reading.MAX_SENTENCES", 4000)
    root.refs[0]["sentences"] *= 2000
    root.refs *= 3  # two bytes each in the pickle
    with pytest.raises(
        ValueError, match="entry 2, ref 5: 2000 sentences; wanted at least 1, at most 0"
    ):
        root.read()


# --- refs and instances


def spoil(key, value):
    return lambda root: root.refs[0].__setitem__(key, value)


def spoil_entry(kind, key, value):
    return lambda root: root.instances[kind][0].__setitem__(key, value)


FAULTS = {
    "ref 5: annotation 71 is not in .*instances.json": spoil("ann_id", 71),
    "ref 5: image 8 is not in .*instances.json": spoil("image_id", 8),
    "ref 5: wanted 'ann_id' of type int | str, got NoneType": spoil("ann_id", None),
    "ref 5: wanted 'split' of type str, got int": spoil("split", 3),
    "ref 5: wanted 'sentences' of type list, got str": spoil("sentences", "a dog"),
    "ref 5: 0 sentences": spoil("sentences", []),
    "ref 5: wanted a dict, got str": spoil("sentences", ["a dog"]),
    "ref 5: wanted 'raw' of type str, got nothing": spoil("sentences", [{"sent_id": 1}]),
    "entry 0: wanted 'ref_id' of type int, got str": spoil("ref_id", "5"),
    "entry 0: wanted a dict, got int": lambda root: root.refs.insert(0, 3),
    "annotation 70 is of image 3, not of the ref's 9": spoil_entry("annotations", "image_id", 3),
    "annotation 70 has no segmentation": spoil_entry("annotations", "segmentation", []),
    "image 9: height 0; wanted at least 1": spoil_entry("images", "height", 0),
    "image 9: wanted 'width' of type int, got float": spoil_entry("images", "width", 12.5),
}


@pytest.mark.parametrize("message", FAULTS)
def test_bad_ref_is_named(root, message):
    FAULTS[message](root)
    with pytest.raises(ValueError, match=message.replace(" | ", r" \| ")) as caught:
        root.read()
    assert "refs(unc).p, entry 0" in str(caught.value)
    assert str(caught.value).endswith("on_bad='skip' leaves such refs out")


@pytest.mark.parametrize("message", FAULTS)
def test_bad_ref_can_be_left_out(root, message):
    FAULTS[message](root)
    with pytest.warns(
        UserWarning, match=r"1 of \d refs are bad and left out. The first: .*entry 0"
    ):
        root.read(on_bad="skip")


def test_good_refs_stay_when_bad_ones_are_left_out(root):
    root.refs = [REF, {**REF, "ref_id": 6, "ann_id": 71}, {**REF, "ref_id": 7}]
    with pytest.warns(UserWarning, match=r"1 of 3 refs .* entry 1, ref 6: annotation 71 is not in"):
        records = root.read(on_bad="skip")
    assert [record.ref_id for record in records["train"]] == [5, 7]


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/b.jpg", "..", "", "a\\b.jpg", "a\0.jpg", 5, None]
)
def test_image_name_cannot_leave_the_folder(root, name):
    root.instances["images"][0]["file_name"] = name
    with pytest.raises(ValueError, match=r"image file name .*; wanted a plain name"):
        root.read()


def test_image_without_a_name_is_found_by_its_id(root):
    del root.instances["images"][0]["file_name"]
    assert root.read()["train"][0].image_path == root.image


def test_annotation_without_ref_is_no_fault(root):
    root.instances["annotations"].append({"id": 71, "image_id": 9, "segmentation": []})
    assert len(root.read()["train"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', "instances.json is not whole JSON"),
        (b"\xff\xfe\x00", "instances.json is not whole JSON"),
        (b"[" * 100_000, "instances.json is not whole JSON: maximum recursion depth"),
        (b"[]", "instances.json: wanted a dict, got list"),
        (b'{"images": []}', "instances.json: wanted 'annotations' of type list, got nothing"),
        (b'{"images": [{}], "annotations": []}', "images entry 0: wanted 'id' .* got nothing"),
    ],
)
def test_broken_json_names_the_file(root, content, message):
    root.write(instances=content)
    with pytest.raises(ValueError, match=message):
        read_refer(root.path)


def damaged(content):
    """Bytes with some of them changed, or cut short."""
    places = st.integers(0, len(content) - 1)
    changes = st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=4)
    changed = changes.map(
        lambda new: bytes(new.get(place, old) for place, old in enumerate(content))
    )
    return changed | places.map(lambda end: content[:end])


def read_and_draw(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = read_refer(path)
    for of_split in records.values():
        for record in of_split:
            record.mask()


FUZZED = settings(
    max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@given(data=st.data())
@FUZZED
def test_damaged_pickle_raises_value_error_only(root, protocol, data):
    root.write(refs=data.draw(damaged(pickle.dumps([REF] * 2 + [copy.deepcopy(REF)], protocol))))
    try:
        read_and_draw(root.path)
    except ValueError as error:
        assert "refs(unc).p" in str(error) or "ref " in str(error)


@given(content=damaged(json.dumps(INSTANCES).encode()))
@FUZZED
def test_damaged_json_raises_value_error_only(root, content):
    root.write(instances=content)
    try:
        read_and_draw(root.path)
    except ValueError as error:
        assert "instances.json" in str(error) or "ref 5" in str(error)


# --- masks

RUNS = {"size": [3, 4], "counts": [2, 3, 7]}


def compressed(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype("uint8")))


def test_run_lengths_by_hand():
    expected = [[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(rasterize(RUNS, 3, 4, "it"), expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_compressed_run_lengths_equal_pycocotools(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    mask[0, 0] = True
    runs = compressed(mask)
    np.testing.assert_array_equal(rasterize(runs, height, width, "it"), mask)
    as_text = {**runs, "counts": runs["counts"].decode()}
    np.testing.assert_array_equal(rasterize([as_text], height, width, "it"), mask)


def test_parts_are_joined():
    other = [4, 4, 10, 4, 10, 7, 4, 7]
    joined = rasterize([SQUARE, other], 8, 12, "it")
    np.testing.assert_array_equal(
        joined, rasterize([SQUARE], 8, 12, "it") | rasterize([other], 8, 12, "it")
    )
    assert joined.sum() == 16 + 18 - 4


def test_polygon_partly_outside_is_cut():
    mask = rasterize([[-50, -50, 3, -50, 3, 4, -50, 4]], 8, 12, "it")
    assert mask[:4, :3].all() and mask.sum() == 12


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([SQUARE[:-1]], "bad polygon: it has one of 7 coordinates"),
        ([[1, 1, 5, 5]], "bad polygon: it has one of 4 coordinates"),
        ([[]], "bad polygon: it has one of 0 coordinates"),
        (SQUARE, "bad polygon: it has one of 1 coordinates"),
        ([["a", "b"] * 3], "bad polygon: it has one with other things than numbers"),
        ([[10**400] * 6], "bad polygon: it has one with other things than numbers"),
        ([[[1, 2], [3]]], "bad polygon: it has one with other things than numbers"),
        ([[1, 2, float("nan"), 4, 5, 6]], "bad polygon: it has a coordinate that is not finite"),
        ([[1, 2, float("inf"), 4, 5, 6]], "bad polygon: it has a coordinate that is not finite"),
        ([[1, 2, 1e9, 4, 5, 6]], "bad polygon: it has a coordinate .* beyond 1,000,000"),
        ([[0, 0, 9e5, 9e5, 0, 9e5]], "outline too long: it has polygons of 2.7e.06 pixels"),
        ([[1, 1, 5, 1, 1, 1]], "mask covers no pixel: it; the segmentation has no area"),
        ([[50, 1, 60, 1, 60, 5]], "mask covers no pixel: it; .* outside the 8 x 12 image"),
        ([[1, -9, 6, -9, 6, -2]], "mask covers no pixel: it"),
        ([], r"no segmentation: it has \[\]; wanted a list of polygons or a dict of run lengths"),
        (None, "no segmentation: it has None"),
        ({}, "bad run lengths: it has them for size None; wanted"),
        (RUNS, r"bad run lengths: it has them for size \[3, 4\]; wanted \[8, 12\]"),
        ({"size": [8, 12], "counts": [96]}, "mask covers no pixel: it"),
        ({"size": [8, 12], "counts": [90, 5]}, "bad run lengths: .* that add up to 96"),
        ({"size": [8, 12], "counts": [90, 7]}, "bad run lengths: it has 2, from 7 to 90"),
        ({"size": [8, 12], "counts": [97, -1]}, "bad run lengths: it has 2, from -1 to 97"),
        ({"size": [8, 12], "counts": [2**32, 96]}, "bad run lengths: it has 2, from 96 to 4294"),
        ({"size": [8, 12], "counts": [2**70]}, "bad run lengths: it has object"),
        ({"size": [8, 12], "counts": [90.0, 6.0]}, "bad run lengths: it has float64"),
        ({"size": [8, 12], "counts": [[1], [2, 3]]}, "bad run lengths: it has nested ones"),
        ({"size": [8, 12], "counts": []}, "bad run lengths: it has float64"),
        ({"size": [8, 12], "counts": None}, "bad run lengths: it has object"),
        ({"size": [8, 12], "counts": "P"}, "bad run lengths: it has text that ends inside"),
        ({"size": [8, 12], "counts": "o" * 10**6}, "bad run lengths: it has text that is not COCO"),
        ({"size": [8, 12], "counts": "häh"}, "bad run lengths: it has text that is not COCO"),
        ({"size": [8, 12], "counts": b"9999"}, "bad run lengths: it has 4, from"),
    ],
    ids=str,
)
def test_bad_segmentation_says_why(segmentation, message):
    with pytest.raises(ValueError, match=message):
        rasterize(segmentation, 8, 12, "it")


@given(st.binary(max_size=30) | st.text(max_size=30))
def test_any_compressed_text_is_safe(counts):
    try:
        assert rasterize({"size": [8, 12], "counts": counts}, 8, 12, "it").shape == (8, 12)
    except ValueError as error:
        assert "it" in str(error)


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (30_000, 30_000)])
def test_bad_size_says_so(size):
    with pytest.raises(ValueError, match=r"bad image size: it is .* at most 50,000,000"):
        rasterize([SQUARE], *size, "it")


def test_mask_of_a_record_names_the_record(root):
    root.instances["annotations"][0]["segmentation"] = [[50, 1, 60, 1, 60, 5]]
    (record,) = root.read()["train"]
    with pytest.raises(ValueError, match=r"covers no pixel: ref 5, sentence 31 \('Café!'\), /"):
        record.mask()


# --- checking


def test_check_finds_every_fault(root):
    faults = {
        1: {"segmentation": [[50, 1, 60, 1, 60, 5]]},
        2: {"segmentation": [[1, 1, 5, 1, 1, 1]]},
        3: {"segmentation": [SQUARE[:-1]]},
    }
    for place, fault in faults.items():
        root.instances["annotations"].append({**INSTANCES["annotations"][0], "id": place, **fault})
        root.refs.append({**REF, "ref_id": place, "ann_id": place})
    root.refs.append({**REF, "ref_id": 4, "sentences": [{**REF["sentences"][0], "sent": " "}]})
    good, problems = check_records(root.read()["train"])
    assert [record.ref_id for record in good] == [5]
    assert [(record.ref_id, reason.split(":")[0]) for record, reason in problems] == [
        (1, "mask covers no pixel"),
        (2, "mask covers no pixel"),
        (3, "bad polygon"),
        (4, "expression blank"),
    ]
    table = problems_table(problems).splitlines()
    assert table[0].startswith("      2  mask covers no pixel, first: ref 1; ")
    assert table[2].startswith("      1  expression blank, first: ref 4, sentence 31 ('Café!')")


def cut_short(path):
    picture("JPEG").save(path)
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("spoil_image", "message"),
    [
        (os.remove, "image missing: {}"),
        (cut_short, "image unreadable: {} cannot be decoded: image file is truncated"),
        (lambda path: path.write_text("no image"), "image unreadable: {} is no image"),
        (Image.new("RGB", (8, 12)).save, "image size differs: {} is 12 x 8, declared 8 x 12"),
    ],
    ids=["missing", "cut short", "no image", "other size"],
)
def test_check_opens_the_image(root, spoil_image, message):
    records = root.read()["train"]
    spoil_image(root.image)
    good, ((record, reason),) = check_records(records)
    assert good == [] and record is records[0]
    assert reason.startswith(message.format(root.image))


# --- images


def png_of_size(width, height):
    """A PNG that declares a size and has next to no pixels: 70 bytes."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (7_100, r"is 7100 x 7100 pixels; wanted at least 1 and at most 50,000,000. Scale it down"),
        (10_000, "is too large: at most 50,000,000 pixels are read"),  # where Pillow warns
        (30_000, "is too large: at most 50,000,000 pixels are read"),  # where Pillow refuses
    ],
)
def test_huge_image_is_refused_by_its_header(tmp_path, side, message):
    path = tmp_path / "huge.png"
    path.write_bytes(png_of_size(side, side))
    started = time.monotonic()
    with pytest.raises(ValueError, match=rf"huge\.png .*{message}"):
        read_image(path)
    assert time.monotonic() - started < 1


def test_limit_of_pixels_can_be_set():
    with pytest.raises(ValueError, match="is 20 x 10 pixels; wanted at least 1 and at most 199"):
        read_image(png_of_size(20, 10), max_pixels=199)


def picture(format):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype("uint8"))
    return image.convert("P") if format == "GIF" else image


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_image_cut_short_is_never_padded(tmp_path, format, share):
    path = tmp_path / "cut"
    picture(format).save(path, format=format)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"cut (cannot be decoded|is no image)"):
        read_image(path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_jpeg_cut_short_says_so(tmp_path, options):
    path = tmp_path / "cut.jpg"
    picture("JPEG").save(path, **options)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"cut.jpg cannot be decoded: image file is truncated"):
        read_image(path)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_damaged_image_raises_value_error_only(tmp_path, format):
    path = tmp_path / "picture"
    picture(format).save(path, format=format)
    content = np.frombuffer(path.read_bytes(), "uint8")
    rng = np.random.default_rng(1)
    for _ in range(60):
        spoilt = content.copy()
        spoilt[rng.integers(0, min(len(content), 800), 3)] = rng.integers(0, 256, 3)
        try:
            assert read_image(spoilt.tobytes(), max_pixels=10**6).ndim == 3
        except ValueError as error:
            assert "the image given as bytes" in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF", b"P6 1 1 255 abc"]
)
def test_not_an_image(content):
    with pytest.raises(
        ValueError, match="the image given as bytes is no image, or cut short in its header"
    ):
        read_image(content)


def test_missing_image_and_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ValueError, match="is a folder; wanted an image file"):
        read_image(tmp_path)
