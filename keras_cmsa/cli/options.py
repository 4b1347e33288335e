"""Options that several commands share, each described once."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.presets.hub import PHOTOS

Model = Annotated[
    str,
    Parameter(
        env_var="KERAS_CMSA_MODEL",
        help="A trained model: the folder of a preset, as training leaves it, whose model.keras is "
        "checked and runs no code; hf://user/name or kaggle://user/model/keras/variation, which are "
        f"presets too; {PHOTOS}, which comes with the package; or a version or an ONNX folder that "
        "export wrote (loading a version runs its graph, so take only those you trust; export takes "
        "none).",
    ),
]
DataDir = Annotated[
    Path,
    Parameter(
        help="REFER root: DATASET/refs(OWNER).p, DATASET/instances.json, images/. Or "
        "the folder of Google Refexp, ReferIt or PhraseCut, or a table of your own (.csv, .jsonl)."
    ),
]
Dataset = Annotated[
    str,
    Parameter(
        help="refcoco, refcoco+, refcocog, refclef or grefcoco in REFER's layout; refexp; referit; "
        "phrasecut. A table needs none."
    ),
]
Format = Annotated[
    Literal["coco", "label-studio"] | None,
    Parameter(
        help="Write the masks with their expressions for another tool too: coco, COCO JSON with "
        "caption and score; label-studio, tasks with predictions to import there "
        "(docs/label_tools.md)."
    ),
]
SplitOwner = Annotated[str, Parameter(help="Owner of the splits: unc, google, umd or berkeley.")]


def name_model(model):
    """Says that the package's own preset answers, which is the model unless one is given."""
    if model == PHOTOS:
        print(
            f"Model: {PHOTOS}, the small one of the package (--model takes another)",
            file=sys.stderr,
        )
