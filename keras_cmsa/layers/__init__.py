"""The three layers of the method and the vectors of word order, each usable on its own."""

from keras_cmsa.layers.cross_modal_self_attention import CrossModalSelfAttention
from keras_cmsa.layers.gated_multi_level_fusion import GatedMultiLevelFusion
from keras_cmsa.layers.multimodal_feature import MultimodalFeature
from keras_cmsa.layers.word_positions import WordPositions

__all__ = ["CrossModalSelfAttention", "GatedMultiLevelFusion", "MultimodalFeature", "WordPositions"]
