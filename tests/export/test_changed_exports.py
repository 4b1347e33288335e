"""An export beside the reference of another model fails `verify`, which names what was changed.

Those in int8 are in test_quantised.py.
"""

import shutil

import pytest
import tiny
from command import run

from keras_cmsa.presets.reference import read_reference, write_reference

pytest.importorskip("tensorflow")

LIBRARIES = {
    "saved_model": ("tensorflow_serving", "httpx"),
    "onnx": ("tf2onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
}


def right():
    """A model whose sentences all exist by its threshold."""
    import keras

    from keras_cmsa import Preset

    keras.utils.set_random_seed(7)
    preprocessor = tiny.preprocessor()
    model = tiny.finder(preprocessor, existence=True)
    model.get_layer("score").bias.assign_add([2.0])
    return Preset(model, preprocessor, existence(0.0))


def existence(threshold):
    counts = {"absent": 1, "present": 1}
    return {"existence": {"threshold": threshold, "sentences": counts, "curve": []}}


def another_threshold(preset):
    return preset._replace(config=existence(1.0))


def another_resize(preset):
    return preset._replace(preprocessor=tiny.preprocessor("stretch"))


def another_weight(preset):
    preset.model.get_layer("score").bias.assign_add([2.0])
    return preset


def another_order(preset):
    from keras_cmsa import Preprocessor, Vocabulary

    words = preset.preprocessor.vocabulary.words[2:]
    vocabulary = Vocabulary([*words[1:], words[0]], tiny.WORDS)
    return preset._replace(preprocessor=Preprocessor(vocabulary, tiny.SIZE))


def exchanged_channels(preset):
    """The first kernel takes blue for red."""
    kernel = preset.model.get_layer("backbone").get_layer("stem").kernel
    kernel.assign(kernel.numpy()[:, :, ::-1])
    return preset


CAUSES = {
    another_threshold: "a threshold",
    another_resize: "another resize",
    another_weight: "other weights",
    another_order: "the vocabulary: words have other ids",
    exchanged_channels: "the channel order",
}


@pytest.fixture(scope="module", params=LIBRARIES)
def exported_right(request, tmp_path_factory):
    """A form and the folder of the right export in it."""
    from keras_cmsa.export import portable
    from keras_cmsa.export.saved_model import ExportOptions, export_saved_model

    form, folder = request.param, tmp_path_factory.mktemp(request.param) / "cmsa"
    for library in LIBRARIES[form]:
        pytest.importorskip(library)
    if form == "saved_model":
        folder = export_saved_model(right(), folder, options=ExportOptions(warmup=False))
    else:
        portable.export(right(), folder, form)
    reference = read_reference(folder)
    assert reference.masks.any() and not reference.masks.all()
    assert run("verify", folder) == 0
    return form, folder


def causes(capsys):
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("likely cause: ") for line in lines if line.startswith("likely")]


@pytest.mark.slow
@pytest.mark.parametrize("change", CAUSES, ids=lambda change: change.__name__)
def test_what_was_changed_is_named(exported_right, change, tmp_path, capsys):
    """By the predictor and by the export's own graph, and behind a server."""
    form, right_folder = exported_right
    folder = shutil.copytree(right_folder, tmp_path / "1")
    write_reference(folder, change(right()))
    assert run("verify", folder) == 1
    named = causes(capsys)
    assert len(named) == 2
    if form == "saved_model":
        from serving_server import Server

        with Server(right_folder) as server:
            address = f"{server.urls['http']}/v1/models/cmsa"
            assert run("verify", address, "--reference", folder) == 1
        named += causes(capsys)
    assert named[0].startswith(CAUSES[change])
    # A SavedModel does not say the ids of words.
    is_unsaid = form == "saved_model" and change is another_order
    cause = "other weights or word ids" if is_unsaid else CAUSES[change]
    assert all(name.startswith(cause) for name in named[1:])
