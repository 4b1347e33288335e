"""A model split in two: the part that depends on the image alone, and the part that reads words.

For several expressions about one image, the first part runs once.
"""

import keras
from keras import ops

from keras_cmsa.layers import CrossModalSelfAttention, GatedMultiLevelFusion, MultimodalFeature
from keras_cmsa.layers.cross_modal_self_attention import mean_attention
from keras_cmsa.layers.multimodal_feature import position_feature
from keras_cmsa.layers.ops import MASKED, matmul_transposed, softmax, unit_length, word_shares
from keras_cmsa.models.inputs_and_outputs import check_inputs


def split_at_words(model):
    """Splits a model into two that share its weights and together compute its outputs.

    The first part always has the backbone. If full attention is followed by
    `GatedMultiLevelFusion`, as in `build_cmsa`, the first part also has the projections of the
    positions and their scores with each other; see `encode_level`.

    Args:
        model: functional `keras.Model` with the inputs `image` and `words`.

    Returns:
        `(image_model, sentence_model)`. The first takes `image` and returns its code, a list of
        tensors `(B, ...)`. The second takes `{"code": code, "words": words}` and returns the
        outputs of the model, equal up to rounding.

    Raises:
        ValueError: if the model has other inputs.
    """
    check_inputs(model)
    image = keras.Input(batch_shape=model.input["image"].shape, name="image")
    words = keras.Input(batch_shape=model.input["words"].shape, dtype="int32", name="words")
    from_image = {id(image): image}  # the tensors that depend on the image alone, by id
    code = {}  # those of them that meet words
    reductions = reductions_of(model)

    def run(operation, *args, **kwargs):
        """Calls the operation and notes whether its outputs depend on the image alone."""
        outputs = operation(*args, **kwargs)
        inputs = [x for x in keras.tree.flatten((args, kwargs)) if keras.utils.is_keras_tensor(x)]
        image_inputs = [x for x in inputs if id(x) in from_image]
        if len(image_inputs) == len(inputs):
            from_image.update((id(x), x) for x in keras.tree.flatten(outputs))
        else:
            code.update((id(x), x) for x in image_inputs)
        return outputs

    def call(operation, *args, **kwargs):
        """Calls the operation, split where possible into an image part and a word part."""
        if isinstance(operation, MultimodalFeature):
            visual, vectors = args
            return run(FunctionLayer(position_feature), visual), run(
                FunctionLayer(unit_length), vectors
            )
        if operation in reductions:
            owners = operation, reductions[operation]
            positions, *word_args = args
            level = run(FunctionLayer(encode_level, *owners), positions)
            return run(FunctionLayer(attend_in_level, *owners), level, *word_args, **kwargs)
        if isinstance(operation, GatedMultiLevelFusion) and reductions:
            return run(FunctionLayer(GatedMultiLevelFusion.fuse, operation), *args, **kwargs)
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


def reductions_of(model):
    """For each attention layer, the 1x1 convolution of the fusion that reads its map.

    Returns:
        Dict from `CrossModalSelfAttention` to `Conv2D`. It is empty unless the model is like
        `build_cmsa` with full attention: one fusion, which alone reads the maps.
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
    can_split = all(a.attention == "full" and a.query_chunk is None for a in reductions)
    return reductions if can_split and len(reductions) == len(fusion.reductions) else {}


class FunctionLayer(keras.layers.Layer):
    """A function of other layers and of tensors as a layer of a functional model.

    Args:
        function: function of the `owners` and the tensors.
        *owners: layers whose weights the function uses.
    """

    def __init__(self, function, *owners):
        # The inputs already have the precision that the function needs.
        super().__init__(autocast=False)
        self.supports_masking = True  # the word vectors of some systems carry Keras' mask
        self.function = function
        self.owners = owners

    def call(self, *args, **kwargs):
        return self.function(*self.owners, *args, **kwargs)


def encode_level(attention, reduction, positions):
    """The part of attention and reduction that depends on the positions alone.

    With the symbols of `CrossModalSelfAttention`, x_p the position part of f_pn, e_n its word part
    and R the kernel of the reduction, the reduced map is

        X_p = R (W vhat_p + mean_n f_pn)
            = sum_p' alpha_p(p') (R W g_p') + sum_n' beta_p(n') (R W h_n') + R x_p + R mean_n e_n

    so the wide map of Cp + Cl channels is never built.

    Args:
        attention: `CrossModalSelfAttention` with full attention.
        reduction: the `Conv2D` with a 1x1 kernel that reads its map.
        positions: `(B, H, W, Cp)`.

    Returns:
        List of the position parts of query and key, `(B, P, d)`; their scores (key times query
        transposed) and the softmax of these, `(B, P, P)`; R W g, `(B, P, F)`; and R x with the
        bias, `(B, H, W, F)`.
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
    """The reduced map of `encode_level` for given words.

    Args:
        attention, reduction: as in `encode_level`.
        level: the list that `encode_level` returns.
        words: `(B, N, Cl)`.
        word_mask, return_attention: as in `CrossModalSelfAttention`.

    Returns:
        X, `(B, H, W, F)`; with `return_attention` a triple of X, the word attention and the
        position attention, as in `CrossModalSelfAttention`.
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
