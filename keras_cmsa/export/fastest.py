"""Which form of a model answers fastest on this machine: measured, not guessed."""

import shutil
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from keras_cmsa.export.network import OtherOutputs
from keras_cmsa.export.portable import FORMS, check_libraries, export
from keras_cmsa.inference.predictor import Predictor
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.presets.reference import draw_picture, sentences_of
from keras_cmsa.utils.files import check_new, new_folder
from keras_cmsa.utils.silence import silenced

ROUNDS = 15
PRESET = "preset"


def export_fastest(preset, folder, calibration=None):
    """Exports a model to each of `FORMS` and keeps the one that answers fastest, if the preset does not.

    With a calibration it also exports each in int8.

    Each answers the picture of a reference and its mirror image in turn, one sentence each, through
    a `Predictor` with its engine's own threads; the median of the rounds counts.

    Args:
        preset: `Preset` or `Predictor`.
        folder: must not be there.
        calibration: as in `export_onnx`; `None` tries no int8.

    Returns:
        Dict of milliseconds by form that gives the outputs of the model, such as `"onnx"` and
        `"onnx int8"`, the preset's under `"preset"`. If that is the least, nothing is written; else
        the folder holds the export with the least.

    Raises:
        As `export_onnx`, for the libraries of all forms.
    """
    check_new(folder)
    for form in FORMS:
        check_libraries(form, calibration is not None)
    trial = {form: (form, None) for form in FORMS}
    if calibration is not None:
        trial |= {f"{form} int8": (form, calibration) for form in FORMS}
    predictors = {PRESET: Predictor(preset.model, preset.preprocessor, config=preset.config)}
    with tempfile.TemporaryDirectory() as trials:
        for name, of_form in trial.items():
            try:
                path = export(preset, Path(trials) / name, *of_form)
            except OtherOutputs as error:
                warnings.warn(f"{name} is left out: {error}", stacklevel=2)
                continue
            predictors[name] = Predictor.from_preset(path)
        with silenced():  # TensorFlow warns that it traces a function for each of them
            times = milliseconds(predictors)
        fastest = min(times, key=times.get)
        if fastest != PRESET:
            with new_folder(folder) as partial:
                shutil.copytree(Path(trials) / fastest, partial, dirs_exist_ok=True)
    return times


def milliseconds(predictors):
    """The median time of a dict of `Predictor`s, asked in turn: dict of milliseconds by name."""
    preprocessor = next(iter(predictors.values())).preprocessor
    picture = read_image(draw_picture(preprocessor.image_size)[0])
    sentence = sentences_of(preprocessor.vocabulary)[-1]
    pictures = picture, picture[:, ::-1].copy()  # since a predictor keeps the maps of the last one
    times = {name: [] for name in predictors}
    for turn in range(ROUNDS + 2):  # the first two make what is made once
        for name, predictor in predictors.items():
            start = time.perf_counter()
            predictor(pictures[turn % 2], sentence)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(seconds[2:]) for name, seconds in times.items()}
