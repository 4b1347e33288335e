"""`keras-cmsa explain`: figures of what a model answered, and why."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.cli.options import Model, name_model
from keras_cmsa.presets.hub import PHOTOS
from keras_cmsa.utils.files import check_folder
from keras_cmsa.utils.silence import import_keras


def explain(
    image: Path,
    *expressions: str,
    model: Model = PHOTOS,
    single_level: str | None = None,
    truth: tuple[Path, ...] = (),
    output: Annotated[Path, Parameter(alias="-o")] = Path("runs/figures"),
):
    """Draw what a model made of one or more expressions on an image.

        keras-cmsa explain photo.jpg "red cup" "cup on the left" --model runs/demo -o figures

    explanation.png has the mask, its probability, and how much the answer changes without each
    word. For cmsa and cmsa_ordered, paper.png has Figs. 4 and 5: the attention of each level to each
    word, the mask from the last level alone, and the strongest channel of the fused map.

    Parameters
    ----------
    image
        The photo.
    expressions
        What to find, each in quotation marks.
    single_level
        Take the mask from the last level alone from this model of Res5 only, named as --model is.
    truth
        A mask per expression, in their order: an image; what is neither black nor clear is inside.
    output
        Folder of the pictures.
    """
    from keras_cmsa.preprocessing.reading import read_image

    if not expressions:
        raise ValueError('wanted one "EXPRESSION" or more after the image; see explain --help')
    check_folder(output)
    name_model(model)
    pixels = read_image(image)
    truths = read_truths(truth, expressions, pixels.shape[:2])
    import_keras()
    from keras_cmsa.explain.drawing import write_figure
    from keras_cmsa.explain.explanations import Explainer
    from keras_cmsa.explain.figures import explanations_figure, paper_figure
    from keras_cmsa.inference.predictor import Predictor

    alone = Predictor.from_preset(single_level) if single_level else None
    explain_all = Explainer(Predictor.from_preset(model), alone)
    explanations = explain_all(pixels, list(expressions))
    shown = [pixels] * len(explanations), explanations, truths
    figures = {"explanation.png": explanations_figure(*shown)}
    if explain_all.looks_inside:
        figures["paper.png"] = paper_figure(*shown)
    output.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        write_figure(output / name, figure)
        print(output / name)


def read_truths(paths, expressions, size):
    """The masks `(H, W)` bool, or None if there are none."""
    from keras_cmsa.preprocessing.reading import read_mask

    if paths and len(paths) != len(expressions):
        raise ValueError(
            f"wanted a mask per expression: {len(expressions)} expressions, {len(paths)} masks"
        )
    truths = [read_mask(path) for path in paths]
    for path, mask in zip(paths, truths):
        if mask.shape != size:
            raise ValueError(f"{path} is {mask.shape}, the image {size} (height, width)")
    return truths or None
