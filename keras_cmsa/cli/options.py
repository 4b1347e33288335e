"""Options that several commands share, each described once."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.presets.hub import PHOTOS
from keras_cmsa.training.settings import Settings


def _help_of(setting):
    (text,) = (e.metadata["help"] for e in fields(Settings) if e.name == setting)
    return Parameter(help=text)


Model = Annotated[
    str,
    Parameter(
        env_var="KERAS_CMSA_MODEL",
        help="A trained model: the folder of a preset, as training leaves it, whose model.keras is "
        "checked and runs no code; hf://user/name or kaggle://user/model/keras/variation, which are "
        f"presets too; {PHOTOS}, which comes with the package; or a version, an ONNX or a LiteRT "
        "folder that export wrote (loading a version runs its graph, so take only those you trust; "
        "export takes none).",
    ),
]
DataDir = Annotated[
    Path,
    Parameter(
        help="REFER root: DATASET/refs(OWNER).p, DATASET/instances.json, images/. Or the folder of "
        "Google Refexp, ReferIt or PhraseCut, a table of your own (.csv, .jsonl), or what a label "
        "tool writes (docs/own_data.md): JSON of COCO, Label Studio or LabelMe, .parquet, or a folder."
    ),
]
Dataset = Annotated[str, _help_of("dataset")]
Format = Annotated[
    Literal["coco", "label-studio"] | None,
    Parameter(
        help="Write the masks with their expressions for another tool too: coco, COCO JSON with "
        "caption and score; label-studio, tasks with predictions to import there "
        "(docs/label_tools.md)."
    ),
]
SplitOwner = Annotated[str, _help_of("split_owner")]


@Parameter(name="*")
@dataclass(frozen=True)
class OwnData:
    """What `read_records` has to know of a label tool's file, with the words of the training flags."""

    text: Annotated[str | None, _help_of("text")] = None
    one_each: Annotated[bool, _help_of("one_each")] = False
    images: Annotated[Path | None, _help_of("images")] = None


def name_model(model):
    """Says that the package's own preset answers, which is the model unless one is given."""
    if model == PHOTOS:
        print(
            f"Model: {PHOTOS}, the small one of the package (--model takes another)",
            file=sys.stderr,
        )
