"""The one way that CSV files are read and written here.

Tables come from people and spreadsheets, so their form is checked as a whole: an expression that a
stray comma or quotation mark has cut is one that nobody wrote.
"""

import contextlib
import csv
import io
from pathlib import Path

from keras_cmsa.utils.files import as_text, shown
from keras_cmsa.utils.messages import in_words

WHAT_TO_DO = "Save the table as CSV in UTF-8 with commas"


def read_rows(path, columns, torn=False):
    """Reads a CSV file in UTF-8 whose first line names its columns.

    Args:
        path: of the file.
        columns: names that must be among those of its columns, in any order.
        torn: whether it may break off, as a kill leaves it: the rows before the break are returned.

    Returns:
        `[(line, {column: text}), ...]`, with the number of each row's first line in the file, from
        1. Blank lines and rows of empty cells are left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file, or a row has more or fewer cells than there are
            columns; names the line.
    """
    return rows_of(read_table_file(path), path, columns, torn)


def read_table_file(path):
    """The bytes of a CSV file. Raises an `OSError` that says what was wanted if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise type(error)(f"wanted a table as CSV. Received: {in_words(error)}") from None


def rows_of(content, path, columns, torn=False):
    """`read_rows` of the bytes of a file; `path` is its name in errors."""
    if torn:
        content = content[: content.rfind(b"\n") + 1]
    rows = []
    names, located_cells = cells_of(content, path, columns)
    with contextlib.suppress(ValueError) if torn else contextlib.nullcontext():
        for line, cells in located_cells:
            rows.append((line, row_of(names, cells, f"{path}, line {line}")))
    return rows


def cells_of(content, path, columns):
    """The names of the columns of a file, and its rows as an iterable of `(line, [text, ...])`.

    For who goes on after a row with more or fewer cells: `row_of` refuses each for itself.
    Arguments and errors are as in `rows_of`.
    """
    located_cells = _cells(as_text(content, path, WHAT_TO_DO), path)
    line, names = next(located_cells, (1, []))
    names = [name.strip() for name in names]
    if any(names.count(column) != 1 for column in columns):
        raise ValueError(
            f"{path}, line {line}: wanted each of the columns {', '.join(columns)} once, with "
            f"commas between. Received: {shown(','.join(names))}. {WHAT_TO_DO}"
        )
    return names, located_cells


def _cells(text, path):
    """Yields `(line, [text, ...])` of each row that has a text."""
    before = csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader, line = csv.reader(io.StringIO(text, newline=""), strict=True), 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {line}: a quotation mark is open or stands inside a text: {error}. "
            f"Received: {shown(text.splitlines()[line - 1])}. Close each quotation mark, and write "
            "two for one inside a text in quotation marks"
        ) from None
    finally:
        csv.field_size_limit(before)


def row_of(names, cells, where):
    """`{column: text}` of a row, which must have a cell for each column."""
    if len(cells) != len(names):
        raise ValueError(
            f"{where}: wanted {len(names)} cells, one for each column. Received {len(cells)}: "
            f"{shown(','.join(cells))}. Put a text with a comma in quotation marks"
        )
    return dict(zip(names, cells))


def write_rows(file, rows):
    """Writes rows as CSV.

    Args:
        file: open text file.
        rows: iterable of lists of cells, numbers or what `str` takes.
    """
    csv.writer(file).writerows(rows)
