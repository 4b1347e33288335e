"""Presets on Hugging Face's hub and on Kaggle, by their addresses.

    hf://user/name
    kaggle://user/model/keras/variation

Both are KerasHub's spelling. Extra `hub`. `HF_ENDPOINT` names another server than Hugging Face's.
"""

from pathlib import Path, PurePosixPath

from keras_cmsa.utils.extras import require

FILES = ("config.json", "model.keras", "vocabulary.txt", "README.md")
SCHEMES = ("hf://", "kaggle://")


def is_hub_address(source):
    """Whether a source is an address of a hub and not a path."""
    return str(source).startswith(SCHEMES)


def split_address(address):
    """`(scheme, handle)` of an address such as `"hf://user/name"`.

    Raises:
        ValueError: if it is none.
    """
    scheme, separator, handle = str(address).partition("://")
    parts = handle.split("/")
    wanted = {"hf": (2,), "kaggle": (4, 5)}.get(scheme, ())
    if not separator or len(parts) not in wanted or not all(parts) or ".." in parts:
        raise ValueError(
            f"wanted hf://user/name or kaggle://user/model/keras/variation. Received: {address!r}"
        )
    return scheme, handle


def fetch(address):
    """Downloads a preset, once: the `Path` of its folder in the hub's own cache.

    Raises:
        ModuleNotFoundError: if the hub's library is missing.
        OSError: if the hub cannot be reached or has no such preset.
        ValueError: if the address is none, or a file name in it leads out of its folder.
    """
    scheme, handle = split_address(address)
    download = {"hf": from_hugging_face, "kaggle": from_kaggle}[scheme]
    try:
        return Path(download(handle))
    except (ValueError, ModuleNotFoundError):
        raise
    # The libraries raise errors of their own, of requests or of httpx.
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise OSError(
            f"{address} could not be downloaded ({type(error).__name__}: {reason[:300]}). Is the "
            "name right, and the network there? A private preset needs the hub's own login"
        ) from error


def from_hugging_face(handle):
    hub = require("huggingface_hub", "hub", "A preset on Hugging Face")
    try:
        names = hub.HfApi().list_repo_files(handle)
    # Out of reach, or no such preset. Either the cache has the preset, whose names were checked at
    # its download, or the download below says what is wrong.
    except Exception:
        names = []
    check_names(names, f"hf://{handle}")
    return hub.snapshot_download(handle, allow_patterns=list(FILES))


def from_kaggle(handle):
    folder = require("kagglehub", "hub", "A preset on Kaggle").model_download(handle)
    names = [str(path.relative_to(folder)) for path in Path(folder).rglob("*")]
    check_names(names, f"kaggle://{handle}")
    return folder


def check_names(names, address):
    """Raises a `ValueError` if a file name leads out of the preset's folder."""
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"{address} is refused: the file name {name!r} leads out of its folder"
            )


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
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} is no preset: {', '.join(missing)} not there")
    hub = require("huggingface_hub", "hub", "An upload to Hugging Face")
    try:
        api = hub.HfApi()
        api.create_repo(handle, exist_ok=True)
        return str(
            api.upload_folder(
                repo_id=handle,
                folder_path=folder,
                allow_patterns=list(FILES),
                commit_message="Upload a keras-cmsa preset",
            )
        )
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise OSError(
            f"{address} could not be uploaded ({type(error).__name__}: {reason[:300]}). Is there a "
            "login? hf auth login"
        ) from error
