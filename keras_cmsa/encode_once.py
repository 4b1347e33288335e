"""A model in two: what depends on the image alone, and what a sentence adds.

One image is often asked many sentences. The first part then runs once.
"""

import keras
from keras import ops

from keras_cmsa.layers import CrossModalSelfAttention, GatedMultiLevelFusion, MultimodalFeature
from keras_cmsa.layers.cross_modal_self_attention import (
    MASKED,
    matmul_transposed,
    mean_attention,
    softmax,
    word_shares,
)
from keras_cmsa.layers.multimodal_feature import position_feature, unit_length


def split_at_words(model):
    """Splits a model from image and words into two that give the same, sharing its weights.

    Of any model the backbone goes into the first part. Of full attention whose map goes into
    `GatedMultiLevelFusion`, as in `build_cmsa`, also the projections of the positions and their
    scores with each other; `encode_level` says more.

    Args:
        model: functional, with the inputs `image` and `words`.

    Returns:
        `(image_model, sentence_model)`. The first takes `image` and returns its code, a list of
        tensors, each with the batch in front; the second takes `{"code": code, "words": words}`
        and returns what the model does, to rounding.

    Raises:
        ValueError: if the model's inputs are others.
    """
    check_inputs(model)
    image = keras.Input(batch_shape=model.input["image"].shape, name="image")
    words = keras.Input(batch_shape=model.input["words"].shape, dtype="int32", name="words")
    of_image = {id(image): image}  # tensors that no word has a part in
    code = {}  # those of them that meet words
    reductions = reductions_of(model)

    def run(operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        given = [x for x in keras.tree.flatten((args, kwargs)) if keras.utils.is_keras_tensor(x)]
        ours = [x for x in given if id(x) in of_image]
        if len(ours) == len(given):
            of_image.update((id(x), x) for x in keras.tree.flatten(outputs))
        else:
            code.update((id(x), x) for x in ours)
        return outputs

    def call(operation, *args, **kwargs):
        if isinstance(operation, MultimodalFeature):
            visual, vectors = args
            return run(Stage(position_feature), visual), run(Stage(unit_length), vectors)
        if operation in reductions:
            owners = operation, reductions[operation]
            positions, *of_sentence = args
            level = run(Stage(encode_level, *owners), positions)
            return run(Stage(attend_in_level, *owners), level, *of_sentence, **kwargs)
        if isinstance(operation, GatedMultiLevelFusion) and reductions:
            return run(Stage(GatedMultiLevelFusion.fuse, operation), *args, **kwargs)
        return run(operation, *args, **kwargs)

    whole = keras.models.clone_model(
        model,
        input_tensors={"image": image, "words": words},
        clone_function=lambda layer: layer,
        call_function=call,
    )
    code = list(code.values())
    image_model = keras.Model(image, code, name=f"{model.name}_image")
    sentence_model = keras.Model(
        {"code": code, "words": words}, whole.output, name=f"{model.name}_sentence"
    )
    return image_model, sentence_model


def check_inputs(model):
    """Raises ValueError for a model that is not one of image and words."""
    inputs = getattr(model, "input", None)
    if not isinstance(inputs, dict) or set(inputs) != {"image", "words"}:
        raise ValueError(
            "Wanted a functional model with the inputs 'image' and 'words', as build_cmsa makes. "
            f"Received: {model.name!r} with {inputs}"
        )


def reductions_of(model):
    """The 1x1 convolution of the fusion that alone reads the map of each attention layer.

    Returns:
        Dict from `CrossModalSelfAttention` to `Conv2D`; empty unless all of it is as in
        `build_cmsa`, with full attention.
    """
    fusions = [layer for layer in model.layers if isinstance(layer, GatedMultiLevelFusion)]
    attentions = [layer for layer in model.layers if isinstance(layer, CrossModalSelfAttention)]
    if len(fusions) != 1:
        return {}
    (fusion,) = fusions
    reductions = {}
    for level, reduction in zip(fusion.input, fusion.reductions):
        readers = [
            operation
            for operation in model.operations
            if any(x is level for x in keras.tree.flatten(operation.input))
        ]
        for attention in attentions:
            if keras.tree.flatten(attention.output)[0] is level and readers == [fusion]:
                reductions[attention] = reduction
    foldable = all(a.attention == "full" and a.query_chunk is None for a in reductions)
    return reductions if foldable and len(reductions) == len(fusion.reductions) else {}


class Stage(keras.layers.Layer):
    """A function of other layers' weights and of tensors, as a step of a functional model."""

    def __init__(self, function, *owners):
        # The inputs are in the precision that the function wants them in.
        super().__init__(autocast=False)
        self.supports_masking = True  # some systems' word vectors carry Keras' mask
        self.function = function
        self.owners = owners

    def call(self, *args, **kwargs):
        return self.function(*self.owners, *args, **kwargs)


def encode_level(attention, reduction, positions):
    """What attention and the fusion's reduction make of the positions before they see a word.

    With the names of `CrossModalSelfAttention`, x_p the position's part of f_pn and R the kernel of
    the reduction, the reduced map is

        X_p = R (W vhat_p + mean_n f_pn)
            = sum_p' alpha_p(p') (R W g_p') + sum_n' beta_p(n') (R W h_n') + R x_p + R mean_n e_n

    so the wide map itself, of Cp + Cl channels, is never made.

    Args:
        attention: `CrossModalSelfAttention`, full.
        reduction: the `Conv2D` with a 1x1 kernel that reads its map.
        positions: `(B, H, W, Cp)`.

    Returns:
        List of a and c, `(B, P, d)`; the scores A = c a^T and their softmax, `(B, P, P)`;
        R W g, `(B, P, F)`; and R x with the bias, `(B, H, W, F)`.
    """
    batch = ops.shape(positions)[0]
    _, height, width, channels = positions.shape
    flat = ops.reshape(positions, (batch, height * width, channels))
    kernel, output_kernel = kernels(attention, reduction, positions.dtype)
    query, key, value = (
        ops.matmul(flat, cast(x, positions.dtype)[:channels])
        for x in (attention.query_kernel, attention.key_kernel, attention.value_kernel)
    )
    query, key = (ops.cast(x, "float32") for x in (query, key))
    scores = matmul_transposed(key, query)
    reduced = ops.matmul(value, ops.matmul(output_kernel, kernel))
    own = ops.matmul(positions, kernel[:channels]) + cast(reduction.bias, positions.dtype)
    return [query, key, scores, softmax(scores), reduced, own]


def attend_in_level(attention, reduction, level, words, word_mask=None, return_attention=False):
    """The rest of `encode_level`, for `words` `(B, N, Cl)`.

    Returns:
        X, `(B, H, W, F)`; with `return_attention` also the word and the position attention, as
        `CrossModalSelfAttention` gives them.
    """
    query, key, scores, exp_scores, reduced, own = level
    batch = ops.shape(words)[0]
    _, height, width, fusion_dim = own.shape
    channels = attention.query_kernel.shape[0] - words.shape[-1]
    kernel, output_kernel = kernels(attention, reduction, words.dtype)
    query_words, key_words, value_words = (
        ops.matmul(words, cast(x, words.dtype)[channels:])
        for x in (attention.query_kernel, attention.key_kernel, attention.value_kernel)
    )
    query_words, key_words = (ops.cast(x, "float32") for x in (query_words, key_words))
    share = word_shares(words, word_mask)  # (B, N), float32
    is_word = share[:, None] > 0
    alpha = mean_attention(scores, matmul_transposed(key_words, query), share, exp_scores)
    beta = mean_attention(
        ops.where(is_word, matmul_transposed(key, query_words), MASKED),
        ops.where(is_word, matmul_transposed(key_words, query_words), MASKED),
        share,
    )
    reduced_words = ops.matmul(ops.matmul(value_words, output_kernel), kernel)  # (B, N, F)
    mean_word = ops.einsum("bn,bnc->bc", ops.cast(share, words.dtype), words)[:, None]
    attended = (
        ops.matmul(ops.cast(alpha, words.dtype), reduced)
        + ops.matmul(ops.cast(beta, words.dtype), reduced_words)
        + ops.matmul(mean_word, kernel[channels:])
    )  # (B, P, F)
    level_map = ops.reshape(attended, (batch, height, width, fusion_dim)) + own
    if not return_attention:
        return level_map
    position_attention = ops.mean(alpha, axis=1)
    return (
        level_map,
        ops.mean(beta, axis=1),
        ops.reshape(position_attention, (batch, height, width)),
    )


def kernels(attention, reduction, dtype):
    """R as a matrix `(Cp + Cl, F)`, and W `(d, Cp + Cl)`."""
    kernel = cast(reduction.kernel, dtype)[0, 0]
    return kernel, cast(attention.output_kernel, dtype)


def cast(weight, dtype):
    return ops.cast(ops.convert_to_tensor(weight), dtype)
