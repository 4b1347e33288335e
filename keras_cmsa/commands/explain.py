"""`keras-cmsa explain`: figures of what a model looked at."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.commands.backend import import_keras


def explain(
    image: Path,
    *expressions: str,
    model: Annotated[Path, Parameter(env_var="KERAS_CMSA_MODEL")],
    single_level: Path | None = None,
    truth: tuple[Path, ...] = (),
    output: Annotated[Path, Parameter(alias="-o")] = Path("runs/figures"),
):
    """Draw what a model made of one or more expressions on an image (Figs. 4 and 5 of the paper).

        keras-cmsa explain photo.jpg "red cup" "cup on the left" --model runs/unc -o figures

    words.png has the attention of each level to each word, the mask from the last level alone and
    from all; places.png the maps over positions.

    Parameters
    ----------
    image
        The photo.
    expressions
        What to find, each in quotation marks.
    model
        A .keras file with its vocabulary.txt beside it, or the folder of both.
    single_level
        Take the mask from the last level alone from this model of Res5 only.
    truth
        A mask (image; what is not black is inside) per expression, in their order.
    output
        Folder of the two pictures.
    """
    from keras_cmsa.image import read_image

    if not expressions:
        raise ValueError('wanted one "EXPRESSION" or more after the image; see explain --help')
    if truth and len(truth) != len(expressions):
        raise ValueError(
            f"wanted a mask per expression: {len(expressions)} expressions, {len(truth)} masks"
        )
    pixels = read_image(image)
    truths = [read_image(path).any(axis=-1) for path in truth] or None
    for path, mask in zip(truth, truths or ()):
        if mask.shape != pixels.shape[:2]:
            raise ValueError(
                f"{path} is {mask.shape}, the image {pixels.shape[:2]} (height, width)"
            )
    import_keras()
    from keras_cmsa.figures import explain, places_figure, words_figure, write_figure
    from keras_cmsa.predictor import Predictor

    alone = Predictor.load(single_level) if single_level else None
    explanations = explain(Predictor.load(model), pixels, list(expressions), alone)
    output.mkdir(parents=True, exist_ok=True)
    write_figure(
        output / "words.png", words_figure([pixels] * len(explanations), explanations, truths)
    )
    write_figure(output / "places.png", places_figure(pixels, explanations))
    print(f"{output / 'words.png'}\n{output / 'places.png'}")
