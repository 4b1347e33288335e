"""Presets on Hugging Face's hub and on Kaggle, by their addresses.

    hf://user/name
    kaggle://user/model/keras/variation

Both are KerasHub's spelling. Extra `hub`. `HF_ENDPOINT` names another server than Hugging Face's.
"""

import contextlib
import json
from pathlib import Path, PurePath

from keras_cmsa.utils.extras import library_fault, require

LOADED = ("config.json", "model.keras", "vocabulary.txt")
REFERENCE = "reference.npz"  # which a training has only at its end
FILES = (*LOADED, "README.md", REFERENCE)
# Settings of a training that may be the path of a file or folder.
PATHS = {"backbone_weights", "image_encoder", "word_encoder", "word_vectors", "start_from"}
PHOTOS = "cmsa_photos"  # the preset that comes with the package
SCHEMES = ("hf://", "kaggle://")


def is_hub_address(source):
    """Whether a source is an address of a hub and not a path."""
    return str(source).startswith(SCHEMES)


def split_address(address):
    """`(scheme, handle)` of an address such as `"hf://user/name"`.

    Raises:
        ValueError: if it is none.
    """
    scheme, _, handle = str(address).partition("://")
    parts = handle.split("/")
    wanted = {"hf": (2,), "kaggle": (4, 5)}.get(scheme, ())
    if len(parts) not in wanted or not all(parts) or ".." in parts:
        raise ValueError(
            f"wanted hf://user/name or kaggle://user/model/keras/variation. Received: {address!r}"
        )
    return scheme, handle


def fetch(address):
    """Downloads `FILES` of a preset, once: the `Path` of its folder in the hub's own cache.

    No other file comes, and none but `model.keras` is its network: a stranger's graph is a program.

    Raises:
        ModuleNotFoundError: if the hub's library is missing.
        OSError: if the hub cannot be reached or has no such preset.
        ValueError: if the address is none, or the preset has no `model.keras`.
    """
    scheme, handle = split_address(address)
    download = {"hf": from_hugging_face, "kaggle": from_kaggle}[scheme]
    advice = "Is the name right, and the network there? A private preset needs the hub's own login"
    with library_fault(f"{address} could not be downloaded", advice):
        folder = Path(download(handle))
    if not (folder / "model.keras").is_file():
        raise ValueError(f"{address} is no preset: wanted model.keras, which is not there")
    return folder


def from_hugging_face(handle):
    hub = require("huggingface_hub", "hub", "A preset on Hugging Face")
    return hub.snapshot_download(handle, allow_patterns=list(FILES))


def from_kaggle(handle):
    hub = require("kagglehub", "hub", "A preset on Kaggle")
    folder = {Path(hub.model_download(handle, name)).parent for name in LOADED}.pop()
    with contextlib.suppress(hub.exceptions.KaggleApiHTTPError):  # one that training left at a kill
        hub.model_download(handle, REFERENCE)
    return folder


def upload(folder, address):
    """Uploads the files of a preset, and none of the records of its training.

    Args:
        folder: of the preset.
        address: `"hf://user/name"`, made if it is not there.

    Returns:
        The address of the uploaded preset as the hub names it.

    Raises:
        FileNotFoundError: if a file of the preset is missing.
        ModuleNotFoundError: if the hub's library is missing.
        OSError: if the hub refuses it.
        ValueError: if the address is not one of Hugging Face's.
    """
    folder = Path(folder)
    scheme, handle = split_address(address)
    if scheme != "hf":
        raise ValueError(f"wanted hf://user/name: uploads go there alone. Received: {address!r}")
    contents = {name: folder / name for name in FILES if (folder / name).is_file()}
    if missing := [name for name in FILES if name not in contents and name != REFERENCE]:
        raise FileNotFoundError(f"{folder} is no preset: {', '.join(missing)} not there")
    hub = require("huggingface_hub", "hub", "An upload to Hugging Face")
    contents["config.json"] = without_folders(folder / "config.json")
    files = [hub.CommitOperationAdd(*file) for file in contents.items()]
    with library_fault(f"{address} could not be uploaded", "Is there a login? hf auth login"):
        api = hub.HfApi()
        api.create_repo(handle, exist_ok=True)
        message = "Upload a keras-cmsa preset"
        return str(api.create_commit(handle, files, commit_message=message))


def without_folders(path):
    """The bytes of a `config.json` in which the paths of its training's files are names alone."""
    config = json.loads(path.read_bytes())
    training = config.get("training", {})
    for name in PATHS & training.keys():
        if isinstance(training[name], str) and not is_hub_address(training[name]):
            training[name] = PurePath(training[name]).name
    return json.dumps(config, indent=1).encode()
