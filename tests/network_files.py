"""Networks as files outside of TensorFlow: ONNX, or LiteRT by the name's end."""


def write_file(network, path):
    """Writes a Keras model of `image` and `words`."""
    from keras_cmsa.export import to_litert, to_onnx

    {".onnx": to_onnx.write_network, ".tflite": to_litert.write}[path.suffix](network, path)


def run_file(path, inputs):
    """What a file gives: dict of arrays."""
    from keras_cmsa.presets.exported import litert_runner, onnx_runner

    is_onnx = path.suffix == ".onnx"
    run, _ = onnx_runner(path) if is_onnx else litert_runner(path, "serving_default")
    return run(**inputs)
