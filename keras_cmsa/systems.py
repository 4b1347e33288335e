"""Every row of the paper's tables by name: the same inputs and output, so everything else is too.

Parameters beside the backbone in the paper's sizes, with 10,000 words (the baselines' own pages say
theirs): cmsa 26,870,194; cmsa_ordered 26,890,194; cmsa_gated 26,856,688; cmsa_convlstm 31,248,185;
cmsa_deconv 33,841,185; cmsa_ppm 31,594,185; cmsa_s 25,795,689; cmsa_w 17,791,689, the same with
word, pixel and pair attention; cmsa_w_none 11,533,001.
"""

import functools
import inspect

from keras_cmsa.baselines.dmn import build_dmn
from keras_cmsa.baselines.kwa import build_kwa
from keras_cmsa.baselines.lstm_cnn import build_lstm_cnn, build_lstm_cnn_deeplab
from keras_cmsa.baselines.rmi import build_rmi
from keras_cmsa.baselines.rrn import build_rrn, build_rrn_cnn
from keras_cmsa.cmsa import build_cmsa
from keras_cmsa.layers.fusion_alternatives import (
    deconvolution,
    pyramid_pooling,
    recurrent_refinement,
    self_gated,
    single_level,
)

cmsa_w = functools.partial(build_cmsa, levels=("res5",), fusion=single_level)

SYSTEMS = {
    # Table 1: the systems.
    "lstm_cnn": build_lstm_cnn,
    "lstm_cnn_deeplab": build_lstm_cnn_deeplab,
    "rmi": build_rmi,
    "dmn": build_dmn,
    "kwa": build_kwa,
    "rrn": build_rrn,
    "cmsa": build_cmsa,
    # Table 2: what attends to what, on Res5 alone. "cmsa_w" is its row "full".
    "cmsa_w_none": functools.partial(cmsa_w, attention="none"),
    "cmsa_w_word": functools.partial(cmsa_w, attention="word"),
    "cmsa_w_pixel": functools.partial(cmsa_w, attention="pixel"),
    "cmsa_w_pair": functools.partial(cmsa_w, attention="pair"),
    "cmsa_w": cmsa_w,
    # Table 3: how words and image, and how levels, come together.
    "rrn_cnn": build_rrn_cnn,
    "cmsa_s": functools.partial(cmsa_w, sentence_vector=True),
    "cmsa_ppm": functools.partial(build_cmsa, fusion=pyramid_pooling),
    "cmsa_deconv": functools.partial(build_cmsa, fusion=deconvolution),
    "cmsa_convlstm": functools.partial(build_cmsa, fusion=recurrent_refinement),
    "cmsa_gated": functools.partial(build_cmsa, fusion=self_gated),
    # Beyond the paper: word order.
    "cmsa_ordered": functools.partial(build_cmsa, word_positions=True),
}

# The paper's rows, in its order: number of the table -> row -> system.
TABLES = {
    1: {
        "LSTM-CNN": "lstm_cnn",
        "RMI": "rmi",
        "DMN": "dmn",
        "KWA": "kwa",
        "RRN": "rrn",
        "CMSA": "cmsa",
    },
    2: {
        "No attention": "cmsa_w_none",
        "Word attention": "cmsa_w_word",
        "Pixel attention": "cmsa_w_pixel",
        "Word-pixel pair attention": "cmsa_w_pair",
        "Cross-modal self-attention": "cmsa_w",
    },
    3: {
        "RMI-LSTM": "rmi",
        "RRN-CNN": "rrn_cnn",
        "CMSA-S": "cmsa_s",
        "CMSA-W": "cmsa_w",
        "CMSA+PPM": "cmsa_ppm",
        "CMSA+Deconv": "cmsa_deconv",
        "CMSA+ConvLSTM": "cmsa_convlstm",
        "CMSA+Gated": "cmsa_gated",
        "CMSA+GF": "cmsa",
    },
}

# The paper's overall IoU in % on UNC val, from COCO-trained DeepLab weights and with DenseCRF; it
# has none there for LSTM-CNN (48.03 on ReferIt test) and KWA (59.09 on ReferIt test).
PAPER_UNC_VAL = {
    1: {"RMI": 45.18, "DMN": 49.78, "RRN": 55.33, "CMSA": 58.32},
    2: {
        "No attention": 45.63,
        "Word attention": 47.01,
        "Pixel attention": 47.84,
        "Word-pixel pair attention": 47.57,
        "Cross-modal self-attention": 50.12,
    },
    3: {
        "RMI-LSTM": 45.18,
        "RRN-CNN": 46.95,
        "CMSA-S": 48.53,
        "CMSA-W": 50.12,
        "CMSA+PPM": 53.54,
        "CMSA+Deconv": 54.18,
        "CMSA+ConvLSTM": 56.56,
        "CMSA+Gated": 57.08,
        "CMSA+GF": 58.32,
    },
}

# Sizes that mean the same wherever they occur. A system without one of them does without.
SHARED_SIZES = {"image_size", "backbone", "max_words", "word_dim", "attention_dim", "fusion_dim"}


def build_system(name, vocabulary_size, **sizes):
    """Builds a system by its name, in the sizes it was published with unless told otherwise.

    Args:
        name: a key of `SYSTEMS`.
        vocabulary_size: number of word ids, padding (0) and `[UNK]` (1) included.
        **sizes: arguments of the system's own function, such as `build_cmsa`. Those of
            `SHARED_SIZES` can be given to all alike: the baselines, which attend to nothing, take
            no notice of `attention_dim`.

    Returns:
        `keras.Model` of that name. Inputs: `image` `(B, S, S, 3)` float32 RGB in 0..255 and `words`
        `(B, N)` int32, 0 at padding. Output: logits `(B, S, S, 1)` float32.

    Raises:
        ValueError: if there is no such system, or a size is not possible.
    """
    if name not in SYSTEMS:
        raise ValueError(f"name must be one of {sorted(SYSTEMS)}. Received: name={name!r}")
    build = SYSTEMS[name]
    taken = inspect.signature(build).parameters
    sizes = {k: v for k, v in sizes.items() if k in taken or k not in SHARED_SIZES}
    return build(vocabulary_size, name=name, **sizes)
