"""Pretrained image towers as backbones: RGB in 0..255 to three maps of one side, and finer ones."""

from pathlib import Path

import keras
from keras import layers

from keras_cmsa.models.backbones import caffe_pixels, published_weights
from keras_cmsa.models.channels_last import channels_last
from keras_cmsa.utils.extras import library_fault, require

PYRAMID = (8, 16, 32)  # the strides of a pyramid's three maps
PRESET = (
    "a name of keras.applications, or the name or folder of a preset of KerasHub with its "
    "config.json, weights and preprocessing"
)
# ImageNet's mean and deviation of RGB in 0..1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISED = [1 / (255 * x) for x in DEVIATION], [-m / x for m, x in zip(MEAN, DEVIATION)]
FROM_MINUS_1_TO_1 = 1 / 127.5, -1.0
# What weights of `keras.applications` expect, by the module of their function: a factor and an
# offset, a function, or `None` for those that scale their input themselves.
SCALINGS = {
    "convnext": None,
    "densenet": NORMALISED,
    "efficientnet": None,
    "efficientnet_v2": None,
    "mobilenet": FROM_MINUS_1_TO_1,
    "mobilenet_v2": FROM_MINUS_1_TO_1,
    "mobilenet_v3": None,
    "resnet": caffe_pixels,
    "resnet_v2": FROM_MINUS_1_TO_1,
}


