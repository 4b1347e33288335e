"""A table of annotations on disk, in the form of docs/own_data.md, with its images and masks."""

import hashlib
from pathlib import Path

from keras_cmsa.data.masks import rasterize
from keras_cmsa.data.readers.split_files import hold_out
from keras_cmsa.data.readers.table import COLUMNS
from keras_cmsa.preprocessing.words import split_words
from keras_cmsa.utils.csv_files import read_rows, write_rows
from keras_cmsa.utils.files import check_folder, replaced, write_png
from keras_cmsa.utils.locks import held

TABLE = "table.csv"


class CollectedTable:
    """A folder with `table.csv`, `images/` and `masks/`.

    `hold_out` picks the images of val; the others are train. Several processes may write.

    Args:
        folder: `Path`, made if it is not there.

    Raises:
        ValueError: if the folder cannot be written, or holds another table.
    """

    columns = (*COLUMNS, "annotation")

    def __init__(self, folder):
        check_folder(folder)
        self.folder = Path(folder)
        for name in ("images", "masks"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.rows()

    def rows(self):
        """The rows as they are on disk: list of dicts of text."""
        path = self.folder / TABLE
        return [row for _, row in read_rows(path, self.columns)] if path.exists() else []

    def take(self, annotation, image, masks):
        """Writes the rows of an annotation in the place of those that it has, whole or not at all.

        Args:
            annotation: its number in the tool.
            image: open file of the image.
            masks: `{expression: list of COCO's run lengths}`, empty where nothing fits.

        Raises:
            ValueError: if an expression has no word.
        """
        for expression in masks:
            if not split_words(expression):
                raise ValueError(f"wanted an expression with a word. Received: {expression!r:.100}")
        content = image.getvalue()
        # Images of one content are one image, whatever they are called.
        name = f"images/{hashlib.sha256(content).hexdigest()[:16]}"
        with replaced(self.folder / name, "wb") as file:
            file.write(content)
        with held(self.folder, wait=True):
            before = self.rows()
            rows = [row for row in before if row["annotation"] != str(annotation)]
            for expression, runs in masks.items():
                path = self.write_mask(annotation, expression, runs) if runs else "none"
                rows.append(dict(zip(self.columns, (name, expression, path, None, annotation))))
            held_out = hold_out(row["image"] for row in rows)
            for row in rows:
                row["split"] = "val" if row["image"] in held_out else "train"
            with replaced(self.folder / TABLE) as file:
                write_rows(file, [self.columns, *([row[c] for c in self.columns] for row in rows)])
            for path in {row["mask"] for row in before} - {row["mask"] for row in rows} - {"none"}:
                (self.folder / path).unlink(missing_ok=True)

    def write_mask(self, annotation, expression, runs):
        """Writes the mask of some run lengths; its name is another's if it is another mask."""
        mask = rasterize(runs, *runs[0]["size"], repr(expression)) > 0
        path = f"masks/{annotation}_{hashlib.sha256(mask.tobytes()).hexdigest()[:16]}.png"
        write_png(self.folder / path, mask)
        return path
