"""Requests that a server replays before it is ready: two kinds of photo, answered by the version."""

import sys

import pytest
from image_files import mask_of

from keras_cmsa.export.saved_model import export_saved_model

tf = pytest.importorskip("tensorflow")


def test_the_requests_are_answered(exported, served):
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis import prediction_log_pb2

    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    logs = map(
        prediction_log_pb2.PredictionLog.FromString,
        tf.data.TFRecordDataset(str(file)).as_numpy_iterator(),
    )
    requests = [log.predict_log.request for log in logs]
    kinds = []
    for request in requests:
        assert request.model_spec.name == exported.parent.name == "cmsa"
        inputs = {name: tf.make_ndarray(x) for name, x in request.inputs.items()}
        kinds.append(inputs["image_bytes"][0][:4])
        answer = served(
            inputs["image_bytes"], inputs["expression"], request.model_spec.signature_name
        )
        assert answer["valid"].all()
        assert b"[UNK]" not in answer["words"][0]
        assert mask_of(answer["mask_png_bytes"][0]).shape == (480, 640)
    assert kinds == [b"\xff\xd8\xff\xe0", b"\x89PNG"]


def test_without_the_library_nothing_is_begun(predictor, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ModuleNotFoundError, match=r'`warmup=False` .*"keras-cmsa\[serve\]"'):
        export_saved_model(predictor, tmp_path / "cmsa")
    assert not (tmp_path / "cmsa").exists()
