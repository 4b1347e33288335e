"""CVAT's auto-annotation function, with the shapes and the code of masks of CVAT's own SDK."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

sdk = pytest.importorskip("cvat_sdk.auto_annotation", reason="needs cvat-sdk")
masks = pytest.importorskip("cvat_sdk.masks")
cvat = pytest.importorskip("keras_cmsa.serving.cvat")

PHRASES = ["red box", "blue box on the left"]
CONTEXT = SimpleNamespace(frame_name="1.png", conf_threshold=None, conv_mask_to_poly=False)


def test_each_label_gets_the_mask_of_its_name(preset, predictor, photo):
    function = cvat.create("red box; blue box on the left", model=str(preset))
    labels = [(label.name, label.id, label.type) for label in function.spec.labels]
    assert labels == [(phrase, i, "mask") for i, phrase in enumerate(PHRASES)]
    shapes = function.detect(CONTEXT, Image.fromarray(photo))
    expected = predictor(photo, PHRASES)
    assert [shape.label_id for shape in shapes] == [0, 1]
    for shape, prediction in zip(shapes, expected):
        assert shape.type.value == "mask"
        height, width = prediction.mask.shape
        mask = masks.decode_mask(shape.points, image_width=width, image_height=height)
        np.testing.assert_array_equal(mask, prediction.mask)


def test_scores_below_the_threshold_and_empty_masks_have_no_shape(predictor, photo):
    function = cvat.Function(predictor, PHRASES)
    scores = [prediction.score for prediction in predictor(photo, PHRASES)]
    assert scores[0] != scores[1]
    context = SimpleNamespace(conf_threshold=max(scores), conv_mask_to_poly=False)
    (shape,) = function.detect(context, Image.fromarray(photo))
    assert shape.label_id == np.argmax(scores)
    empty = SimpleNamespace(mask=np.zeros((3, 3), bool), score=0.0)
    function.predictor = lambda image, phrases: [empty, empty]
    assert function.detect(CONTEXT, Image.fromarray(photo)) == []


def test_what_it_refuses(predictor, photo):
    for phrases in (["box", "box"], ["box", ""], [""]):
        with pytest.raises(ValueError, match="`phrases` must be phrases with ; between, each once"):
            cvat.Function(predictor, phrases)
    with pytest.raises(ValueError, match="at least one word"):
        cvat.Function(predictor, ["!"])
    polygons = SimpleNamespace(conf_threshold=None, conv_mask_to_poly=True)
    with pytest.raises(sdk.BadFunctionError, match="wanted masks"):
        cvat.Function(predictor, PHRASES).detect(polygons, Image.fromarray(photo))
