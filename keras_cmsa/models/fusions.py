"""The fusions that Table 3 compares, each a function of the attended maps.

Each takes the list of attended and reduced maps X^i from Res3 to Res5, `(B, H, W, F)` each, and
returns one map of F channels or fewer. The paper names the techniques and
cites their sources; "Chosen" lists the details that it leaves open.
"""

from keras import layers, ops

from keras_cmsa.layers.conv_lstm import ConvLSTM
from keras_cmsa.layers.gated_multi_level_fusion import GatedMultiLevelFusion

BINS = (1, 2, 3, 6)


def gated_multi_level(levels):
    """The paper's: Eq. 5 and the sum of Eq. 6."""
    # The sum's terms cost nothing, and are shown by an `Explainer`.
    fused, _ = GatedMultiLevelFusion(name="fusion")(levels, return_levels=True)
    return fused


def single_level(levels):
    """No fusion: X of the deepest map alone (CMSA-W and CMSA-S).

    Chosen: a ReLU between the attention and the score, as on X^i in the authors' code. Without it
    and without attention (`"none"` in Table 2), the score would be a term of the image plus a term
    of the words that is the same at all positions, so no word could matter.
    """
    return layers.ReLU(name="fusion")(levels[-1])


def pyramid_pooling(levels):
    """The pyramid pooling module on the sum of X^i.

    The map is averaged over grids of 1, 2, 3 and 6 regions per side. Each grid goes through a 1x1
    convolution to a quarter of the channels and ReLU, and is resized bilinearly. A 3x3 convolution
    and ReLU follow on the map and the resized grids side by side.

    Chosen: the sum over all three levels as input, since the paper compares multi-level fusions;
    no batch normalisation, which does not work with the authors' batch of one image.

    Source: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.
    """
    x = layers.Add(name="sum")(levels)  # (B, H, W, F)
    channels = x.shape[-1]
    joined = [x]
    for bins in BINS:
        pool = layers.AdaptiveAveragePooling2D(bins, name=f"pool_{bins}")
        if bins == 1:  # which that layer cannot do in a graph of TensorFlow
            pool = layers.GlobalAveragePooling2D(keepdims=True, name="pool_1")
        pooled = pool(x)
        pooled = layers.Conv2D(
            max(1, channels // len(BINS)), 1, activation="relu", name=f"pyramid_{bins}"
        )(pooled)
        resized = ops.image.resize(
            pooled, x.shape[1:3], interpolation="bilinear", data_format="channels_last"
        )
        joined.append(resized)
    joined = layers.Concatenate(name="pyramid")(joined)
    return layers.Conv2D(
        channels, 3, padding="same", activation="relu", name="pyramid_fusion"
    )(joined)  # fmt: skip


def deconvolution(levels):
    """Learned deconvolution from coarse to fine.

    The deepest X^i goes through a 3x3 transposed convolution and ReLU and is added to the next X^i;
    this is done twice. Two 4x4 transposed convolutions of stride 2 with ReLU then enlarge the map
    four times.

    Chosen: everything but the use of transposed convolutions. All levels have one size here, so
    those between levels have stride 1. Each of the enlarging ones halves the channels.

    Source: Noh et al., "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015.
    """
    *finer, x = levels
    channels = x.shape[-1]
    for number, level in reversed(list(enumerate(finer, 1))):
        x = layers.Conv2DTranspose(
            channels, 3, padding="same", activation="relu", name=f"deconvolution_{number}"
        )(x)
        x = layers.Add(name=f"add_{number}")([x, level])
    for number, share in ((1, 2), (2, 4)):
        x = layers.Conv2DTranspose(
            max(1, channels // share),
            4,
            strides=2,
            padding="same",
            activation="relu",
            name=f"enlargement_{number}",
        )(x)
    return x  # (B, 4 H, 4 W, F / 4)


def recurrent_refinement(levels):
    """RRN's ConvLSTM over X^i from the deepest to the finest.

    Chosen: X^i without ReLU, as in the gated fusion; a sequence of the attended maps alone. RRN
    itself starts from a fused map, then takes maps that do not depend on the words.

    Source: Li et al., CVPR 2018; see `ConvLSTM`.
    """
    return ConvLSTM(levels[0].shape[-1], name="fusion")(levels[::-1])


def self_gated(levels):
    """The paper's own control (Sec. 4.3): the sum of m^i X^i, each level gated by itself alone.

    m^i is that of `GatedMultiLevelFusion`, "directly multiplied by its own features".

    Chosen: a ReLU on X^i, as in `single_level` and the authors' code. All other fusions have a
    step between X^i and the score that is not linear; here there would only be the gate.
    """
    gated = []
    for number, x in enumerate(levels, 1):
        x = layers.ReLU(name=f"relu_{number}")(x)
        memory = layers.Conv2D(
            1,
            3,
            padding="same",
            activation="sigmoid",
            bias_initializer="ones",
            name=f"memory_gate_{number}",
        )(x)  # (B, H, W, 1)
        gated.append(layers.Multiply(name=f"gated_{number}")([memory, x]))
    return layers.Add(name="fusion")(gated)


FUSIONS = {
    "gated_multi_level": gated_multi_level,
    "single_level": single_level,
    "pyramid_pooling": pyramid_pooling,
    "deconvolution": deconvolution,
    "recurrent_refinement": recurrent_refinement,
    "self_gated": self_gated,
}
