"""Requests that TensorFlow Serving replays before it says that a version is ready.

Without them the first request of each kind pays for the optimisation of its graph.
"""

import importlib.util
import io

from PIL import Image

PHOTO = (480, 640)  # a usual size of photos in COCO, in pixels


def check_warmup():
    """Raises a `ModuleNotFoundError` without tensorflow-serving-api, before an export has begun."""
    if not importlib.util.find_spec("tensorflow_serving"):
        raise ModuleNotFoundError(
            "Requests to warm a server up with need tensorflow-serving-api: "
            'pip install "keras-cmsa[serve]", or leave them out with warmup=False (--no-warmup)'
        )


def write_warmup(folder, name, vocabulary):
    """Writes `assets.extra/tf_serving_warmup_requests` into a version's folder.

    Args:
        folder: `Path` of the version.
        name: the model's name.
        vocabulary: a `Vocabulary`, whose first words are asked for.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    expression = " ".join(vocabulary.words[2 : 2 + min(3, vocabulary.max_words)])
    target = folder / "assets.extra" / "tf_serving_warmup_requests"
    target.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(target)) as writer:
        for kind in ("JPEG", "PNG"):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = "serving_default"
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([grey_image(kind)]))
            request.inputs["expression"].CopyFrom(tf.make_tensor_proto([expression]))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def grey_image(kind):
    file = io.BytesIO()
    Image.new("RGB", PHOTO[::-1], "grey").save(file, kind)
    return file.getvalue()
