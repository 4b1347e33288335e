"""Tiny random backbones of KerasHub, whose models the caller gives as `hub`."""

import numpy as np

SIDE = 64
PIECES = ["[PAD]", "!", "[UNK]", "[CLS]", "[SEP]", "man", "left", "##most", "red", "##"]


def tiny_efficientnet(hub):
    """An EfficientNet with a stage per stride: 2, 4, 8, 16 and 32."""
    return hub.EfficientNetBackbone(
        stackwise_kernel_sizes=[3] * 5,
        stackwise_num_repeats=[1] * 5,
        stackwise_input_filters=[8, 8, 16, 24, 32],
        stackwise_output_filters=[8, 16, 24, 32, 40],
        stackwise_expansion_ratios=[1, 2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0] * 5,
        stackwise_width_coefficients=[1.0] * 5,
        stackwise_depth_coefficients=[1.0] * 5,
        stackwise_block_types=["v1"] * 5,
        activation="relu6",
    )


def tiny_mit(hub):
    return hub.MiTBackbone(
        layerwise_depths=[1] * 4,
        num_layers=4,
        layerwise_num_heads=[1] * 4,
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.5,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        image_shape=(SIDE, SIDE, 3),
        hidden_dims=[8, 16, 24, 32],
    )


TRANSFORMER = {"num_layers": 3, "hidden_dim": 8, "num_heads": 2}


def tiny_vit(hub):
    return hub.ViTBackbone(image_shape=(SIDE, SIDE, 3), patch_size=16, mlp_dim=16, **TRANSFORMER)


def tiny_dino2(hub):
    return hub.DINOV2Backbone(
        patch_size=14,
        intermediate_dim=16,
        num_register_tokens=2,
        image_shape=(56, 56, 3),
        position_embedding_shape=(42, 42, 3),
        **TRANSFORMER,
    )


def tiny_dino3(hub, **changed):
    sizes = {**TRANSFORMER, **changed}
    return hub.DINOV3Backbone(
        patch_size=16, intermediate_dim=16, image_shape=(SIDE, SIDE, 3), **sizes
    )


def randomized(model, rng):
    """Gives a model weights that are all different, so that no token looks like another."""
    for weight in model.weights:
        if "float" in str(weight.dtype):
            spread = rng.normal(0, 0.3, weight.shape)
            is_variance = "variance" in weight.path
            weight.assign(1 + np.abs(spread) if is_variance else spread)
    return model


TEXT = {
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 12,
}


def tiny_bert(hub, vocabulary_size=10):
    return hub.BertBackbone(vocabulary_size=vocabulary_size, dropout=0.5, **TEXT)


def tiny_distilbert(hub):
    return hub.DistilBertBackbone(vocabulary_size=len(PIECES), **TEXT)
