"""Every system on the backbone that it was published with, in every form of a file."""

import c_library
import keras
import numpy as np
import psutil
import pytest
import tiny
import towers
from network_files import run_file, write_file

from keras_cmsa.export.gate import unknown_in
from keras_cmsa.export.network import Example
from keras_cmsa.models import backbones
from keras_cmsa.models.cmsa import with_all_outputs
from keras_cmsa.models.folding import fold_for_inference
from keras_cmsa.models.image_encoder import image_encoder
from keras_cmsa.models.systems import SYSTEMS, build_system
from keras_cmsa.models.word_encoder import word_encoder
from keras_cmsa.utils.silence import silenced

tf = pytest.importorskip("tensorflow")

SIZE, WORDS = 64, 2  # graphs grow with the words
SIZES = {"word_dim": 4, "attention_dim": 3, "fusion_dim": 5, "max_words": WORDS}
OTHERS = {"lstm_cnn": "vgg16", "dmn": "pyramid_resnet101"}
FORMS = {"savedmodel": "model", "onnx": "model.onnx", "litert": "model.tflite"}
GIGABYTES = {"savedmodel": 4, "onnx": 16, "litert": 8}


def systems_of(backbone):
    return [name for name in SYSTEMS if OTHERS.get(name, "dilated_resnet101") == backbone]


@pytest.fixture(scope="module", params=["dilated_resnet101", "pyramid_resnet101", "vgg16"])
def joint(request):
    """All systems of a backbone behind one of it, whose conversion is what takes minutes."""
    keras.utils.set_random_seed(0)
    backbone = getattr(backbones, request.param)(SIZE, weights=None)
    stir_norms(backbone)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    words = keras.Input((None, WORDS), dtype="int32", name="words")
    maps, outputs = backbone(image), {}
    for name in systems_of(request.param):
        found = head(name, [(SIZE // x.shape[1], x.shape[-1]) for x in backbone.outputs])
        outputs |= {f"{name}_{key}": x for key, x in found([*maps, words]).items()}
    return keras.Model({"image": image, "words": words}, outputs, name="joint")


def stir_norms(model):
    """Statistics and scales that folding has to reckon with."""
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.4, 0.6, w.shape) for w in layer.get_weights()])


class StandIn:
    """A backbone without a weight that remembers what it gave."""

    def __init__(self, maps):
        self.model = tiny.weightless_backbone(keras, SIZE, maps)
        self.input_shape = self.model.input_shape

    def __call__(self, image):
        self.maps = self.model(image)
        return self.maps


def head(name, maps):
    """A system from the maps of its backbone and the words to all its outputs."""
    stand_in = StandIn(maps)
    system = build_system(name, 10, image_size=SIZE, backbone=stand_in, **SIZES)
    inputs = [*stand_in.maps, system.input["words"]]
    return keras.Model(inputs, with_all_outputs(system).output, name=name)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_was_built_with_no_tensor_that_a_file_would_ask_for(name):
    """What `test_a_file_computes_what_its_system_does` finds in minutes, in a second."""
    maps = {"vgg16": [(32, 5)], "pyramid_resnet101": [(2**i, 3) for i in range(1, 6)]}
    model = head(name, maps.get(OTHERS.get(name), [(8, 5), (8, 6), (8, 7)]))
    assert captured(model) == []


def test_the_mean_that_published_backbones_subtract_is_no_such_tensor():
    image = keras.Input((8, 8, 3))
    assert captured(keras.Model(image, backbones.caffe_pixels(image))) == []


