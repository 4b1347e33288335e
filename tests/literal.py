"""The paper's equations, literally, in float64 NumPy: nothing factorised, nothing shared."""

import numpy as np


def feature(visual, words):
    """Eq. 1, one vector per word and position: (N, P, C), channels visual, spatial, word."""
    height, width, _ = visual.shape
    rows = []
    for word in words:
        for y in range(height):
            for x in range(width):
                box = [2 * x / width - 1, 2 * y / height - 1]
                box += [2 * (x + 1) / width - 1, 2 * (y + 1) / height - 1]
                box += [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 1 / width, 1 / height]
                v = visual[y, x]
                rows.append(
                    np.concatenate([v / np.linalg.norm(v), box, word / np.linalg.norm(word)])
                )
    return np.array(rows, "float64").reshape(len(words), height * width, -1)


def attention(f, w_query, w_key, mode="full"):
    """Eq. 3: a[n, p, n', p'], each (n, p) summing to one over the pairs that the mode keeps."""
    words, positions, channels = f.shape
    flat = f.reshape(-1, channels)
    scores = (flat @ w_key) @ (flat @ w_query).T
    word, position = np.divmod(np.arange(words * positions), positions)
    same_word, same_position = word[:, None] == word, position[:, None] == position
    kept = {
        "none": np.zeros_like(same_word),
        "word": same_position,
        "pixel": same_word,
        "pair": ~same_word & ~same_position,
        "full": np.ones_like(same_word),
    }[mode]
    scores = np.where(kept, scores, -np.inf)
    highest = np.max(scores, axis=1, keepdims=True, initial=-1e300)
    exponentials = np.exp(scores - highest)
    total = exponentials.sum(axis=1, keepdims=True)
    weights = np.divide(exponentials, total, where=total > 0, out=np.zeros_like(scores))
    return weights.reshape(words, positions, words, positions)


def self_attention(f, w_query, w_key, w_value, w_output, mode="full"):
    """Eqs. 2-4: (P, C)."""
    weights = attention(f, w_query, w_key, mode)
    attended = np.einsum("npmq,mqd->npd", weights, f @ w_value)
    return (attended @ w_output + f).mean(axis=0)


def convolution(x, kernel, bias):
    """'Same' convolution by its definition: (H, W, C) with (k, k, C, D)."""
    size = kernel.shape[0]
    padded = np.pad(x, [(size // 2,) * 2, (size // 2,) * 2, (0, 0)])
    out = np.zeros((*x.shape[:2], kernel.shape[3])) + bias
    for dy in range(size):
        for dx in range(size):
            out += padded[dy : dy + x.shape[0], dx : dx + x.shape[1]] @ kernel[dy, dx]
    return out


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def fusion(levels, weights):
    """Eq. 5 and the sum of Eq. 6 from the maps X^i: (H, W, D), and F_o of each level.

    `weights[i]` are the kernel and the bias of both gates, memory then reset, and gamma.
    """
    x = levels
    gates = [sigmoid(convolution(f, kernel, bias)) for f, (kernel, bias, _) in zip(x, weights)]
    m, r = zip(*(np.split(gate, 2, axis=-1) for gate in gates))
    outputs = []
    for i in range(len(x)):
        g = (1 - m[i]) * x[i]
        for j in range(len(x)):
            if j != i:
                g = g + weights[j][2] * m[j] * x[j]
        outputs.append(r[i] * np.tanh(g) + (1 - r[i]) * x[i])
    return sum(outputs), outputs


def cross_entropy(mask, probability):
    """Eq. 7 with the minus sign that it lacks."""
    return -np.mean(mask * np.log(probability) + (1 - mask) * np.log(1 - probability))


def lstm(i, j, f, o, c):
    """An LSTM's hidden state and cell from its gates before their sigmoids and the cell before."""
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(j)
    return sigmoid(o) * np.tanh(c), c


def resized(array, size, slack=0):
    """Bilinear, centres of cells aligned, values at the border repeated: `(H, W[, C])`.

    With `slack` every weight is larger by as much, also where it would be 0.
    """
    rows, columns = (
        taps(old, new, slack) for old, new in zip(np.shape(array)[:2], size, strict=True)
    )
    return np.einsum(
        "ah,bw,hw...->ab...", rows, columns, np.asarray(array, "float64"), optimize=True
    )


def taps(old, new, slack=0):
    """What each of `old` cells weighs in each of `new`: `(new, old)`."""
    if old == new:
        return np.eye(old)
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 + slack - np.abs(centres[:, None] - np.arange(old)))


def transposed_convolution(x, kernel, bias, stride):
    """'Same': every input adds its kernel (k, k, D, C) to the output, cut to `stride` times H, W."""
    height, width, _ = x.shape
    size = kernel.shape[0]
    out = np.zeros(((height - 1) * stride + size, (width - 1) * stride + size, kernel.shape[2]))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            out[top : top + size, left : left + size] += kernel @ x[row, column]
    cut = (size - stride) // 2
    return out[cut : cut + height * stride, cut : cut + width * stride] + bias
