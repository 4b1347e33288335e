"""Recurrences over the words of an expression; padding changes nothing."""

import numpy as np
from keras import ops


def scan_words(step, state, inputs, word_mask):
    """Runs `state = step(state, inputs)` word by word; padding does not change the state.

    Args:
        step: function from the state and the inputs of one word to the next state.
        state: list of tensors `(B, ...)`.
        inputs: list of tensors `(B, N, ...)`; N must be known.
        word_mask: `(B, N)` bool, False at padding.

    Returns:
        List of the N states, each a list like `state`.
    """
    states = []
    # A Python loop: N is small, and a graph without loops compiles and differentiates everywhere.
    # `unstack`, since the gradient of a slice is as large as the whole tensor.
    words = zip(*(ops.unstack(x, axis=1) for x in inputs))
    for is_word, word in zip(ops.unstack(word_mask, axis=1), words):
        stepped = step(state, word)
        state = [ops.where(align(is_word, old), new, old) for new, old in zip(stepped, state)]
        states.append(state)
    return states


def last_word(sequence, word_mask):
    """The entries of a sequence `(B, N, ...)` at the last word of each expression: `(B, ...)`."""
    # As NumPy: ONNX asks whoever runs a file for the tensors that a model was built with.
    place = np.arange(1, word_mask.shape[1] + 1, dtype="int32")
    last = ops.max(ops.where(word_mask, place, 0), axis=1, keepdims=True)  # (B, 1)
    chosen = align(ops.equal(place, last), sequence)
    return ops.sum(ops.where(chosen, sequence, ops.zeros_like(sequence)), axis=1)


def align(mask, tensor):
    """The mask with trailing axes of size one, so that its rank is that of `tensor`."""
    return mask[(..., *[None] * (len(tensor.shape) - len(mask.shape)))]
