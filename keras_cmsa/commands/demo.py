"""`keras-cmsa demo`: a page to try a model on."""

import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.commands.backend import import_keras


def demo(
    *,
    model: Annotated[Path, Parameter(env_var="KERAS_CMSA_MODEL")],
    host: str = "127.0.0.1",
    port: int = 7860,
):
    """Serve a page where one drops a photo, types sentences and sees what they speak of.

    Uploads are bounded in size, lie in a folder of their own for half a minute, and are gone when
    the page is stopped.

    Parameters
    ----------
    model
        A .keras file with its vocabulary.txt beside it, or the folder of both.
    host
        Address to listen on; 0.0.0.0 lets other machines in.
    port
        To listen on.
    """
    import_keras()
    from keras_cmsa.demo import gradio, serve
    from keras_cmsa.predictor import Predictor

    gradio()  # before the model, which takes seconds to load
    # A service manager's way to stop us; the uploads go as on an interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(Predictor.load(model), host, port)
