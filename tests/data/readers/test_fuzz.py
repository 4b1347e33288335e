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
from functools import reduce
from operator import getitem

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
SEVERAL = {**REF, "ann_id": [71, 70]}
ZOM = [
    {**SEVERAL, "source": "many", "sentences": [{**REF["sentences"][0], "exist": True}]},
    {**REF, "ref_id": 6, "source": "zero"},
]
ALIGNED = {
    "images": {"9": {"image_id": 9, **IMAGE}},
    "annotations": {
        "70": {"annotation_id": 70, "image_id": 9, "segmentation": [SQUARE], "refexp_ids": [1]}
    },
    "refexps": {"1": {"refexp_id": 1, "raw": "cup", "tokens": ["cup"]}},
}
PHRASE = {
    "task_id": "7__1",
    "image_id": 7,
    "phrase": "cup",
    "Polygons": [[[[2, 2], [6, 2], [6, 6], [2, 6]]], [[[8, 1], [9, 1], [9, 3]]]],
}
ROW = {"image": "7.jpg", "expression": "cup", "mask": [SQUARE], "split": "train"}
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


# {data set, or file of one's own: {file: whole content}}
KINDS = {
    "refcoco": {"refcoco/refs(unc).p": [REF], "refcoco/instances.json": INSTANCES},
    "grefcoco": {"grefcoco/grefs(unc).json": [SEVERAL], "grefcoco/instances.json": INSTANCES},
    "ref-zom": {"ref-zom/refs(unc).p": ZOM, "ref-zom/instances.json": INSTANCES},
    "refexp": {"google_refexp_val_201511_coco_aligned.json": ALIGNED},
    "referit": {
        "referit_query_train.json": {"7_1": ["sky", "cup"]},
        "referit_imsize.json": {"7.jpg": [12, 8]},
    },
    "phrasecut": {
        "refer_val.json": [PHRASE],
        "image_data_split.json": [{"image_id": 7, "height": 8, "width": 12, "split": "val"}],
        "skip.json": [
            {"image_id": 7, "phrase": "sky", "reason": "Not in Image"},
            {"image_id": 7, "phrase": "dog", "reason": "Other"},
        ],
    },
    "coco.json": {"coco.json": CAPTIONS},
    "label_studio.json": {"label_studio.json": TASKS},
    "labelme.json": {"labelme.json": SHAPES},
    "annotations.parquet": {"annotations.parquet": REFS_OF_ROWS},
    "images.parquet": {"images.parquet": SAMPLES},
    "rows.jsonl": {"rows.jsonl": ROW},
    "rows.csv": {"rows.csv": ROW},
}


def write(root, files):
    """Writes files as their endings say, one of the pickles as Python 3 does."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".p":
            path.write_bytes(pickle.dumps(content, 4 if name.startswith("ref-zom") else 2))
        elif path.suffix == ".parquet":
            arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
            parquet = pytest.importorskip("pyarrow.parquet")
            parquet.write_table(arrow.Table.from_pylist(content), path)
        elif path.suffix == ".csv":
            values = content.values() if type(content) is dict else [content]
            with open(path, "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(ROW)
                writer.writerow([v if type(v) is str else json.dumps(v) for v in values])
        else:
            path.write_text(json.dumps(content) + "\n")


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
    | st.sampled_from(
        [-1, 0, 1, 7, 9, 70, 2**31, 10**30, 10**400, -0.5, 1e308, float("nan"), float("inf")]
    )
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


REMOVE = object()


def damaged(files, draw):
    """A copy of the files with one to three of their values replaced or removed."""
    files = copy.deepcopy(files)
    for _ in range(draw(st.integers(1, 3))):
        if files:
            *path, last = draw(st.sampled_from([*places(files)][1:]))
            holder, new = reduce(getitem, path, files), draw(ODD | st.just(REMOVE))
            if new is REMOVE:
                del holder[last]
            else:
                holder[last] = copy.deepcopy(new)  # a later change may be inside it
    return files


def read_and_draw(root, kind):
    """Reads a data set and draws every mask."""
    images = root / "images/mscoco/images/train2014" if kind == "ref-zom" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = read_records(root / kind if "." in kind else root, kind, images=images)
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
    write(root, KINDS[kind])
    (records,) = (of for of in read_and_draw(root, kind).values() if of)
    assert records[0].mask().sum() > 0


# A changed name may be that of a JPEG, whose use as a mask is warned of.
@pytest.mark.filterwarnings("ignore:A mask in a format with losses")
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FUZZED
def test_changed_values_are_an_error_or_data(root, kind, data):
    for name in KINDS[kind]:
        (root / name).unlink(missing_ok=True)
    try:
        write(root, damaged(KINDS[kind], data.draw))
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, RuntimeError):
        return  # no such file can be written
    read_within_bounds(root, kind)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FUZZED
def test_changed_or_missing_bytes_are_an_error_or_data(root, kind, data):
    files = KINDS[kind]
    write(root, files)
    path = root / data.draw(st.sampled_from([*files]))
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed[: data.draw(st.integers(1, len(changed)))])
    if error := read_within_bounds(root, kind):
        assert any((root / name).name in error for name in files)


def read_within_bounds(root, kind):
    """Reads and draws in bounded memory; returns the text of the error, if any."""
    tracemalloc.start()
    try:
        read_and_draw(root, kind)
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
