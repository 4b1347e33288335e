"""Requests that TensorFlow Serving replays before it reports that a version is ready.

Without them, the first request of each kind waits for the optimisation of its graph.
"""

import io

from PIL import Image

PHOTO_SIZE = (480, 640)  # height and width in pixels of a usual photo in COCO


def write_warmup(folder, name, vocabulary):
    """Writes `assets.extra/tf_serving_warmup_requests` into a version's folder.

    Args:
        folder: `Path` of the version.
        name: name of the model on the server.
        vocabulary: `Vocabulary`; its first words are the expression of the requests.
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
            file = io.BytesIO()
            Image.new("RGB", PHOTO_SIZE[::-1], "grey").save(file, kind)
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([file.getvalue()]))
            request.inputs["expression"].CopyFrom(tf.make_tensor_proto([expression]))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
