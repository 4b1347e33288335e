"""Tables of images and expressions that a model is to segment, whatever runs it.

`keras-cmsa segment --csv` and `keras_cmsa.serving.batch` read the same tables by the same rules.
"""

from keras_cmsa.utils.csv_files import rows_of
from keras_cmsa.utils.names import path_inside

ASKED = ("image", "expression")


def pairs_of(content, table):
    """The rows of a CSV table with their numbers.

    Args:
        content: the bytes of the file.
        table: its path, for the errors.

    Returns:
        `[{row, image, expression}, ...]`, all text but the number; row 1 is the first under the head.

    Raises:
        ValueError: if it is no such table, see `keras_cmsa.utils.csv_files.rows_of`, or has no row.
    """
    rows = rows_of(content, table, ASKED)
    if not rows:
        raise ValueError(f"{table} has no rows")
    return [
        {"row": number, "image": row["image"], "expression": row["expression"]}
        for number, (_, row) in enumerate(rows, start=1)
    ]


def by_image(rows):
    """Rows of one image together, wherever they stand: dict from image to its rows."""
    groups = {}
    for row in rows:
        groups.setdefault(row["image"], []).append(row)
    return groups


def path_of(folder, image, table, outside):
    """The path of a row's image: in the folder of the images, unless others are allowed.

    Args:
        folder: `Path`.
        image: as the table names it; blanks around it are no part of it.
        table: its path, for the error.
        outside: allow absolute paths and those with a part `..`.

    Raises:
        ValueError: if the path leads out of the folder and must not.
    """
    if outside:
        return folder / image.strip()
    try:
        return path_inside(folder, image, table)
    except ValueError as error:
        raise ValueError(f"{error}. `outside` takes others too") from None
