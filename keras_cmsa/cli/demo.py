"""`keras-cmsa demo`: a page to try a model on."""

import signal
import sys

from keras_cmsa.cli.options import Model, name_model
from keras_cmsa.presets.hub import PHOTOS
from keras_cmsa.utils.messages import check_within
from keras_cmsa.utils.silence import import_keras


def demo(*, model: Model = PHOTOS, host: str = "127.0.0.1", port: int = 7860):
    """Serve a page where one drops a photo, types sentences and sees what they refer to.

    Uploads are bounded in size, lie in a folder of their own for less than a minute, and are gone
    when the page is stopped.

    Parameters
    ----------
    host
        Address to listen on; 0.0.0.0 lets other machines in.
    port
        To listen on.
    """
    check_within(1, 65535, port=port)
    name_model(model)
    import_keras()
    from keras_cmsa.inference.predictor import Predictor
    from keras_cmsa.serving.demo import gradio, serve

    gradio()  # before the model, which takes seconds to load
    # A service manager's way to stop us; the uploads go as on an interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(Predictor.from_preset(model), host, port)