def captured(model):
    """Names of what the graph of a model takes beside its inputs and its weights."""
    specs = [tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in model.inputs]
    call = tf.function(lambda *x: model(x if len(x) > 1 else x[0], training=False))
    graph = call.get_concrete_function(*specs)
    return [x.name for x in graph.inputs[len(specs) :] if x.dtype != tf.resource]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_a_file_computes_what_each_attention_does(tmp_path, form):
    """On one convolution; the test below has the published backbones, test_portable.py the whole."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    words = keras.Input((None, WORDS), dtype="int32", name="words")
    found, outputs = keras.layers.Conv2D(4, 3, strides=16, padding="same")(image), {}
    for name in ("cmsa_w_word", "cmsa_w_pixel", "cmsa_w_pair", "cmsa_s"):
        answers = head(name, [(16, 4)] * 3)([found, found, found, words])
        outputs |= {f"{name}_{key}": x for key, x in answers.items()}
    model = keras.Model({"image": image, "words": words}, outputs, name="attentions")
    check_file(model, form, tmp_path)


@pytest.mark.table
@pytest.mark.parametrize("form", FORMS)
def test_a_file_computes_what_its_system_does(joint, tmp_path, form):
    if psutil.virtual_memory().available < GIGABYTES[form] * 1e9 and joint.count_params() > 1e8:
        pytest.skip(f"converting VGG-16's 138 million weights takes {GIGABYTES[form]} GB of memory")
    check_file(joint, form, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_file_computes_what_each_pretrained_part_does(hub, tmp_path, form):
    check_file(pretrained_parts(hub), form, tmp_path, len(towers.PIECES) - 4)


def pretrained_parts(hub):
    """A model whose outputs are the maps and the vectors of every kind of encoder."""
    keras.utils.set_random_seed(0)
    rng, outputs = np.random.default_rng(0), {}
    image = keras.Input((SIZE, SIZE, 3), name="image")
    words = keras.Input((None, WORDS), dtype="int32", name="words")
    makers = "tiny_efficientnet", "tiny_mit", "tiny_vit", "tiny_dino2", "tiny_dino3"
    parts = {name: towers.randomized(getattr(towers, name)(hub), rng) for name in makers}
    for name, tower in {**parts, "convnext": like_convnext()}.items():
        side = 56 if name == "tiny_dino2" else SIZE
        encoder = image_encoder(tower, side, scaling=(1 / 128, -127 / 128))
        encoder.name = name
        maps = encoder(keras.layers.Cropping2D((SIZE - side) // 2)(image))
        outputs |= {f"{name}_{i}": x for i, x in enumerate(maps)}
    tower = towers.randomized(towers.tiny_bert(hub), rng)
    outputs["tiny_bert"] = word_encoder(tower, towers.PIECES, max_words=WORDS)[0](words)
    return keras.Model({"image": image, "words": words}, outputs, name="parts")


def like_convnext():
    """What a ConvNeXt and an EfficientNetV2 of keras.applications have and no other tower."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 0.6, 0.7])(image)
    x = keras.layers.Conv2D(6, 8, strides=8, activation="gelu")(x)
    x = keras.layers.Conv2D(6, 3, padding="same", groups=6, bias_initializer="normal")(x)
    return keras.Model(image, [x, keras.activations.gelu(x, approximate=False), 2 * x])


def check_file(model, form, folder, words=10):
    """The file of a model, folded, gives what the model does."""
    pytest.importorskip({"onnx": "onnxruntime", "litert": "ai_edge_litert"}.get(form, "keras"))
    example = Example(model, words)
    # Else nothing would be compared: outputs are held to a share of their largest value, or of 1.
    answers = [x for name, x in example.outputs.items() if not name.endswith("_attention")]
    assert answers and all(np.std(x) > 0.01 for x in answers)
    folded, path = fold_for_inference(model, unroll=form != "savedmodel"), folder / FORMS[form]
    example.check(folded.predict_on_batch(example.inputs))
    if form == "savedmodel":
        with silenced():
            folded.export(path, verbose=False)
        assert not list(unknown_in(c_library.graph_of(path).graph_def))
        loaded = tf.saved_model.load(str(path))  # and with it the weights
        example.check({name: x.numpy() for name, x in loaded.serve(example.inputs).items()})
    else:
        write_file(folded, path)
        example.check(run_file(path, example.inputs))
