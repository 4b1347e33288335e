"""`keras-cmsa segment`: the thing that a sentence refers to, cut out of a photo."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.cli.options import Model
from keras_cmsa.utils.files import write_png
from keras_cmsa.utils.silence import import_keras


def segment(
    image: Path | None = None,
    expression: str | None = None,
    *,
    model: Model,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    mask: Path | None = None,
    csv: Path | None = None,
    json: bool = False,
):
    """Find what an expression refers to in an image, or do so for a whole table.

        keras-cmsa segment photo.jpg "man in yellow shirt" --model runs/demo -o out.png
        keras-cmsa segment --csv pairs.csv --model runs/demo -o results

    A table needs the columns image (paths relative to the table) and expression. Its results go
    into a folder: a mask per row and results.csv, which names the rows that failed and why. Started
    again after a stop, it resumes where it was.

    Parameters
    ----------
    image
        The photo: JPEG, PNG, BMP, GIF, TIFF or WebP.
    expression
        What to find, in a few words.
    output
        Picture to write, the found thing in orange (PNG); with --csv, the folder of results.
    mask
        Write the mask too: PNG at the size of the photo, 255 inside and 0 outside.
    csv
        A table of images and expressions instead of one.
    json
        Print the result as JSON: score, box, COCO's run lengths, words and their attention.
    """
    if (csv is None) == (image is None) or (image is None) != (expression is None):
        raise ValueError('wanted IMAGE and "EXPRESSION", or --csv TABLE; see segment --help')
    if csv:
        import_keras()
        from keras_cmsa.cli.segment_table import segment_table

        segment_table(csv, output or csv.with_suffix(""), model)
        return
    from keras_cmsa.preprocessing.reading import read_image

    pixels = read_image(image)  # before Keras, which takes seconds to load
    import_keras()
    from keras_cmsa.evaluation.drawing import overlay
    from keras_cmsa.inference.predictor import Predictor

    prediction = Predictor.from_preset(model)(pixels, expression)
    if output:
        write_png(output, overlay(pixels, prediction.mask))
    if mask:
        write_png(mask, prediction.mask)
    print(as_json(prediction) if json else as_line(prediction))


def as_json(prediction):
    words = prediction.word_attention
    result = {
        "expression": prediction.expression,
        "words": prediction.tokens,
        "score": round(prediction.score, 4),
        "box": prediction.box,
        "area": int(prediction.mask.sum()),
        "segmentation": prediction.run_lengths,
        "word_attention": None if words is None else words.round(4).tolist(),
    }
    return json.dumps(result)


def as_line(prediction):
    if prediction.box is None:
        return f"“{prediction.expression}”: nothing found"
    unknown = prediction.tokens.count("[UNK]")
    share = f"{100 * prediction.mask.mean():.1f} %"
    line = (
        f"“{prediction.expression}”: {prediction.mask.sum():,} pixels ({share} of the image), "
        f"score {prediction.score:.2f}, box {' '.join(map(str, prediction.box))}"
    )
    return f"{line}; {unknown} of {len(prediction.tokens)} words unknown" if unknown else line
