"""The three layers of the method and the vectors of word order, each usable on its own.

Beside them, what the systems that it is compared with are made of.
"""

from keras_cmsa.layers.bilinear_filter import BilinearFilter
from keras_cmsa.layers.conv_lstm import ConvLSTM
from keras_cmsa.layers.cross_modal_self_attention import CrossModalSelfAttention
from keras_cmsa.layers.gated_multi_level_fusion import GatedMultiLevelFusion
from keras_cmsa.layers.multimodal_feature import MultimodalFeature
from keras_cmsa.layers.multimodal_lstm import MultimodalLSTM
from keras_cmsa.layers.region_means import RegionMeans
from keras_cmsa.layers.sentence_feature import AppendCoordinates, SentenceFeature
from keras_cmsa.layers.simple_recurrent_unit import SimpleRecurrentUnit
from keras_cmsa.layers.word_positions import WordPositions

__all__ = [
    "AppendCoordinates",
    "BilinearFilter",
    "ConvLSTM",
    "CrossModalSelfAttention",
    "GatedMultiLevelFusion",
    "MultimodalFeature",
    "MultimodalLSTM",
    "RegionMeans",
    "SentenceFeature",
    "SimpleRecurrentUnit",
    "WordPositions",
]
