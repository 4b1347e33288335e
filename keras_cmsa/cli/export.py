"""`keras-cmsa export`: a trained model as a SavedModel for TensorFlow Serving, ONNX or LiteRT."""

import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.cli.options import Dataset, Model, OwnData, SplitOwner
from keras_cmsa.utils.files import check_folder, size_of_folder
from keras_cmsa.utils.messages import check_at_least
from keras_cmsa.utils.silence import import_keras


def export(
    output: Path,
    *,
    model: Model,
    version: int | None = None,
    profile: Literal["strict", "tf_phrasecut"] = "strict",
    dtype: Literal["float32", "float16", "bfloat16", "int8"] = "float32",
    form: Annotated[
        Literal["saved_model", "onnx", "litert", "fastest"], Parameter(name="--format")
    ] = "saved_model",
    warmup: bool = True,
    calibrate: Path | None = None,
    dataset: Dataset = "refcoco",
    split_owner: SplitOwner = "unc",
    own: OwnData = OwnData(),  # frozen, so it can be shared  # noqa: B008
):
    """Write a trained model as a SavedModel: image file and expression in, mask out.

        keras-cmsa export saved_models/cmsa --model runs/demo
        keras-cmsa export cmsa_onnx --model runs/demo --format onnx
        keras-cmsa export cmsa_int8 --model runs/demo --format onnx --dtype int8 --calibrate data/ref_shapes

    What is written is run and compared with the model before it is kept. saved_models/README.md says
    how a version is inspected, served and rolled back. The model's config.json, with its data and
    numbers, comes along.

    Parameters
    ----------
    output
        Folder of all versions; its name is the model's name for a server. For onnx and litert, a new
        folder.
    version
        The next free number unless given. A version that is there is never written over.
    profile
        The rule from logits to masks; docs/evaluation.md.
    dtype
        Of the weights as they are stored; computation is in float32. int8, for onnx and litert, also
        computes in int8, but for the attention.
    form
        onnx and litert need no TensorFlow: from a photo's pixels and word ids to masks
        (OUTPUT/model.onnx, OUTPUT/model.tflite). fastest tries both on this machine, with --dtype
        int8 in int8 too, prints their milliseconds and those of the model itself, and keeps the
        fastest.
    warmup
        Also write requests that a server replays before it is ready (needs keras-cmsa[serve]).
    calibrate
        For int8: data with a split train, as --data-dir of `evaluate` takes it. The ranges of
        activations are taken from a hundred of its images, at even distances, with their sentences.
    """
    check_at_least(1, version=version)
    if form != "saved_model":
        given = {
            "--version": version is not None,
            "--profile": profile != "strict",
            f"--dtype {dtype}": dtype not in ("float32", "int8"),
            "--no-warmup": not warmup,
        }
        if names := [name for name, is_given in given.items() if is_given]:
            raise ValueError(f"{', '.join(names)} is for --format saved_model. Received: {form}")
    elif dtype == "int8":
        raise ValueError(
            "--dtype int8 is for --format onnx, litert or fastest. Received: saved_model"
        )
    if (dtype == "int8") != (calibrate is not None):
        raise ValueError(
            "--dtype int8 needs --calibrate, data with a split train, and --calibrate is for it "
            f"alone. Received: --dtype {dtype}, --calibrate {calibrate}"
        )
    if calibrate is None and (dataset, split_owner, own) != ("refcoco", "unc", OwnData()):
        raise ValueError("wanted the flags of a data set with --calibrate alone. Received: no data")
    check_folder(output if form == "saved_model" else output.parent)
    import_keras()
    from keras_cmsa.data.sources import read_records
    from keras_cmsa.export import portable
    from keras_cmsa.export.fastest import PRESET, export_fastest
    from keras_cmsa.export.network import OtherOutputs
    from keras_cmsa.export.saved_model import ExportOptions, export_saved_model
    from keras_cmsa.presets.preset import load_preset

    calibration = None
    if calibrate is not None:
        records = read_records(calibrate, dataset, split_owner, splits=["train"], **vars(own))
        calibration = records["train"]
    preset = load_preset(model)
    try:
        if form == "saved_model":
            path = export_saved_model(
                preset,
                output,
                next_version(output) if version is None else version,
                ExportOptions(profile=profile, dtype=dtype, warmup=warmup),
            )
        elif form == "fastest":
            times = export_fastest(preset, output, calibration)
            path = None if min(times, key=times.get) == PRESET else output
            for name, time in times.items():
                print(f"{name}: {time:.1f} ms for a new image and a sentence, through a predictor")
        else:
            write = {"onnx": portable.export_onnx, "litert": portable.export_litert}[form]
            path = write(preset, output, calibration)
    except OtherOutputs as error:
        raise ValueError(str(error)) from error
    if path is None:
        print("The model itself is the fastest here: nothing is written")
        return
    print(f"{path}: {size_of_folder(path) / 2**20:,.1f} MiB")


def next_version(folder):
    """One more than the largest there is; 1 in a folder without any."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if re.fullmatch("[0-9]+", name)), default=0) + 1
