"""`keras-cmsa convert`: the authors' checkpoint as a preset."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.utils.files import check_folder, check_new
from keras_cmsa.utils.silence import import_keras


def convert(
    checkpoint: Path,
    *,
    vocabulary: Path,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    trained_on: str = "G-Ref, if it is the checkpoint that the authors published",
):
    """Write the weights that CMSA's authors published as a preset, which every command takes.

        keras-cmsa convert Gref_deeplab_CMSA_iter_800000.tfmodel \\
            --vocabulary vocabulary_Gref.txt -o models/released

    docs/pretrained.md says where both files are. Needs keras-cmsa[tensorflow], whatever Keras'
    backend is.

    Parameters
    ----------
    checkpoint
        The checkpoint of TensorFlow 1: its name without .index, one of its files, or its folder.
    vocabulary
        The authors' vocabulary: vocabulary_Gref.txt for UNC, UNC+ and G-Ref.
    output
        Folder of the preset. It must not be there yet.
    trained_on
        What the checkpoint was trained on, for the model card.
    """
    check_new(output)
    check_folder(output)
    import_keras()
    from keras_cmsa.convert.released_preset import convert_to_preset

    print(convert_to_preset(checkpoint, vocabulary, output, trained_on))
