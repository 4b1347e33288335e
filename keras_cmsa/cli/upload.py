"""`keras-cmsa upload`: a preset to a hub."""

from pathlib import Path


def upload(folder: Path, address: str):
    """Upload a preset to Hugging Face's hub, from where --model hf://user/name loads it.

    Only config.json, model.keras, vocabulary.txt, README.md and reference.npz are sent, none of a
    run's records. Needs keras-cmsa[hub] and a login (hf auth login). HF_ENDPOINT names another
    server.

    Parameters
    ----------
    folder
        The preset, as training leaves it.
    address
        hf://user/name; it is made if it is not there.
    """
    from keras_cmsa.presets.hub import upload as upload_files

    print(upload_files(folder, address))
