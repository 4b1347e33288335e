"""CSV: what people and spreadsheets write is read whole or refused by line, and runs nothing."""

import csv
import io

import pytest

from keras_cmsa.utils.csv_files import read_rows, write_rows

COLUMNS = ("image", "expression")


def read(folder, content, **options):
    path = folder / "pairs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_rows(path, COLUMNS, **options)


def test_rows_and_their_lines(tmp_path):
    content = '\ufeffimage, expression ,note\na.png,"left, red",\n\nb.png,"two\nlines",x\nc.png,é,'
    assert read(tmp_path, content) == [
        (2, {"image": "a.png", "expression": "left, red", "note": ""}),
        (4, {"image": "b.png", "expression": "two\nlines", "note": "x"}),
        (6, {"image": "c.png", "expression": "é", "note": ""}),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_any_ending_of_a_line(tmp_path, ending):
    content = ending.join(["image,expression", "a.png,box", "b.png,box", ""])
    assert [line for line, _ in read(tmp_path, content)] == [2, 3]


def test_a_cell_of_any_length(tmp_path):
    limit = csv.field_size_limit()
    ((_, row),) = read(tmp_path, f"image,expression\na.png,{'x' * 400_000}\n")
    assert len(row["expression"]) == 400_000
    assert csv.field_size_limit() == limit


REFUSED = {
    "an unquoted comma": (
        "image,expression\na.png,box\nb.png,box, left\n",
        r"line 3: wanted 2 cells, .* Received 3: 'b\.png,box, left'\. Put a text with a comma in",
    ),
    "an open quotation mark": (
        'image,expression\na.png,box\nb.png,"box\nc.png,box\n',
        r"line 3: .* Received: 'b\.png,\"box'\. Close each quotation mark",
    ),
    "text behind a quotation mark": ('image,expression\na.png,"box" x\n', "line 2: .* Close each"),
    "semicolons": (
        "image;expression\na.png;box\n",
        "line 1: wanted each of the columns image, expression once, with commas between. "
        "Received: 'image;expression'. Save the table as CSV in UTF-8 with commas",
    ),
    "a column twice": ("image,expression,image\na,b,c\n", "line 1: wanted each .* once"),
    "nothing": ("", "line 1: wanted each of the columns"),
    "UTF-16": (
        "image,expression\na.png,box\n".encode("utf-16"),
        "line 1: wanted text in UTF-8. Received another encoding: 'image,expression'. Save",
    ),
    "UTF-16 without a mark": (
        "image,expression\na.png,box\n".encode("utf-16-le"),
        "line 1: wanted text in UTF-8. Received another encoding: 'image,expression'",
    ),
    "cp1252": (
        "image,expression\na.png,box\nb.png,café\n".encode("cp1252"),
        "line 3: wanted text in UTF-8. Received another encoding: 'b.png,café'. Save the table",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_file_line_and_what_to_do(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"pairs.csv, {message}"):
        read(tmp_path, content)


def test_a_break_at_any_byte_leaves_the_rows_before(tmp_path):
    file = io.StringIO()
    rows = [["1.png", "left, red"], ["2.png", "two\nlines é"], ["3.png", 'a "sign"']]
    write_rows(file, [COLUMNS, *rows])
    content, ends = file.getvalue().encode(), []
    for row in rows:
        line = io.StringIO()
        write_rows(line, [row])
        ends.append(len(line.getvalue().encode()) + (ends[-1] if ends else 18))
    assert ends[-1] == len(content)
    for stop in range(18, len(content) + 1):
        found = [list(row.values()) for _, row in read(tmp_path, content[:stop], torn=True)]
        assert found == [row for row, end in zip(rows, ends) if end <= stop]
    with pytest.raises(ValueError, match="line 1: wanted each of the columns"):
        read(tmp_path, "other,columns\n", torn=True)


@pytest.mark.parametrize("cell", ["=1+1", "-1", "'x'", " @a,b ", 'say "x"\nhere'])
def test_a_cell_is_read_as_it_was_written(tmp_path, cell):
    path = tmp_path / "out.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        write_rows(file, [COLUMNS, ["a.png", cell], ["b.png", -1.5]])
    assert [row["expression"] for _, row in read_rows(path, COLUMNS)] == [cell, "-1.5"]


def test_a_table_that_cannot_be_read_says_what_was_wanted(tmp_path):
    for place, reason in (("nope.csv", "No such file"), ("", "Is a directory")):
        message = f"wanted a table as CSV. Received: {tmp_path / place}: {reason}"
        with pytest.raises(OSError, match=message):
            read_rows(tmp_path / place, COLUMNS)
