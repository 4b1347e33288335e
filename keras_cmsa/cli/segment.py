"""`keras-cmsa segment`: the thing that a sentence refers to, cut out of a photo."""

import json
import warnings
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.cli.options import Format, Model, name_model
from keras_cmsa.presets.hub import PHOTOS
from keras_cmsa.utils.files import check_file, check_folder, write_png
from keras_cmsa.utils.silence import import_keras

PICTURE = (".png", "")  # a device has no ending


def segment(
    image: Path | None = None,
    *expressions: str,
    model: Model = PHOTOS,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    mask: Path | None = None,
    csv: Path | None = None,
    format: Format = None,
    outside: Annotated[bool, Parameter(negative=())] = False,
    json: bool = False,
):
    """Find what one or more expressions refer to in an image, or do so for a whole table.

        keras-cmsa segment photo.jpg "man in yellow shirt" --model runs/demo -o out.png
        keras-cmsa segment photo.jpg "red cup" "blue cup" --model runs/demo -o out.png
        keras-cmsa segment --csv pairs.csv --model runs/demo -o results

    A table needs the columns image (paths relative to the table) and expression. Its results go
    into a folder: a mask per row and results.csv, which names the rows that failed and why. Started
    again after a stop, it resumes where it was. --format adds coco.json or label_studio.json.

    Parameters
    ----------
    image
        The photo: JPEG, PNG, BMP, GIF, TIFF or WebP.
    expressions
        What to find, each in quotation marks. The model looks at the photo once for all.
    output
        Picture to write, the found thing in orange (PNG): for several expressions out_1.png,
        out_2.png, ... With --csv, the folder of results, which is named after the table if it is
        not given.
    mask
        Write the mask too: PNG at the size of the photo, 255 inside and 0 outside. Numbered as
        output is.
    csv
        A table of images and expressions instead of one.
    outside
        Take images that lie outside of the table's folder: absolute paths and those with a "..".
    json
        Print the result as JSON, a line for each expression: score, whether anything fits, box,
        COCO's run lengths, words and their attention.
    """
    check_request(image, expressions, csv, format, outside, mask, json)
    name_model(model)
    if csv:
        if not output:  # a folder of another name than the table's own
            output = csv.with_suffix("") if csv.suffix else csv.with_name(f"{csv.name}_results")
        check_folder(output)
        import_keras()
        from keras_cmsa.cli.segment_table import segment_table

        segment_table(csv, output, model, outside, format)
        return
    if output and mask and output.resolve() == mask.resolve():
        raise ValueError(f"wanted two files for picture and mask. Received: {mask} twice")
    pictures, masks = (numbered(path, len(expressions)) for path in (output, mask))
    for path in (*pictures, *masks):
        check_file(path, PICTURE, image)
    from keras_cmsa.preprocessing.reading import read_image

    pixels = read_image(image)  # before Keras, which takes seconds to load
    import_keras()
    from keras_cmsa.explain.drawing import overlay
    from keras_cmsa.inference.predictor import Predictor

    predictor = Predictor.from_preset(model)
    predictions = predictor(pixels, list(expressions))
    for prediction, picture, mask_file in zip(predictions, pictures, masks):
        excluding = [] if prediction.exists else why_not(predictor, pixels, prediction)
        if picture:
            write_png(picture, overlay(pixels, prediction.mask))
        if mask_file:
            write_png(mask_file, prediction.mask)
        print((as_json if json else as_line)(prediction, excluding))


def numbered(path, number):
    """The paths of some files: `path` itself if it is one, else `out_1.png` and so on."""
    if path is None or number == 1:
        return [path] * number
    return [path.with_stem(f"{path.stem}_{n}") for n in range(1, number + 1)]


def check_request(image, expressions, csv, format, outside, mask, json):
    """Raises a `ValueError` unless one photo or one table is asked for, each with its own flags."""
    if (csv is None) == (image is None) or (image is None) == bool(expressions):
        raise ValueError('wanted IMAGE and "EXPRESSION" ..., or --csv TABLE; see segment --help')
    if csv and (mask or json):
        raise ValueError("--mask and --json are for one photo: the results of --csv have both")
    if not csv and (format or outside):
        raise ValueError("--format and --outside are for a table: give it with --csv")


def why_not(predictor, pixels, prediction):
    """The words of a sentence that fits nothing without which something would."""
    from keras_cmsa.explain.word_importance import excluding_words, explain_words

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the prediction has warned already
        (words,) = predictor.read([prediction.expression])
    _, importance = explain_words(predictor, pixels, words)
    return excluding_words(importance, predictor.threshold)


def as_json(prediction, excluding):
    words = prediction.word_attention
    result = {
        "expression": prediction.expression,
        "words": prediction.tokens,
        "score": round(prediction.score, 4),
        "exists": prediction.exists,
        "existence": None if prediction.existence is None else round(prediction.existence, 4),
        "would_fit_without": excluding,
        "box": prediction.box,
        "area": int(prediction.mask.sum()),
        "segmentation": prediction.run_lengths,
        "word_attention": None if words is None else words.round(4).tolist(),
    }
    return json.dumps(result)


def as_line(prediction, excluding):
    if not prediction.exists:
        answer = "nothing in this photo fits"
        answer += f"; without “{excluding[0]}” something would" if excluding else ""
    elif prediction.box is None:
        answer = "nothing found"
    else:
        share = f"{100 * prediction.mask.mean():.1f} %"
        answer = (
            f"{prediction.mask.sum():,} pixels ({share} of the image), "
            f"score {prediction.score:.2f}, box {' '.join(map(str, prediction.box))}"
        )
    unknown = prediction.tokens.count(prediction.preprocessor.vocabulary.unknown)
    answer += f"; {unknown} of {len(prediction.tokens)} words unknown" if unknown else ""
    return f"“{prediction.expression}”: {answer}"
