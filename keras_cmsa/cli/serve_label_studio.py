"""`keras-cmsa serve-label-studio`: the model inside Label Studio."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.cli.options import Model, name_model
from keras_cmsa.presets.hub import PHOTOS
from keras_cmsa.utils.messages import check_within
from keras_cmsa.utils.silence import import_keras


def serve_label_studio(
    *,
    model: Model = PHOTOS,
    images: Path | None = None,
    label_studio: str | None = None,
    token: Annotated[str | None, Parameter(env_var="LABEL_STUDIO_API_KEY")] = None,
    collect: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 9090,
):
    """Serve a model to Label Studio, which sends phrases and images and draws the masks.

    It is an ML backend in Label Studio's words; docs/label_tools.md has the whole way from an empty
    project to a model trained on its annotations.

    Parameters
    ----------
    images
        Label Studio's folder of uploads (media/upload in its data folder) or of local files.
    label_studio
        Its address instead, such as http://localhost:8080; images come from there alone.
    token
        Its access token, the legacy one; better given as LABEL_STUDIO_API_KEY.
    collect
        Folder in which submitted annotations become a table to train on: table.csv, images, masks.
    host
        Address to listen on; 0.0.0.0 lets other machines in, and whoever is in may add to the table.
    port
        To listen on.
    """
    check_within(1, 65535, port=port)
    from keras_cmsa.serving.collected_table import CollectedTable
    from keras_cmsa.serving.label_studio import Backend, serve
    from keras_cmsa.serving.label_studio_images import Images
    from keras_cmsa.utils.extras import require

    for library in ("fastapi", "uvicorn"):  # before the model, which takes seconds to load
        require(library, "demo", "The server for Label Studio")
    source = Images(images, label_studio, token)
    table = CollectedTable(collect) if collect else None
    name_model(model)
    import_keras()
    from keras_cmsa.inference.predictor import Predictor
    from keras_cmsa.presets.files import name_of, opened

    folder, _ = opened(model)
    serve(Backend(Predictor.from_preset(folder), name_of(folder), source, table), host, port)
