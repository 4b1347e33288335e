"""`.keras` files from strangers: nothing in them may run code or fill the memory."""

import contextlib
import json
import zipfile
from pathlib import Path, PurePosixPath

import keras

from keras_cmsa.utils.extras import require

# Keras stores weights uncompressed, so an honest archive is about as large as its contents.
MAX_EXPANSION = 20
MAX_BYTES = 8 * 2**30
MAX_CONFIG_BYTES = 64 * 2**20


def load_keras(path):
    """The model in a `.keras` file, for inference.

    The file is checked before Keras opens it: it may hold layers of Keras, of this package, and
    registered ones that are imported already; no Lambda, no other module, no name that leads out of
    the archive, and no more than `MAX_EXPANSION` times its own bytes.

    Args:
        path: of the file.

    Returns:
        `keras.Model`.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: if it has layers of KerasHub, which is not installed.
        ValueError: if it is damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: wanted a .keras file, as training leaves it")
    with loading(path):
        check(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)


@contextlib.contextmanager
def loading(path):
    """Turns any error but `Refused` into a `ValueError` of one line that names the path."""
    try:
        yield
    except (Refused, ModuleNotFoundError):
        raise
    # The errors of broken files have no common base: BadZipFile, KeyError, OSError, TypeError,
    # those of TensorFlow and ONNX Runtime, ...
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path} cannot be loaded: it is cut short, damaged, or a model of another package "
            f"({type(error).__name__}: {reason[:200]})"
        ) from error


class Refused(ValueError):
    """A file that is whole but may not be loaded."""


def check(path):
    """Raises `Refused` if an archive leads out of itself or is a bomb, or a class may run code."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:
                raise Refused(
                    f"{path} is refused: the name {member.filename!r} in it leads out of it"
                )
        size, limit = sum(m.file_size for m in members), path.stat().st_size * MAX_EXPANSION
        if size > min(limit, MAX_BYTES):
            raise Refused(
                f"{path} is refused: it unpacks to {size:,} bytes; wanted at most {MAX_EXPANSION} "
                f"times its own size and {MAX_BYTES:,}"
            )
        if archive.getinfo("config.json").file_size > MAX_CONFIG_BYTES:
            raise Refused(f"{path} is refused: its config.json is over {MAX_CONFIG_BYTES:,} bytes")
        json.loads(archive.read("config.json"), object_hook=lambda part: check_class(part, path))


def check_class(config, path):
    name, module = config.get("class_name"), config.get("module")
    # As Keras looks them up: a function by its own name, a class by its registered name.
    registered = config.get("config" if name == "function" else "registered_name")
    if name in ("Lambda", "__lambda__"):
        raise Refused(f"{path} is refused: it holds a Lambda, which runs code of its author")
    package = str(module).split(".")[0]
    if package == "keras_hub":  # whose import registers its classes
        require("keras_hub", "pretrained", f"{path}, a model with a tower of KerasHub,")
    is_registered = isinstance(registered, str) and keras.saving.get_registered_object(registered)
    known = module is None or package in ("keras", "builtins") or is_registered
    if isinstance(name, str) and not known:
        raise Refused(
            f"{path} is refused: it holds {name!r} of the module {module!r}, which is neither of "
            "Keras nor of keras_cmsa nor registered (keras.saving.register_keras_serializable) "
            "and imported"
        )
    return config
