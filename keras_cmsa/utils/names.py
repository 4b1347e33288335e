"""Names that strangers wrote in a table and that become files, or lead to them."""

import os
import re
import unicodedata
from pathlib import Path

# Files are called after a split, and TFDS has a syntax of its own for other characters.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
MAX_NAME = 255  # bytes of a file's name on most disks
ALL = "all"  # every split at once, to TFDS and to --exclude-images-of


def checked_split(name, where):
    """A name of a split that every later step can carry.

    Args:
        name: `str`.
        where: file and entry, the first words of an error.

    Returns:
        `name`.

    Raises:
        ValueError: if it is another name than 1 to 50 of the letters a to z, digits, `_` and `-`.
    """
    if not NAME.fullmatch(name) or name == ALL:
        raise ValueError(
            f"{where}: wanted a split, such as train or val_2: 1 to 50 letters a to z, digits, _ "
            f"and -, but not {ALL}. Received: {name!r:.80}"
        )
    return name


def path_inside(folder, name, where):
    """A path in the folder of a table; a name that leads out of it is refused.

    Args:
        folder: `Path`.
        name: relative to it; blanks around it are no part of it.
        where: file and entry, the first words of an error.

    Returns:
        `Path`.

    Raises:
        ValueError: if it is absolute, has a part `..`, or is no path at all.
    """
    name = name.strip()
    path = Path(name)
    is_out = path.is_absolute() or ".." in path.parts or path == Path() or "\0" in name
    is_out = is_out or any(len(os.fsencode(part)) > MAX_NAME for part in path.parts)
    reason = _reason(folder, name)
    if is_out or reason:
        raise ValueError(
            f"{where}: wanted a path inside {folder} and relative to it. Received: "
            f"{name!r:.100}{reason}"
        )
    return folder / path


def _reason(folder, name):
    """Why a name is none of a file here, as far as it tells; else an empty text."""
    if re.match(r"\w+://", name):
        return ", an address: download the file first"
    if re.match(r"[A-Za-z]:[\\/]", name):
        return ", a path with a drive letter: take what follows the folder of the table"
    if name.startswith("~"):
        return ", where ~ is not the home folder: take what follows the folder of the table"
    if "\\" in name and not os.path.exists(folder / name):
        return ", with backslashes: write / instead"
    if not name.isascii() and not os.path.exists(folder / name):
        forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        if any(os.path.exists(folder / form) for form in forms):
            return ", which is there in another Unicode form: write the name as the folder has it"
    return ""
