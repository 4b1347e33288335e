"""Keras' own check of a layer, on the three of the method: in all modes, at all precisions."""

import pytest
from keras.src.testing import TestCase

from keras_cmsa.layers import CrossModalSelfAttention, GatedMultiLevelFusion, MultimodalFeature
from keras_cmsa.layers.cross_modal_self_attention import MODES

pytestmark = pytest.mark.keras

MAP, WORDS = (2, 3, 4, 6), (2, 5, 3)
PAIR = {"positions_shape": MAP, "words_shape": WORDS}
SENTENCES = {"positions_shape": MAP, "words_shape": (2, 3, 5, 3)}
CASES = {
    "feature": (MultimodalFeature, {}, {"visual_shape": MAP, "words_shape": WORDS}),
    "fusion": (GatedMultiLevelFusion, {}, [MAP, MAP]),
    **{
        mode: (CrossModalSelfAttention, {"attention_dim": 7, "attention": mode}, PAIR)
        for mode in MODES
    },
    **{
        f"{mode}, reduced, three sentences": (
            CrossModalSelfAttention,
            {"attention_dim": 7, "output_dim": 4, "attention": mode},
            SENTENCES,
        )
        for mode in MODES
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_layer_keeps_keras_contract(case, policy):
    check(*CASES[case], dtype=policy)


@pytest.mark.parametrize("mode", MODES)
def test_attention_in_chunks_keeps_it_too(mode):
    check(*CASES[mode], query_chunk=5)


def check(layer_class, options, shape, **more):
    TestCase().run_layer_test(
        layer_class, {**options, **more}, input_shape=shape, run_training_check=False
    )
