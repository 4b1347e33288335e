"""Damaged data sets of every kind: an error that names the file, or masks of the right size; no
hang, and no memory beyond a bound.

Damage is of two kinds: bytes that changed, and values of JSON and pickles replaced by others, which
leaves a file that parses.
"""

import copy
import csv
import json
import pickle
import tracemalloc
import warnings
from functools import partial

import label_tools
import numpy as np
import pytest
import scipy.io
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_ref import NAME, REF, SQUARE
from PIL import Image

from keras_cmsa.data.sources import read_records
from keras_cmsa.preprocessing.reading import MAX_PIXELS, read_image

# Files here are of a few kilobytes, images of 8 x 12. An annotation may declare an image of up to
# MAX_PIXELS; its mask, a float copy and its run lengths are what drawing may take.
MEMORY = 64 * MAX_PIXELS // 8 + 50_000_000

IMAGE = {"file_name": NAME, "height": 8, "width": 12}
RUNS = {"size": [8, 12], "counts": [16, 4, 76]}
INSTANCES = {
    "images": [{"id": 9, **IMAGE}],
    "annotations": [
        {"id": 70, "image_id": 9, "category_id": 1, "segmentation": [SQUARE, RUNS]},
        {"id": 71, "image_id": 9, "category_id": 1, "segmentation": RUNS},
    ],
    "categories": [{"id": 1, "name": "cup"}],
}
GREF = {**REF, "ann_id": [71, 70]}
ZOM = [
    {**GREF, "source": "many", "sentences": [{**REF["sentences"][0], "exist": True}]},
    {**REF, "ref_id": 6, "source": "zero"},
]
ALIGNED = {
    "images": {"9": {"image_id": 9, **IMAGE}},
    "annotations": {
        "70": {"annotation_id": 70, "image_id": 9, "segmentation": [SQUARE], "refexp_ids": [1]}
    },
    "refexps": {"1": {"refexp_id": 1, "raw": "cup", "tokens": ["cup"]}},
}
PHRASES = {
    "refer_val": [
        {
            "task_id": "7__1",
            "image_id": 7,
            "phrase": "cup",
            "Polygons": [[[[2, 2], [6, 2], [6, 6], [2, 6]]], [[[8, 1], [9, 1], [9, 3]]]],
        }
    ],
    "image_data_split": [{"image_id": 7, "height": 8, "width": 12, "split": "val"}],
    "skip": [{"task_id": "7__2", "phrase": "sky"}, {"image_id": 7, "phrase": "dog"}],
}
ROW = {"image": "7.jpg", "expression": "cup", "mask": [SQUARE], "split": "train"}


def write_refs(root, dataset, refs, instances=INSTANCES):
    """REFER's layout. The refs of gRefCOCO are JSON, the others' pickles, one of them of Python 3."""
    folder = root / dataset
    folder.mkdir(exist_ok=True)
    (root / "ref_shapes.json").write_text("{}")  # no published counts
    if dataset == "grefcoco":
        (folder / "grefs(unc).json").write_text(json.dumps(refs))
    else:
        (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, 4 if dataset == "ref-zom" else 2))
    (folder / "instances.json").write_text(json.dumps(instances))


def write_jsonl(root, row):
    (root / "t.jsonl").write_text(json.dumps(row) + "\n")


