"""`keras-cmsa synthesize`: RefShapes as files."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.utils.files import check_folder
from keras_cmsa.utils.messages import check_at_least


def synthesize(
    root: Path,
    *,
    seed: int = 0,
    targets: Literal["one", "any"] = "one",
    colours: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
):
    """Draw RefShapes, scenes with unambiguous expressions, as a REFER root.

    Parameters
    ----------
    root
        Folder to write; must not hold other data.
    seed
        The same seed gives the same files.
    targets
        one: every sentence refers to one thing. any: a quarter refer to several and a quarter to
        none, in the form of gRefCOCO.
    colours
        Colours of the things, 4 or more of red, orange, yellow, green, blue and purple; all if none
        is given.
    """
    check_at_least(0, seed=seed)
    check_folder(root)
    from keras_cmsa.data.ref_shapes import write_ref_shapes

    write_ref_shapes(root, seed=seed, targets=targets, colours=colours)
