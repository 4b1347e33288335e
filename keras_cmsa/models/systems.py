"""Every row of the paper's tables, by name. All systems have the same inputs and the same output.

Parameters beside the backbone in the paper's sizes, with 10,000 words: cmsa 26,870,194;
cmsa_ordered 26,890,194; cmsa_gated 26,856,688; cmsa_convlstm 31,248,185; cmsa_deconv 33,841,185;
cmsa_ppm 31,594,185; cmsa_s 25,795,689; cmsa_w and its word, pixel and pair forms 17,791,689;
cmsa_w_none 11,533,001; rrn_cnn 21,062,001. The functions of the baselines state theirs.
"""

import functools
import inspect

from keras_cmsa.models.channels_last import channels_last
from keras_cmsa.models.cmsa import build_cmsa
from keras_cmsa.models.cmsa_refined import build_cmsa_refined
from keras_cmsa.models.cmsa_released import build_cmsa_released
from keras_cmsa.models.dmn import build_dmn
from keras_cmsa.models.kwa import build_kwa
from keras_cmsa.models.lstm_cnn import build_lstm_cnn, build_lstm_cnn_deeplab
from keras_cmsa.models.rmi import build_rmi
from keras_cmsa.models.rrn import build_rrn

cmsa_w = functools.partial(build_cmsa, levels=("res5",), fusion="single_level")

SYSTEMS = {
    # Table 1: the systems.
    "lstm_cnn": build_lstm_cnn,
    "lstm_cnn_deeplab": build_lstm_cnn_deeplab,
    "rmi": build_rmi,
    "dmn": build_dmn,
    "kwa": build_kwa,
    "rrn": build_rrn,
    "cmsa": build_cmsa,
    # Table 2: forms of the attention, on Res5 alone. "cmsa_w" is the row "full".
    "cmsa_w_none": functools.partial(cmsa_w, attention="none"),
    "cmsa_w_word": functools.partial(cmsa_w, attention="word"),
    "cmsa_w_pixel": functools.partial(cmsa_w, attention="pixel"),
    "cmsa_w_pair": functools.partial(cmsa_w, attention="pair"),
    "cmsa_w": cmsa_w,
    # Table 3: ways to join words and image, and ways to fuse levels.
    "rrn_cnn": functools.partial(build_lstm_cnn_deeplab, score_kernel=3),
    "cmsa_s": functools.partial(cmsa_w, sentence_vector=True),
    "cmsa_ppm": functools.partial(build_cmsa, fusion="pyramid_pooling"),
    "cmsa_deconv": functools.partial(build_cmsa, fusion="deconvolution"),
    "cmsa_convlstm": functools.partial(build_cmsa, fusion="recurrent_refinement"),
    "cmsa_gated": functools.partial(build_cmsa, fusion="self_gated"),
    # Beyond the paper: word order; that, a second round and a decoder.
    "cmsa_ordered": functools.partial(build_cmsa, word_positions=True),
    "cmsa_refined": build_cmsa_refined,
    # The authors' code, which differs from the paper.
    "cmsa_released": build_cmsa_released,
}

# Sizes with the same meaning in all systems. A system that lacks one ignores it.
SHARED_SIZES = {"image_size", "backbone", "max_words", "word_dim", "attention_dim", "fusion_dim"}


@channels_last()
def build_system(name, vocabulary_size, **sizes):
    """Builds a system by its name, by default in its published sizes.

    Args:
        name: a key of `SYSTEMS`.
        vocabulary_size: number of word ids, padding (0) and `[UNK]` (1) included.
        **sizes: arguments of the system's own function, such as `build_cmsa`. Every system accepts
            those of `SHARED_SIZES`: the baselines, which have no such attention, ignore
            `attention_dim`.

    Returns:
        `keras.Model` with the given name. Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255 and
        `words` `(B, K, N)` int32, 0 at padding. Output: logits `(B, K, S, S, 1)` float32, or with
        `existence` those of `build_cmsa`.

    Raises:
        ValueError: if there is no such system or a size is not possible.
    """
    if name not in SYSTEMS:
        raise ValueError(f"name must be one of {sorted(SYSTEMS)}. Received: name={name!r}")
    build = SYSTEMS[name]
    taken = inspect.signature(build).parameters
    if "existence" not in taken and sizes.pop("existence", False):
        raise ValueError(
            f"`existence` is an output of build_cmsa and cmsa_refined. Received: {name}"
        )
    sizes = {k: v for k, v in sizes.items() if k in taken or k not in SHARED_SIZES}
    return build(vocabulary_size, name=name, **sizes)
