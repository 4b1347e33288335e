"""`keras-cmsa verify`: whether a model, here or on a server, answers as when it was saved."""

import re
import sys
from pathlib import Path

from keras_cmsa.utils.silence import import_keras

ADDRESS = re.compile("((?:https?|grpc)://.+?)/v1/models/([^/]+)(?:/versions/([0-9]+))?/?")


def verify(model: str, *, reference: Path | None = None):
    """Ask a model about the picture of its reference, and say what it answers otherwise.

        keras-cmsa verify runs/demo
        keras-cmsa verify http://localhost:8501/v1/models/cmsa --reference saved_models/cmsa/1

    Every preset and every export has a reference.npz: a drawn picture, three sentences, and what the
    model made of them. The exit code is 1 if an answer differs by more than the bound for the dtype
    of the model's weights; for a server, those of what was deployed.

    Parameters
    ----------
    model
        The folder of a preset or an export, hf://user/name or kaggle://user/model/keras/variation;
        or a model on a server, http://HOST:8501/v1/models/NAME or grpc://HOST:8500/v1/models/NAME,
        with /versions/N for another version than the server chooses.
    reference
        The preset or the export whose reference counts; needed for a server: what was deployed.
    """
    address = ADDRESS.fullmatch(model)
    if model.startswith(("http:", "https:", "grpc:")) and not (address and reference):
        raise ValueError(
            "wanted http://HOST:8501/v1/models/NAME or grpc://HOST:8500/v1/models/NAME, and the "
            "folder of what was deployed as `reference`. Received: "
            + ("no reference" if address else "an address of a server without /v1/models/NAME")
        )
    import_keras()
    from keras_cmsa.inference import verification
    from keras_cmsa.inference.predictor import Predictor
    from keras_cmsa.presets.files import opened
    from keras_cmsa.presets.reference import read_reference
    from keras_cmsa.serving.client import Client, ServerError

    folder, config = opened(reference or model)
    wanted = read_reference(folder)
    if address:
        url, name, version = address.groups()
        try:
            with Client(url, name, version and int(version)) as client:

                def ask(file, sentences):
                    return verification.Answers(None, *client.outputs(file, sentences))

                verifications = [verification.verify(wanted, ask, verification.bounds_of(config))]
        except ServerError as error:
            raise ValueError(str(error)) from error
    else:
        predictor = Predictor.from_preset(model)
        graph = verification.asking_graph(opened(model)[0], predictor)
        asks = [verification.asking(predictor), *([graph] if graph else [])]
        bounds = verification.bounds_of(predictor.config)
        verifications = [verification.verify(wanted, ask, bounds) for ask in asks]
    for title, answers in zip(("", "\nits own graph, from a picture to masks:\n"), verifications):
        print(title + "\n".join(answers.lines))
    sys.exit(1 if any(answers.cause for answers in verifications) else 0)