def write_csv(root, row):
    with open(root / "t.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ROW)
        values = row.values() if type(row) is dict else [row]
        writer.writerow([v if type(v) is str else json.dumps(v) for v in values])


def write_parts(root, content, pattern, parts):
    """A JSON file of each part of the content, or of all of it if it has no parts."""
    for part in parts:
        of = content.get(part) if type(content) is dict else content
        (root / pattern.format(part)).write_text(json.dumps(of))


CAPTIONS = label_tools.coco()
for _annotation, _text in zip(CAPTIONS["annotations"], ["cup", "dog"], strict=True):
    _annotation |= {"caption": _text, "attributes": {"occluded": False}}
TASKS = [
    label_tools.task(
        label_tools.outline("a", SQUARE), label_tools.brush("b", label_tools.BOX),
        label_tools.text_area("a", "cup"), label_tools.text_area("b", "dog"), image="7.jpg",
    )
]  # fmt: skip
SHAPES = label_tools.labelme(
    label_tools.shape("cup", label_tools.points(SQUARE), description="cup", group_id=1),
    label_tools.mask_shape("dog", np.eye(3), 2, 1, description="dog"),
)
REFS_OF_ROWS = [
    {
        "ref_id": 5, "image_id": 9, "image_path": "7.jpg", "split": "train",
        "sentences": [{"raw": "cup"}], "raw_anns": json.dumps({"segmentation": [SQUARE]}),
        "raw_image_info": json.dumps({"height": 8, "width": 12}),
    },
]  # fmt: skip
SAMPLES = [
    {
        "image": {"bytes": label_tools.image_bytes(), "path": None},
        "samples": [{"sentences": ["cup"], "mask": RUNS}],
    }
]


def write_json(root, content, name="t.json"):
    (root / name).write_text(json.dumps(content))


def write_parquet(root, rows):
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(rows), root / "t.parquet")


# kind: (whole content, how to write it, what to read)
KINDS = {
    "refs": ([REF], lambda root, of: write_refs(root, "refcoco", of), (".", "refcoco")),
    "instances": (
        INSTANCES, lambda root, of: write_refs(root, "refcoco", [REF], of), (".", "refcoco"),
    ),
    "grefs": ([GREF], lambda root, of: write_refs(root, "grefcoco", of), (".", "grefcoco")),
    "instances of several": (
        INSTANCES, lambda root, of: write_refs(root, "grefcoco", [GREF], of), (".", "grefcoco"),
    ),
    "refs of another name": (
        ZOM, lambda root, of: write_refs(root, "ref-zom", of),
        (".", "ref-zom", "images/mscoco/images/train2014"),
    ),
    "refexp": (
        ALIGNED, partial(write_json, name="google_refexp_val_201511_coco_aligned.json"),
        (".", "refexp"),
    ),
    "referit": (
        {"query_train": {"7_1": ["sky", "cup"]}, "imsize": {"7.jpg": [12, 8]}},
        partial(write_parts, pattern="referit_{}.json", parts=("query_train", "imsize")),
        (".", "referit"),
    ),
    "phrasecut": (
        PHRASES, partial(write_parts, pattern="{}.json", parts=PHRASES), (".", "phrasecut"),
    ),
    "coco": (CAPTIONS, write_json, ("t.json", "")),
    "label studio": (TASKS, write_json, ("t.json", "")),
    "labelme": (SHAPES, write_json, ("t.json", "")),
    "rows with annotations": (REFS_OF_ROWS, write_parquet, ("t.parquet", "")),
    "rows with images": (SAMPLES, write_parquet, ("t.parquet", "")),
    "jsonl": (ROW, write_jsonl, ("t.jsonl", "")),
    "csv": (ROW, write_csv, ("t.csv", "")),
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """Images and masks that the records of all kinds may name."""
    (tmp_path / "images/mscoco/images/train2014").mkdir(parents=True)
    (tmp_path / "mask").mkdir()
    image = Image.new("RGB", (12, 8))
    for path in (f"images/mscoco/images/train2014/{NAME}", "images/7.jpg", "7.jpg"):
        image.save(tmp_path / path)
    inside = 1 - tiny.box(8, 12, 2, 3, 6, 9).astype("int16")
    scipy.io.savemat(tmp_path / "mask/7_1.mat", {"segimg_t": inside})
    return tmp_path


ODD = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 7, 9, 70, 2**31, 10**30, -0.5, 1e308, float("nan"), float("inf")])
    | st.sampled_from(
        ["", "../x.jpg", "/etc/passwd", "a\0b", "7.jpg", "mask/7_1.mat", "[", "\ud800"]
    )
    | st.sampled_from([[], {}, [[]], [SQUARE], RUNS, [1, 2, 3], {"size": [10**6, 10**6]}])
    | st.builds(lambda n: {"size": [8, 12], "counts": [n, 96 - n]}, st.integers(-5, 200))
)


