"""Maps with their channels last, whatever Keras is set to."""

import contextlib

import keras


@contextlib.contextmanager
def channels_last():
    """Builds layers on maps `(B, H, W, C)` within a `with`, or in the function that it decorates."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)
