"""CVAT's auto-annotation function, against a stub of what it takes from `cvat_sdk`."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

PHRASES = ["red box", "blue box on the left"]
CONTEXT = SimpleNamespace(frame_name="1.png", conf_threshold=None, conv_mask_to_poly=False)


class BadFunctionError(Exception):
    pass


@pytest.fixture
def cvat(monkeypatch):
    """The module of the function, on a stub of the SDK that keeps what it is given."""
    sdk, cvataa, masks = map(ModuleType, ("cvat_sdk", "cvat_sdk.auto_annotation", "cvat_sdk.masks"))
    cvataa.label_spec = lambda name, id, **options: SimpleNamespace(name=name, id=id, **options)
    cvataa.DetectionFunctionSpec = lambda labels: SimpleNamespace(labels=labels)
    cvataa.mask = lambda label_id, points: SimpleNamespace(label_id=label_id, points=points)
    cvataa.BadFunctionError = BadFunctionError
    masks.encode_mask = lambda bitmap: bitmap
    sdk.auto_annotation, sdk.masks = cvataa, masks
    for module in (sdk, cvataa, masks):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return importlib.import_module("keras_cmsa.serving.cvat")


def test_each_label_gets_the_mask_of_its_name(cvat, preset, predictor, photo):
    function = cvat.create("red box; blue box on the left", model=str(preset))
    labels = [(label.name, label.id, label.type) for label in function.spec.labels]
    assert labels == [(phrase, i, "mask") for i, phrase in enumerate(PHRASES)]
    shapes = function.detect(CONTEXT, Image.fromarray(photo))
    expected = predictor(photo, PHRASES)
    assert [shape.label_id for shape in shapes] == [0, 1]
    for shape, prediction in zip(shapes, expected):
        assert shape.points.dtype == bool  # as CVAT's encode_mask wants it
        np.testing.assert_array_equal(shape.points, prediction.mask)


def test_scores_below_the_threshold_and_empty_masks_have_no_shape(cvat, predictor, photo):
    function = cvat.Function(predictor, PHRASES)
    scores = [prediction.score for prediction in predictor(photo, PHRASES)]
    assert scores[0] != scores[1]
    context = SimpleNamespace(conf_threshold=max(scores), conv_mask_to_poly=False)
    (shape,) = function.detect(context, Image.fromarray(photo))
    assert shape.label_id == np.argmax(scores)
    empty = SimpleNamespace(mask=np.zeros((3, 3), bool), score=0.0)
    function.predictor = lambda image, phrases: [empty, empty]
    assert function.detect(CONTEXT, Image.fromarray(photo)) == []


def test_what_it_refuses(cvat, predictor, photo):
    for phrases in (["box", "box"], ["box", ""], [""]):
        with pytest.raises(ValueError, match="`phrases` must be phrases with ; between, each once"):
            cvat.Function(predictor, phrases)
    with pytest.raises(ValueError, match="at least one word"):
        cvat.Function(predictor, ["!"])
    polygons = SimpleNamespace(conf_threshold=None, conv_mask_to_poly=True)
    with pytest.raises(BadFunctionError, match="wanted masks"):
        cvat.Function(predictor, PHRASES).detect(polygons, Image.fromarray(photo))