def places(value, path=()):
    """The paths to every value inside a nest of dicts and lists, itself included."""
    yield path
    items = (
        value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    )
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_changes(value, changes):
    """A copy of a nest with the values at some places replaced, or removed where it says REMOVE."""
    value = copy.deepcopy(value)
    for path, new in changes:
        new = new if new is REMOVE else copy.deepcopy(new)  # a later change may be inside it
        if not path:
            value = new
            continue
        holder = value
        try:
            for key in path[:-1]:
                holder = holder[key]
            if new is REMOVE:
                del holder[path[-1]]
            else:
                holder[path[-1]] = new
        except (KeyError, IndexError, TypeError):
            pass  # an earlier change took the place away
    return value


REMOVE = object()


def changes_of(value):
    one = st.tuples(st.sampled_from(list(places(value))), ODD | st.just(REMOVE))
    return st.lists(one, min_size=1, max_size=3).filter(
        lambda c: all(p or n is not REMOVE for p, n in c)
    )


def read_and_draw(root, name, dataset, images=None):
    """Reads a data set and draws every mask; returns what was wrong with masks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = images and root / images
        records = read_records(root / name, dataset, images=images)
    for record in (record for of in records.values() for record in of):
        try:
            mask = record.mask()
        except ValueError:
            continue
        assert mask.shape == (record.height, record.width) and mask.dtype == "uint8"
        assert set(np.unique(mask)) <= {0, 1}
    return records


FUZZED = settings(
    deadline=20_000,  # ms; a hang, on however busy a machine
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_content_is_read(root, kind):
    content, write, source = KINDS[kind]
    write(root, content)
    (records,) = (of for of in read_and_draw(root, *source).values() if of)
    assert records[0].mask().sum() > 0


# A changed name may be that of a JPEG, whose use as a mask is warned of.
@pytest.mark.filterwarnings("ignore:A mask in a format with losses")
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FUZZED
def test_changed_values_are_an_error_or_data(root, kind, data):
    content, write, source = KINDS[kind]
    changes = data.draw(changes_of(content))
    try:
        write(root, with_changes(content, changes))
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, RuntimeError):
        return  # no such file can be written
    read_within_bounds(root, *source)


WRITTEN = (".p", ".json", ".jsonl", ".csv", ".parquet")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FUZZED
def test_changed_or_missing_bytes_are_an_error_or_data(root, kind, data):
    content, write, source = KINDS[kind]
    write(root, content)
    files = {path for path in root.rglob("*.*") if path.suffix in WRITTEN}
    files = sorted(files - {root / "ref_shapes.json"})
    path = data.draw(st.sampled_from(files))
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed[: data.draw(st.integers(1, len(changed)))])
    if error := read_within_bounds(root, *source):
        assert any(path.name in error for path in files)


def read_within_bounds(root, *source):
    """Reads and draws in bounded memory; returns the text of the error, if any."""
    tracemalloc.start()
    try:
        read_and_draw(root, *source)
    except (FileNotFoundError, ValueError) as error:
        assert str(error)
        return str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY
    return ""


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
@given(data=st.data())
@FUZZED
def test_damaged_images_are_an_error_or_pixels(tmp_path, format, data):
    path = tmp_path / "x"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (8, 12, 3)).astype("uint8")).save(path, format)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged metadata
            pixels = read_image(bytes(content[: data.draw(st.integers(1, len(content)))]))
    except ValueError as error:
        assert "the image given as bytes" in str(error)
    else:
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == "uint8"
        assert pixels.size <= 3 * MAX_PIXELS
