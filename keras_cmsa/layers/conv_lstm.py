"""RRN's ConvLSTM, whose state each map of a sequence refines."""

import keras
from keras import ops

# Added to the variance in the layer normalisation. The smallest step of float32 at 1 is 1e-7.
EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="keras_cmsa")
class ConvLSTM(keras.layers.Layer):
    """A convolutional LSTM over a sequence of maps, with peepholes and layer normalisation.

    With x_t the t-th map, [ , ] concatenation, * a 1x1 convolution without bias, LN the layer
    normalisation (its own gain and bias per channel at each place) and sigma the sigmoid,

        1. (j, i, f, o) = [x_t, h_t-1] * W
        2. c' = sigma(LN(f + P_f c_t-1) + 1) c_t-1 + sigma(LN(i + P_i c_t-1)) tanh(LN(j))
        3. c_t = LN(c')
        4. h_t = sigma(LN(o + P_o c')) tanh(c_t)

    from c = h = 0. The peepholes P, one per channel and position as in the authors' code, multiply
    elementwise. LN takes its mean and variance over the height, width and channels of one example.

    Args:
        units: channels of the state. RRN: 500.

    Call arguments:
        maps: list of T maps, `(B, H, W, C)` each.

    Returns:
        h after the last map, `(B, H, W, units)`.

    Raises:
        ValueError: if the maps differ in shape, or their height or width is unknown.

    Source: Li et al., "Referring Image Segmentation via Recurrent Refinement Networks", CVPR 2018;
    the authors' code for the places of the normalisation and the peepholes.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, maps_shape):
        shapes = {tuple(shape[1:]) for shape in maps_shape}
        height, width, channels = maps_shape[0][1:]
        if len(shapes) != 1 or None in (height, width):
            raise ValueError(
                "ConvLSTM needs maps of one shape, whose height and width are known. "
                f"Received: shapes {[tuple(s) for s in maps_shape]}"
            )
        units = self.units
        self.kernel = self.add_weight(shape=(channels + units, 4 * units), name="kernel")
        for name in ("input_peephole", "forget_peephole", "output_peephole"):
            setattr(self, name, self.add_weight(shape=(height, width, units), name=name))
        # Rows: j, i, f, o and c.
        self.gain = self.add_weight(shape=(5, units), initializer="ones", name="gain")
        self.bias = self.add_weight(shape=(5, units), initializer="zeros", name="bias")

    def call(self, maps):
        hidden = ops.zeros((*ops.shape(maps[0])[:-1], self.units), maps[0].dtype)
        cell = hidden
        for x in maps:
            gates = ops.matmul(ops.concatenate([x, hidden], axis=-1), self.kernel)
            candidate, write, keep, show = ops.split(gates, 4, axis=-1)
            candidate = ops.tanh(self._normalize(0, candidate))
            write = ops.sigmoid(self._normalize(1, write + self.input_peephole * cell))
            keep = ops.sigmoid(self._normalize(2, keep + self.forget_peephole * cell) + 1)
            cell = keep * cell + write * candidate
            show = ops.sigmoid(self._normalize(3, show + self.output_peephole * cell))
            cell = self._normalize(4, cell)
            hidden = show * ops.tanh(cell)
        return hidden

    def _normalize(self, row, x):
        # Low precision has too few bits for a mean over a whole map.
        wide = ops.cast(x, "float32")
        mean = ops.mean(wide, axis=(1, 2, 3), keepdims=True)
        centred = wide - mean
        variance = ops.mean(ops.square(centred), axis=(1, 2, 3), keepdims=True)
        gain, bias = (ops.cast(w[row], "float32") for w in (self.gain, self.bias))
        return ops.cast(centred * ops.rsqrt(variance + EPSILON) * gain + bias, x.dtype)

    def compute_output_shape(self, maps_shape):
        return (*maps_shape[0][:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
