"""`keras-cmsa download`: the public files that a user needs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.utils.files import check_folder


def download(
    names: tuple[str, ...] = (),
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("data"),
    list_all: Annotated[bool, Parameter(name="--list", negative=())] = False,
):
    """Fetch the public files of this field: annotations, images, the authors' vocabulary.

        keras-cmsa download --list
        keras-cmsa download refcoco refcoco+ coco-train2014

    It can be stopped at any moment and resumes when it is started again. Where an address does not
    answer the next mirror is tried. Needs keras-cmsa[download].

    Parameters
    ----------
    names
        What to fetch, as --list calls it.
    output
        Folder of the files.
    list_all
        Print every file with its addresses, and what to do by hand.
    """
    from keras_cmsa.data import public_files

    table = public_files.read_table()
    if list_all:
        print("\n\n".join(map(described, table.values())))
        return
    if not names:
        raise ValueError(f"wanted one or more of: {', '.join(table)}. Received: nothing")
    check_folder(output)
    for entry in public_files.select(names, table):
        print(f"{fetch(entry, output)}\n  {entry.then}")


def fetch(entry, folder):
    """Downloads with a progress bar: the `Path` of the file."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from keras_cmsa.data.public_files import download as fetch_file

    columns = (entry.file, BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(entry.file, total=entry.bytes)
        return fetch_file(
            entry, folder, lambda done, total: bar.update(task, completed=done, total=total)
        )


def described(entry):
    """An entry of the table for people."""
    size = f", {entry.bytes:,} bytes" if entry.bytes else ""
    lines = [f"{entry.name}: {entry.what}", f"  {entry.file}{size}"]
    lines += [f"  {url}" for url in entry.urls] or ["  no address that a program may use"]
    lines += ["  a checksum is known" if entry.sha256 else "  no checksum is published"]
    return "\n".join([*lines, f"  by hand: {entry.by_hand}", f"  then: {entry.then}"])
