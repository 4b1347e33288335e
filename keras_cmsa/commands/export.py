"""`keras-cmsa export`: a trained model as a SavedModel for TensorFlow Serving."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.commands.backend import import_keras


def export(
    output: Path,
    *,
    model: Annotated[Path, Parameter(env_var="KERAS_CMSA_MODEL")],
    version: int | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    fold_norms: bool = False,
    form: Annotated[
        Literal["saved_model", "onnx", "litert"], Parameter(name="--format")
    ] = "saved_model",
    fit: Literal["pad", "stretch"] = "pad",
    data: str = "unknown",
    licence: str | None = None,
    warmup: bool = True,
):
    """Write a model as OUTPUT/VERSION/: image file and expression in, mask out.

        keras-cmsa export saved_models/cmsa --model runs/unc

    saved_models/README.md says how a version is inspected, served and rolled back.

    Parameters
    ----------
    output
        Folder of all versions; its name is the model's name for a server. For onnx and litert, a
        file.
    model
        A .keras file with its vocabulary.txt beside it, or the folder of both. With metrics.json
        beside it, as training leaves it, the numbers go into the model's card.
    version
        The next free number unless given. A version that is there is never written over.
    dtype
        Of the weights as they are stored; computed is in float32.
    fold_norms
        Fold batch normalisations into convolutions; equal to rounding, and faster.
    form
        onnx and litert write the model alone, from an image's tensor and word ids to logits, as the
        file OUTPUT (.onnx, .tflite) with its vocabulary beside it, once it has been run and compared.
    fit
        How images were brought to the network's size in training.
    data
        What it was trained on, for the card.
    licence
        Notes on licences, for the card.
    warmup
        Also write requests that a server replays before it is ready (needs keras-cmsa[serve]).
    """
    import_keras()
    from keras_cmsa.export import export_saved_model
    from keras_cmsa.predictor import Predictor

    predictor = Predictor.load(model, fit)
    if form != "saved_model":
        from keras_cmsa import portable

        write = {"onnx": portable.export_onnx, "litert": portable.export_litert}[form]
        print(write(predictor.model, predictor.vocabulary, output, fold_norms))
        return
    card = {"data": data} | ({"licence": licence} if licence else {})
    metrics = (model if model.is_dir() else model.parent) / "metrics.json"
    if metrics.exists():
        results = json.loads(metrics.read_text(encoding="utf-8"))
        card |= {"metrics": results, "weights": results["weights"]}
    path = export_saved_model(
        predictor.model,
        predictor.vocabulary,
        output,
        next_version(output) if version is None else version,
        fit,
        dtype,
        fold_norms,
        card=card,
        warmup=warmup,
    )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(f"{path}: {size / 2**20:,.1f} MiB")


def next_version(folder):
    """One more than the largest there is; 1 in a folder without any."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if re.fullmatch("[0-9]+", name)), default=0) + 1
