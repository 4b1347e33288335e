"""`keras-cmsa segment --csv`: a table of images and expressions, and what was found for each."""

import json
import sys
import warnings
from functools import partial

from rich.console import Console
from rich.progress import Progress

from keras_cmsa.cli.command_line import with_flags
from keras_cmsa.data.readers.pairs import by_image, pairs_of, path_of
from keras_cmsa.data.writers import FORMATS, Answer
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.presets.files import digest_of, name_of, opened
from keras_cmsa.utils.csv_files import read_rows, read_table_file, write_rows
from keras_cmsa.utils.files import remove_left, replaced, write_png
from keras_cmsa.utils.locks import locked
from keras_cmsa.utils.messages import in_words

COLUMNS = (
    "row", "image", "expression", "mask", "score", "exists", "box", "area", "segmentation", "error",
)  # fmt: skip
RESULTS, MADE_BY = "results.csv", "made_by.json"


def segment_table(table, folder, model, outside=False, format=None):
    """Segments every row of a table; what a stop left in the folder is kept.

    Args:
        table: CSV with the columns `image` and `expression`; image paths are relative to it.
        folder: for the masks `<row>.png` and `results.csv`; row 1 is the first under the head.
        model: see `Predictor.from_preset`.
        outside: take images outside of the table's folder too.
        format: a key of `FORMATS` to write the masks in too; `None`: in none.

    Raises:
        FileNotFoundError, ValueError: if the table or the model is not what it should be, the
            folder holds other results, another run writes there, or no row could be done.
    """
    rows = pairs_of(read_table_file(table), table)
    model, _ = opened(model)
    made_by = digest_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", f"another run writes results into {folder}"):
        remove_left(folder)
        check_model(folder, *made_by)
        results = segment_missing(rows, table, folder, model, outside)
        if format:
            name, write = FORMATS[format]
            answers = [answer_of(folder, result) for result in results if not result["error"]]
            write(folder / name, answers, name_of(model))
            print(f"In the format {format}: {folder / name}")


def segment_missing(rows, table, folder, model, outside):
    """`segment_table` in a folder that is this process' own; returns the results of all rows."""
    done = read_done(folder, rows)
    todo = [row for row in rows if row["row"] not in done]
    if done:
        print(f"{len(done)} of {len(rows)} rows were done before", file=sys.stderr)
    if todo:
        predictor = Predictor.from_preset(model)
        tell_unread_words(predictor.preprocessor.vocabulary, todo)
        # Whole rows only: what a kill left of a last line is gone, and each new line is flushed.
        write_results(folder, done.values())
        with (
            open(folder / RESULTS, "a", newline="", encoding="utf-8") as file,
            Progress(console=Console(stderr=True)) as progress,
        ):
            task = progress.add_task("segmenting", total=len(todo))
            for image, group in by_image(todo).items():
                path = partial(path_of, table.parent, image, table, outside)
                for result in segment_rows(predictor, path, group, folder):
                    write_rows(file, [cells(result)])
                    file.flush()
                    done[result["row"]] = result
                    progress.advance(task)
    results = [done[row["row"]] for row in rows]
    write_results(folder, results)
    bad = [result for result in results if result["error"]]
    print(f"{len(rows) - len(bad)} of {len(rows)} rows segmented: {folder / RESULTS}")
    for result in bad[:10]:
        print(f"row {result['row']}: {result['error']}", file=sys.stderr)
    if len(bad) > 10:
        print(f"... and {len(bad) - 10} more, in {RESULTS}", file=sys.stderr)
    if len(bad) == len(rows):
        raise ValueError(f"no row of {table} could be segmented")
    return results


def tell_unread_words(vocabulary, rows):
    """Says how many rows have words that the model does not know, or too many of them.

    Each kind is a line that names its first row.
    """
    sentences = [(row, vocabulary.split(row["expression"])) for row in rows]
    unknown = [row for row, words in sentences if vocabulary.unknown in words]
    long = [row for row, words in sentences if len(words) > vocabulary.max_words]
    kinds = {
        "words that the model does not know": unknown,
        f"more words than the {vocabulary.max_words} that the model reads": long,
    }
    for kind, some in kinds.items():
        if some:
            print(
                f"{len(some)} of {len(rows)} rows have {kind}, first row {some[0]['row']}: "
                f"{some[0]['expression'][:60]!r}",
                file=sys.stderr,
            )


def check_model(folder, path, digest):
    """A folder holds the results of one model, whose `digest_of` is `(path, digest)`."""
    note = folder / MADE_BY
    if note.exists():
        if digest not in note.read_text("utf-8", "replace"):
            raise ValueError(
                f"{folder} holds results of another model: give another folder, or {path}"
            )
        return
    # Masks are called as photos may be.
    ours = (RESULTS, "[0-9]*.png", *(name for name, _ in FORMATS.values()))
    if others := [path for name in ours for path in folder.glob(name)]:
        name = others[0].name
        raise ValueError(f"{folder} holds a {name} of something else: give another folder")
    with replaced(note) as file:
        json.dump({"model": str(path), "sha256": digest}, file)


def read_done(folder, rows):
    """The results of an earlier run that still answer the table: dict from row number."""
    if not (folder / RESULTS).exists():
        return {}
    questions = {row["row"]: [row["image"], row["expression"]] for row in rows}
    done = {}
    for _, result in read_rows(folder / RESULTS, COLUMNS, torn=True):
        # An error may have been mended since.
        if result["error"] or not result["row"].isdecimal():
            continue
        row = int(result["row"])
        same = questions.get(row) == [result["image"], result["expression"]]
        if same and (folder / result["mask"]).is_file():
            done[row] = {**result, "row": row}
    return done


def segment_rows(predictor, path, rows, folder):
    """The results of rows of one image, whose path `path()` is; each bad row gets its own error."""
    try:
        image = read_image(path())
    except (OSError, ValueError) as error:
        yield from (failed(row, error) for row in rows)
        return
    good, bad = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unread words, which are told for all rows at once
        for row in rows:
            try:
                predictor.read([row["expression"]])
                good.append(row)
            except ValueError as error:
                bad.append(failed(row, error))
        predictions = predictor(image, [row["expression"] for row in good])
    yield from bad
    for row, prediction in zip(good, predictions):
        mask = f"{row['row']:06d}.png"
        write_png(folder / mask, prediction.mask)
        yield {
            **row,
            "mask": mask,
            "score": f"{prediction.score:.4f}",
            "exists": str(prediction.exists).lower(),
            "box": " ".join(map(str, prediction.box or ())),
            "area": int(prediction.mask.sum()),
            "segmentation": json.dumps(prediction.run_lengths),
            "error": "",
        }


def answer_of(folder, result):
    """The `Answer` of a row of `results.csv`, which may have been edited."""
    try:
        runs, score = json.loads(result["segmentation"]), float(result["score"])
        height, width = map(int, runs["size"])
        answer = Answer(
            result["image"].strip(), result["expression"], runs | {"size": [height, width]}, score
        )
        if score:
            answer.mask()
        return answer
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"{folder / RESULTS}, row {result['row']}: wanted a score and COCO's run lengths. "
            f"Received: {error}. Remove the file and start again"
        ) from None


def failed(row, error):
    reason = with_flags(in_words(error), ["--outside"])
    return {**dict.fromkeys(COLUMNS, ""), **row, "error": reason}


def cells(result):
    return [result[column] for column in COLUMNS]


def write_results(folder, results):
    with replaced(folder / RESULTS) as file:
        write_rows(file, [COLUMNS, *map(cells, results)])
