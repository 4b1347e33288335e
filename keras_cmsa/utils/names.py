"""Names that strangers wrote in a table and that become files, or lead to them."""

import re
from pathlib import Path

# Files are called after a split, and TFDS has a syntax of its own for other characters.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
RESERVED = ("all",)  # every split at once, to TFDS and to --exclude-images-of


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
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(
            f"{where}: wanted a split, such as train or val_2: 1 to 50 letters a to z, digits, _ "
            f"and -, but not {' or '.join(RESERVED)}. Received: {name!r:.80}"
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
    # What Windows and browsers call a path would be a strange name of a missing file here.
    elsewhere = re.match(r"[A-Za-z]:[\\/]|\w+://|~", name)
    if path.is_absolute() or ".." in path.parts or path == Path() or "\0" in name or elsewhere:
        raise ValueError(
            f"{where}: wanted a path inside {folder} and relative to it. Received: {name!r:.100}"
        )
    return folder / path
