"""The authors' checkpoint and vocabulary as a preset."""

from keras_cmsa.convert.checkpoints import TensorFlowCheckpoint
from keras_cmsa.convert.deeplab import deeplab_variables
from keras_cmsa.convert.released_checkpoint import (
    head_sources,
    load_released_checkpoint,
    vocabulary_size,
)
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.released_vocabulary import ReleasedVocabulary
from keras_cmsa.presets.preset import Preset, save_preset

SOURCE = "https://github.com/lwye/CMSA-Net"
STARTING_WEIGHTS = (
    "DeepLab's ResNet-101, trained on COCO (deeplab_resnet_init.ckpt); the rest random; all then "
    "trained by the authors of CMSA"
)
LICENCE = (
    f"The weights are those that the authors of CMSA published ({SOURCE}), who state no licence for "
    "them: ask them before you pass these on or use them in a product. DeepLab's weights, the "
    "images of COCO (Flickr's terms) and the expressions bring terms of their own. The code of this "
    "package is under Apache-2.0."
)


def convert_to_preset(checkpoint, vocabulary, output, trained_on):
    """Writes a preset from the files that the authors published.

    Args:
        checkpoint: as in `load_released_checkpoint`.
        vocabulary: path of the authors' vocabulary.
        output: folder, which must not be there.
        trained_on: what the checkpoint was trained on, in words.

    Returns:
        How many of its variables the model used and ignored, for people.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: as `load_released_checkpoint`, or if the
            vocabulary is none of the authors', or of another length than the checkpoint's.
    """
    checkpoint = TensorFlowCheckpoint(checkpoint)
    words = ReleasedVocabulary.from_authors_file(vocabulary)
    if len(words) != vocabulary_size(checkpoint):
        raise ValueError(
            f"{vocabulary} is not the vocabulary of {checkpoint.prefix}, which has word vectors for "
            f"{vocabulary_size(checkpoint):,} lines. Received: {len(words):,} lines"
        )
    model = load_released_checkpoint(checkpoint.prefix, max_words=words.max_words)
    used = len(deeplab_variables(model.get_layer("backbone"))) + len(head_sources(model))
    size = model.input["image"].shape[1]
    config = {
        "data": {"name": trained_on, "counts": {}},
        "starting_weights": STARTING_WEIGHTS,
        "licence": LICENCE,
        "converted_from": {"checkpoint": checkpoint.prefix.name, "source": SOURCE},
    }
    save_preset(output, Preset(model, Preprocessor(words, size), config))
    return f"{output}: {used} variables used, {len(checkpoint.shapes) - used} ignored"
