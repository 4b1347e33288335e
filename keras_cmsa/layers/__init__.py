"""Layers: the three of the method, `WordPositions` for word order, and those of compared systems.

Each can be used on its own.
"""

# First, since Keras' import registers `Cmsa`, whose modules must not be half imported then.
import keras  # noqa: F401

from keras_cmsa.layers.append_coordinates import AppendCoordinates
from keras_cmsa.layers.bilinear_filter import BilinearFilter
from keras_cmsa.layers.channel_gated_fusion import ChannelGatedFusion
from keras_cmsa.layers.conv_lstm import ConvLSTM
from keras_cmsa.layers.corner_upsampling import CornerUpsampling2D
from keras_cmsa.layers.cross_modal_self_attention import CrossModalSelfAttention
from keras_cmsa.layers.existence_feature import ExistenceFeature
from keras_cmsa.layers.folded_attention import FoldedAttention
from keras_cmsa.layers.gated_multi_level_fusion import GatedMultiLevelFusion
from keras_cmsa.layers.multimodal_feature import MultimodalFeature
from keras_cmsa.layers.multimodal_lstm import MultimodalLSTM
from keras_cmsa.layers.pooled_self_attention import PooledSelfAttention
from keras_cmsa.layers.sentence_axis import FromRows, RepeatPerSentence
from keras_cmsa.layers.simple_recurrent_unit import SimpleRecurrentUnit
from keras_cmsa.layers.word_positions import WordPositions

__all__ = [
    "AppendCoordinates",
    "BilinearFilter",
    "ChannelGatedFusion",
    "ConvLSTM",
    "CornerUpsampling2D",
    "CrossModalSelfAttention",
    "ExistenceFeature",
    "FoldedAttention",
    "FromRows",
    "GatedMultiLevelFusion",
    "MultimodalFeature",
    "MultimodalLSTM",
    "PooledSelfAttention",
    "RepeatPerSentence",
    "SimpleRecurrentUnit",
    "WordPositions",
]
