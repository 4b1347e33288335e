"""Files through Beam's `FileSystems`: local paths, `gs://`, `s3://`, `hdfs://`."""

import os
import uuid

from apache_beam.io.filesystems import FileSystems


def is_remote(path):
    """Whether a path names a file system other than this machine's."""
    return "://" in str(path)


def absolute(path):
    """A path as `str`; a local one is absolute, since a worker may run in another folder."""
    return str(path) if is_remote(path) else os.path.abspath(path)


def read_bytes(path, most=None):
    """The bytes of a file; with `most`, no more of them than that and one."""
    with FileSystems.open(path) as file:
        return file.read() if most is None else file.read(most + 1)


def names_of(folder):
    """Names of the files in a folder: list."""
    # Beam takes a path for a pattern here, and would look elsewhere for one with a bracket.
    if not is_remote(folder):
        return os.listdir(folder)
    (found,) = FileSystems.match([FileSystems.join(folder, "*")])
    return [FileSystems.split(file.path)[1] for file in found.metadata_list]


def remove_files(folder):
    """Removes the files in a folder."""
    paths = [FileSystems.join(folder, name) for name in names_of(folder)]
    if is_remote(folder):
        FileSystems.delete(paths)
        return
    for path in paths:
        os.unlink(path)


def write_whole(path, content, partial):
    """Writes a file into the folder `partial` and moves it: what has its own name is whole."""
    beside = FileSystems.join(partial, uuid.uuid4().hex)
    with FileSystems.create(beside) as file:
        file.write(content)
        if hasattr(file, "fileno"):  # a local disk may lose what it has only promised to write
            file.flush()
            os.fsync(file.fileno())
    FileSystems.rename([beside], [path])