@channels_last()
def image_encoder(
    source, image_size, weights="imagenet", scaling=None, stride=16, finer=(), trainable=False
):
    """A pretrained image tower as the `backbone` of a system.

    Args:
        source: one of

            - a name of `keras.applications`: a ConvNeXt, DenseNet, EfficientNet, EfficientNetV2,
              MobileNet, MobileNetV2, MobileNetV3, ResNet or ResNetV2;
            - an image backbone of KerasHub, or the name or folder of its preset: a pyramid, such as
              ResNet, EfficientNet and its lite forms, MiT or CSPNet; or a plain transformer, such
              as DINOv2, DINOv3 or ViT;
            - a model of your own from images to one map, whose stages are then the pyramid; to a
              list of the maps of a pyramid; or to three maps of one side and any finer ones.
        image_size: side S of the square input in pixels.
        weights: `None`: random ones. `"imagenet"`: those of the name or preset. A name of
            `keras.applications` also takes the path of its weights file.
        scaling: `(factor, offset)`, a number or one per channel each: the weights expect
            `factor * RGB + offset`. `None`: as the name or the preset says; a model scales itself.
        stride: 8, 16 or 32: the three maps of a pyramid have the side S / stride. Those of a
            transformer have that of its grid of patches.
        finer: strides of further maps of a pyramid, such as `(8, 4)`. `None`: those of 8 and 4 that
            there are and that are finer than the three maps.
        trainable: whether training changes the tower.

    Returns:
        `keras.Model` named "backbone": `(B, S, S, 3)` RGB in 0..255 -> list of three maps
        `(B, H, H, C_i)`, the deepest last, then those of `finer`. The three are those of strides
        8, 16 and 32, averaged or resized bilinearly; or the patches after a third, two thirds and
        all of a transformer's blocks.

    Raises:
        ModuleNotFoundError: if KerasHub is needed and not installed.
        OSError: if the weights cannot be loaded.
        ValueError: if the source is of no such kind or does not fit `image_size`, or if it has
            `Lambda` layers, which no preset loads.
    """
    tower, own_scaling = tower_and_scaling(source, image_size, weights)
    check_tower(tower, image_size)
    image = keras.Input((image_size, image_size, 3), name="image")
    of_hub = hasattr(tower, "from_preset")
    features = TowerMaps(tower) if of_hub else keras.Model(tower.inputs[0], taps(tower))
    tower.trainable = features.trainable = trainable
    if not trainable:
        for dropout in (x for x in tower._flatten_layers() if isinstance(x, layers.Dropout)):
            dropout.rate = 0.0  # A frozen tower gives in training what it gives in use.
    maps = features(scaled(image, own_scaling if scaling is None else scaling))
    if len(maps[0].shape) == 3:
        maps = grids(maps, image_size // patch_size(tower), finer)
    elif len(maps) < 3 or len({x.shape[1] for x in maps[:3]}) > 1:
        maps = pyramid(maps, image_size, stride, finer)
    return keras.Model(image, maps, name="backbone")


@keras.saving.register_keras_serializable(package="keras_cmsa")
class TowerMaps(keras.layers.Layer):
    """What `taps` finds in a backbone of KerasHub, which a file then has by its own configuration.

    The layers of some, such as ViT and MiT, have none that Keras reads.

    Args:
        tower: backbone of KerasHub.

    Call arguments:
        images: `(B, S, S, 3)`, scaled as the tower expects.

    Returns:
        List of maps `(B, H, W, C)`, or of tokens `(B, T, C)`.
    """

    def __init__(self, tower, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.tower = tower  # so that its weights are those of the layer
        keep_constants_as_arrays(tower)
        # A method, since Keras would save the weights of a model once more.
        self.maps_of = keras.Model(tower.inputs[0], taps(tower)).__call__

    def call(self, images, training=None):
        # A frozen tower gives what it gives in use: without dropout.
        return self.maps_of(images, training=training if self.trainable else False)

    def get_config(self):
        return {**super().get_config(), "tower": keras.saving.serialize_keras_object(self.tower)}

    @classmethod
    def from_config(cls, config):
        require("keras_hub", "pretrained", "A model with a backbone of KerasHub")
        return cls(keras.saving.deserialize_keras_object(config.pop("tower")), **config)


def keep_constants_as_arrays(tower):
    """Makes NumPy arrays of the tensors that layers keep, for which an ONNX file would ask."""
    for layer in tower._flatten_layers():
        for name, value in [*vars(layer).items()]:
            if keras.ops.is_tensor(value) and not isinstance(value, keras.Variable):
                setattr(layer, name, keras.ops.convert_to_numpy(value))


def scaled(image, scaling):
    """RGB in 0..255 as weights expect it, see `SCALINGS`; in float32 under any dtype policy."""
    if scaling is None or callable(scaling):
        return scaling(image) if scaling else image
    return layers.Rescaling(*scaling, dtype="float32", name="scale")(image)


def tower_and_scaling(source, image_size, weights):
    """The model of a source, and the scaling of its input, as in `SCALINGS`."""
    if not isinstance(source, str | Path):
        return of_side(source, image_size), None
    shape = (image_size, image_size, 3)
    application = getattr(keras.applications, str(source), None)
    if application is not None:
        module = application.__module__.rsplit(".", 1)[-1]
        if module not in SCALINGS:
            raise ValueError(
                f"wanted a network of {', '.join(sorted(SCALINGS))} of keras.applications. "
                f"Received: source={source!r}"
            )
        tower = published_weights(
            application, weights, f"those of {source}", include_top=False, input_shape=shape
        )
        return tower, SCALINGS[module]
    hub = require("keras_hub", "pretrained", f"The image encoder {source!r}")
    with library_fault(f"wanted {PRESET}. Received: {str(source)!r}"):
        tower = hub.models.Backbone.from_preset(
            str(source), image_shape=shape, load_weights=weights is not None
        )
        converter = hub.layers.ImageConverter.from_preset(str(source))
    factor = 1.0 if converter.scale is None else converter.scale
    return tower, (factor, 0.0 if converter.offset is None else converter.offset)


def of_side(tower, image_size):
    """A model for images of any side as one for a side, whose maps have known sides too."""
    of_any = isinstance(tower, keras.Function) and None in tower.inputs[0].shape[1:3]
    if not of_any or hasattr(tower, "from_preset"):
        return tower
    image = keras.Input((image_size, image_size, 3))
    sized = keras.models.clone_model(tower, input_tensors=image)
    sized.set_weights(tower.get_weights())
    return sized


def taps(tower):
    """The tensors of a tower that may become maps: of stages `(B, H, W, C)`, blocks `(B, T, C)`."""
    stages = list(getattr(tower, "pyramid_outputs", {}).items())
    if stages and len(stages[0][1].shape) == 4:
        return [tensor for _, tensor in stages]
    if stages:  # DINOv2 and DINOv3
        blocks = [tower.layernorm(tensor) for name, tensor in stages if name != "stem"]
    elif encoder := next((x for x in tower.layers if hasattr(x, "encoder_layers")), None):  # ViT
        x, blocks = encoder.input, []
        for block in encoder.encoder_layers:
            x = block(x)
            blocks.append(encoder.layer_norm(x))
    else:
        return tower.outputs if len(tower.outputs) > 1 else narrow_ends(tower)
    return [blocks[-(-len(blocks) * third // 3) - 1] for third in (1, 2, 3)]


def narrow_ends(tower):
    """The last map of each side, of a model whose output is one map.

    It is a tensor that all that follows passes through. A convolution to more channels that begins
    the next block, at the old side, is not taken.
    """
    operations = tower.operations  # each after what it reads
    place = {id(operation): i for i, operation in enumerate(operations)}
    last_reader = list(range(len(operations)))
    for i, operation in enumerate(operations):
        for tensor in (x for node in operation._inbound_nodes for x in node.input_tensors):
            if (source := place.get(id(tensor._keras_history.operation))) is not None:
                last_reader[source] = max(last_reader[source], i)
    ends, reach = {}, -1
    for i, operation in enumerate(operations):
        shape = operation.output.shape
        if reach <= i and len(shape) == 4:
            ends.setdefault(shape[1], []).append(operation)
        reach = max(reach, last_reader[i])
    return [narrow_end(of_side).output for of_side in ends.values()]


def narrow_end(operations):
    """The last of the operations on maps of one side, before those on more channels."""
    width = operations[-1].output.shape[-1]
    widths = [operation.output.shape[-1] for operation in operations]
    first = max((i + 1 for i, w in enumerate(widths) if w != width), default=0)
    begins_block = first and widths[first - 1] < width
    if begins_block and isinstance(operations[first], layers.Conv2D):
        return operations[first - 1]
    return operations[-1]


def pyramid(maps, image_size, stride, finer):
    """The maps of strides 8, 16 and 32 at the side S / stride, then those of `finer`."""
    if stride not in PYRAMID:
        raise ValueError(f"stride must be one of {PYRAMID}. Received: stride={stride}")
    of_stride = {image_size / x.shape[1]: x for x in maps}
    if finer is None:
        finer = [x for x in (8, 4) if x in of_stride and x < stride]
    missing = sorted({*PYRAMID, *finer} - set(of_stride))
    if missing:
        raise ValueError(
            f"wanted maps of strides {PYRAMID} and {finer}; strides {missing} are missing. Received: "
            f"maps of sides {[x.shape[1] for x in maps]} of images of {image_size} pixels"
        )
    side = image_size // stride
    return [to_side(of_stride[x], side) for x in PYRAMID] + [of_stride[x] for x in finer]


def to_side(visual, side):
    """A map averaged or enlarged bilinearly to another side, which is a multiple or a part of its."""
    own = visual.shape[1]
    if own > side:
        return layers.AveragePooling2D(own // side)(visual)
    if own < side:
        return layers.UpSampling2D(side // own, interpolation="bilinear")(visual)
    return visual


def grids(blocks, side, finer):
    """The patches of tokens `(B, T, C)` as maps; the class and register tokens before them go."""
    if finer:
        raise ValueError(
            f"a plain transformer has one grid, so finer must be (). Received: finer={finer}"
        )
    patches = side**2
    return [layers.Reshape((side, side, x.shape[-1]))(x[:, -patches:]) for x in blocks]


def patch_size(tower):
    """The side of a transformer's patches in pixels."""
    size = tower.patch_size
    return size if isinstance(size, int) else size[0]


def check_tower(tower, image_size):
    """Raises a `ValueError` unless a model takes images of this side and can be saved."""
    if not isinstance(tower, keras.Function):
        raise ValueError(
            "wanted a name, a backbone of KerasHub or a functional keras.Model as an image encoder. "
            f"Received: {tower!r}"
        )
    height, width = tower.inputs[0].shape[1:3]
    if {height, width} - {None, image_size}:
        raise ValueError(
            f"wanted an image encoder that takes images of {image_size} x {image_size}. "
            f"Received: {tower.name!r}, which takes {height} x {width}"
        )
    patch = patch_size(tower) if hasattr(tower, "patch_size") else PYRAMID[-1]
    if image_size % patch:
        raise ValueError(
            f"image_size must be a multiple of {patch}, the largest stride or the patch of "
            f"{tower.name!r}. Received: image_size={image_size}"
        )
    lambdas = [x.name for x in tower._flatten_layers() if isinstance(x, layers.Lambda)]
    if lambdas:
        raise ValueError(
            "wanted an image encoder without Lambda layers, since a preset with one does not load. "
            f"Received: {tower.name!r} with {lambdas[:3]}"
        )
