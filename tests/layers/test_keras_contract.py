"""Keras' own check of a layer, on the three of the method: in all modes, at all precisions."""

import pytest
from keras.src.testing import TestCase

from keras_cmsa.layers import CrossModalSelfAttention, GatedMultiLevelFusion, MultimodalFeature
from keras_cmsa.layers.cross_modal_self_attention import MODES

pytestmark = pytest.mark.keras

MAP, WORDS = (2, 3, 4, 6), (2, 5, 3)
PAIR = {"positions_shape": MAP, "words_shape": WORDS}
CASES = {
    "feature": (MultimodalFeature, {}, {"visual_shape": MAP, "words_shape": WORDS}),
    "fusion": (GatedMultiLevelFusion, {"fusion_dim": 6}, [MAP, (2, 3, 4, 3)]),
    **{
        f"{mode} {chunk}": (
            CrossModalSelfAttention,
            {"attention_dim": 7, "attention": mode, "query_chunk": chunk},
            PAIR,
        )
        for mode in MODES
        for chunk in (None, 5)
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_layer_keeps_keras_contract(case, policy):
    layer_class, options, shape = CASES[case]
    TestCase().run_layer_test(
        layer_class, {**options, "dtype": policy}, input_shape=shape, run_training_check=False
    )
