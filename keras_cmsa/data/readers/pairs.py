"""Tables of images and expressions that a model is to segment, whatever runs it.

`keras-cmsa segment --csv` and `keras_cmsa.serving.batch` read the same tables by the same rules.
"""

from keras_cmsa.utils.csv_files import read_rows
from keras_cmsa.utils.names import path_inside

ASKED = ("image", "expression")


def read_pairs(table):
    """The rows of a CSV table, see `numbered`.

    Raises:
        FileNotFoundError, ValueError: as `keras_cmsa.utils.csv_files.read_rows`, or as `numbered`.
    """
    return numbered([row for _, row in read_rows(table, ASKED)], table)


def numbered(rows, table):
    """The rows of a table with their numbers.

    Args:
        rows: dicts with `image` and `expression`, both `str`.
        table: its path, for the error.

    Returns:
        `[{row, image, expression}, ...]`; row 1 is the first under the head.

    Raises:
        ValueError: if there is no row.
    """
    if not rows:
        raise ValueError(f"{table} has no rows")
    return [
        {"row": number, "image": row["image"], "expression": row["expression"]}
        for number, row in enumerate(rows, start=1)
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
