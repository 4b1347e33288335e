"""Reads rows of Hugging Face in parquet, with the columns of one of two data sets.

    jxu124/refcoco (+, g): ref_id, image_id, image_path, split, sentences, raw_anns, raw_image_info
    moondream/refcoco-m:   image, samples; a sample is {sentences, mask: {counts, size}}

The first has no pixels: its images are COCO's train2014. The second has its images inside, which
are written to a folder to be read from there. https://huggingface.co/datasets/jxu124/refcoco,
https://huggingface.co/datasets/moondream/refcoco-m
"""

from functools import cache, partial
from itertools import count
from pathlib import Path, PurePosixPath

from keras_cmsa.data.readers.entries import (
    MAX_SENTENCES,
    field,
    from_json,
    image_size,
    located,
    read_entries,
    records_of_ref,
    selected,
)
from keras_cmsa.data.readers.phrases import GIVE_FOLDER, give_splits
from keras_cmsa.data.readers.split_files import WORDS, split_in_name
from keras_cmsa.preprocessing.reading import read_size
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import replaced
from keras_cmsa.utils.names import checked_split, path_inside

WITH_ANNOTATIONS = ("ref_id", "image_id", "image_path", "sentences", "raw_anns", "raw_image_info")
WITH_IMAGES = ("image", "samples")
BATCH = 16  # rows in memory, with their images


def read_parquet(root, splits=None, on_bad="raise", images=None):
    """Reads parquet files of Hugging Face.

    The split is that of the column, or of the name of a file or its folder.

    Args:
        root: a file, or a folder of files, such as the `data/` of a data set.
        splits, on_bad: as in `read_records`.
        images: folder of the images; `images/` beside the files unless given. Images that are inside
            the files are written there, if they are not there.

    Returns:
        `{split: [Record, ...]}`: one record per sentence.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without pyarrow.
        ValueError: if a file is damaged or has other columns, a split is not there or, with
            `"raise"`, a row is bad.
    """
    root = Path(root)
    files = sorted(root.glob("*.parquet")) if root.is_dir() else [root]
    folder = (root if root.is_dir() else root.parent) / "images" if images is None else Path(images)
    rows = [
        (f"{file}, row {place}", split_in_name(file), _kept_outside(row, folder, file, place))
        for file in files
        for place, row in enumerate(_rows(file))
    ]
    records_of = partial(_records_of, folder, cache(read_size), count(1))
    records = read_entries(rows, records_of, on_bad, "rows")
    give_splits(records, root)
    return selected(records, splits, root, folder, f"{root}{GIVE_FOLDER}")


def _rows(path):
    """Yields the rows of a file as dicts, a few at a time in memory."""
    parquet = require("pyarrow.parquet", "parquet", "a data set in parquet")
    arrow = require("pyarrow", "parquet", "a data set in parquet")
    path.stat()  # Arrow's error of a missing file is another
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            kinds = [kind for kind in (WITH_ANNOTATIONS, WITH_IMAGES) if {*kind} <= {*names}]
            if not kinds:
                raise ValueError(
                    f"{path}: wanted the columns {', '.join(WITH_ANNOTATIONS)} or "
                    f"{', '.join(WITH_IMAGES)}. Received: {', '.join(names)}"
                )
            if file.metadata.num_rows > MAX_SENTENCES:  # a few bytes can repeat a row
                raise ValueError(
                    f"{path}: wanted at most {MAX_SENTENCES:,} rows. Received: "
                    f"{file.metadata.num_rows:,}"
                )
            columns = [name for name in (*kinds[0], "split") if name in names]
            for batch in file.iter_batches(BATCH, columns=columns):
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}. Fetch it again") from error


def _kept_outside(row, folder, file, place):
    """The row with the name of its image's file, which is written, in the place of the image."""
    image = row.get("image")
    content = image.get("bytes") if type(image) is dict else None
    if type(content) is not bytes:
        return row
    suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
    path = folder / f"{file.stem}_{place:06}{suffix}"
    if not path.is_file() or path.stat().st_size != len(content):
        folder.mkdir(parents=True, exist_ok=True)
        with replaced(path, "wb") as target:
            target.write(content)
    return {**row, "image": path.name}


def _records_of(folder, size_of, numbers, entry):
    """Yields the records of a row."""
    where, split, row = entry
    has_image = "samples" in row
    if "split" in row:
        split = checked_split(field(row, "split", str, where), where)
        split = WORDS.get(split, split)
    # COCO's images lie in one folder, and a path is that of whoever wrote the row.
    name = PurePosixPath(field(row, "image" if has_image else "image_path", str, where)).name
    path = path_inside(folder, name, where)
    targets = _samples(row, path, size_of, where) if has_image else [_annotated(row, where)]
    image_id = next(numbers) if has_image else field(row, "image_id", int, where)
    for ref_id, size, segmentation, sentences in targets:
        ref_id = next(numbers) if has_image else ref_id
        yield from records_of_ref(
            [(next(numbers), raw) for raw in sentences],
            size,
            image_path=path,
            image_id=image_id,
            ref_id=ref_id,
            split=split,
            segmentation=segmentation,
        )


def _samples(row, path, size_of, where):
    """Yields the refs of a row with an image: `(None, size, segmentation, sentences)`."""
    try:
        size = size_of(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
    for place, sample in located(row, "samples", dict, where):
        sentences = [text for _, text in located(sample, "sentences", str, place, least=1)]
        yield None, size, field(sample, "mask", dict, place), sentences


def _annotated(row, where):
    """The ref of a row: `(ref id, size, segmentation, sentences)`."""
    annotation, image = (
        from_json(field(row, key, str, where), repr(key), where)
        for key in ("raw_anns", "raw_image_info")
    )
    return (
        field(row, "ref_id", int, where),
        image_size(image, f"{where}, raw_image_info"),
        field(annotation, "segmentation", list | dict, f"{where}, raw_anns"),
        [
            field(of, "raw", str, place)
            for place, of in located(row, "sentences", dict, where, least=1)
        ],
    )
