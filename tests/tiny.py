"""A data set and a model of a few kilobytes, made anew by whoever asks."""

import contextlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from keras_cmsa.data.record import Record
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary

SIZE = 16  # the network's input
WORDS = 5  # the longest expression of the model
SENTENCES = ["red box on the left", "Blue box!", "the green ZEBRA right", "box"]
COLOURS = {"red": (220, 40, 30), "green": (30, 200, 60), "blue": (40, 70, 230)}


@contextlib.contextmanager
def dtype_policy(keras, policy):
    """Keras' policy for what is built within."""
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def runs(mask):
    """COCO's run lengths, down the columns, of a mask `(H, W)`."""
    flat = np.concatenate([[0], np.asarray(mask, "uint8").T.ravel()])
    starts = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[1], starts, [flat.size]]))
    return {"size": list(np.shape(mask)), "counts": counts.tolist()}


def box(height, width, top, left, bottom, right):
    """A filled rectangle: `(height, width)` uint8."""
    mask = np.zeros((height, width), "uint8")
    mask[top:bottom, left:right] = 1
    return mask


def record(path, mask, expression="it", number=0, kind=""):
    height, width = mask.shape
    return Record(
        Path(path), number, number, number, expression, expression, "val", height, width,
        runs(mask), kind,
    )  # fmt: skip


def scene(rng):
    """An image with a coloured box on grey noise, its mask, and what it is called."""
    height, width = (int(x) for x in rng.integers(14, 27, 2))
    pixels = rng.integers(90, 160, (height, width, 3)).astype("uint8")
    colour = list(COLOURS)[rng.integers(3)]
    side, left = (("left", 1), ("right", width // 2))[rng.integers(2)]
    mask = box(height, width, 3, left, height - 2, left + width // 2 - 1)
    pixels[mask > 0] = COLOURS[colour]
    return pixels, mask, f"{colour} box on the {side}"


def records(folder, count, seed=0):
    """`count` scenes as files in a folder and their records."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        pixels, mask, expression = scene(rng)
        path = Path(folder) / f"{seed}_{number}.png"
        Image.fromarray(pixels).save(path)
        made.append(record(path, mask, expression, number, kind=expression.split()[-1]))
    return made


def noise_records(folder, count):
    """The records of `records` with noise for images, of which `finder` finds some."""
    rng, made = np.random.default_rng(2), []
    for number, each in enumerate(records(folder, count)):
        path = Path(folder) / f"noise_{number}.png"
        pixels = rng.integers(0, 256, (each.height, each.width, 3)).astype("uint8")
        Image.fromarray(pixels).save(path)
        made.append(replace(each, image_path=path))
    return made


def assert_same_batches(ours, theirs):
    """Two lists of `(inputs, masks, weights)`."""
    assert len(ours) == len(theirs)
    for (inputs, masks, weights), (other_inputs, other_masks, other_weights) in zip(ours, theirs):
        np.testing.assert_array_equal(inputs["image"], other_inputs["image"])
        np.testing.assert_array_equal(inputs["words"], other_inputs["words"])
        np.testing.assert_array_equal(masks, other_masks)
        np.testing.assert_array_equal(weights, other_weights)


def several_of_each(records, counts):
    """Further records of the same images, in an order that mixes the images.

    Image i gets `counts[i]` expressions, each with its own number of copies of the first's words.
    """
    made = [
        replace(r, expression=" ".join([r.expression.split()[0]] * (k + 1)), sentence_id=10 * i + k)
        for i, (r, count) in enumerate(zip(records, counts, strict=True))
        for k in range(count)
    ]
    return made[::2] + made[1::2]


def refer_root(root, counts, seed=0):
    """Writes REFER's layout with `counts[split]` scenes per split: a ref and a sentence each."""
    rng = np.random.default_rng(seed)
    images, annotations, refs = [], [], []
    folder = root / "images/mscoco/images/train2014"
    folder.mkdir(parents=True)
    for split in (split for split, count in counts.items() for _ in range(count)):
        pixels, mask, expression = scene(rng)
        number = len(refs) + 1
        name = f"COCO_train2014_{number:012d}.jpg"
        Image.fromarray(pixels).save(folder / name, quality=95)
        height, width = mask.shape
        images.append({"id": number, "height": height, "width": width, "file_name": name})
        colour = 1 + list(COLOURS).index(expression.split()[0])
        of = {"id": number, "image_id": number, "category_id": colour}
        annotations.append({**of, "segmentation": runs(mask)})
        sentence = {"sent_id": number, "raw": expression.capitalize(), "sent": expression}
        ids = {"ref_id": number, "ann_id": number, "image_id": number}
        refs.append({**ids, "split": split, "sentences": [sentence]})
    (root / "refcoco").mkdir()
    (root / "refcoco/instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations})
    )
    (root / "refcoco/refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return root


def vocabulary():
    return Vocabulary([*COLOURS, "box", "on", "the", "left", "right"], max_words=WORDS)


def preprocessor(resizing="pad", size=SIZE):
    """What stands between a scene and `model()`."""
    return Preprocessor(vocabulary(), size, resizing)


def backbone():
    """Three maps of different widths at an eighth of the side, no position of which is 0."""
    import keras
    from keras import layers

    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32")(image)
    x = layers.Conv2D(4, 8, strides=8, use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(momentum=0.9, name="stem_norm")(x)
    maps = [layers.Dense(c, "tanh", name=f"conv{i}") for i, c in ((3, 5), (4, 6), (5, 7))]
    return keras.Model(image, [dense(x) for dense in maps], name="backbone")


def model(words=None, **options):
    """A CMSA network with levels of different widths; Keras' seed decides its weights."""
    from keras_cmsa.models.cmsa import build_cmsa

    sizes = {"word_dim": 5, "attention_dim": 4, "fusion_dim": 3, "max_words": WORDS}
    return build_cmsa(words or len(vocabulary()), SIZE, backbone(), **{**sizes, **options})


def existence(threshold):
    """What the `config.json` of a model has that says whether anything fits."""
    counts = {"absent": 1, "present": 1}
    return {"existence": {"threshold": threshold, "sentences": counts, "curve": []}}


def to_numpy(tensor):
    """A tensor or variable of any backend as an array, cut off from its gradient."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def weights_of(layer):
    """Weights in float64 by their path below the layer."""
    return {w.path.split("/", 1)[-1]: to_numpy(w.value).astype("float64") for w in layer.weights}


def normal(rng, *shape):
    """Random numbers of a layer's input: float32."""
    return rng.normal(size=shape).astype("float32")


def assert_near(value, wanted, tolerance=1e-5):
    """Equal up to that share of the largest value wanted, or of 1."""
    value = to_numpy(value)
    assert value.shape == np.shape(wanted)
    assert np.abs(value - wanted).max() <= tolerance * max(1, np.abs(wanted).max())


def gradients(function, arrays):
    """Gradients of `sum(function(*arrays))` as arrays, on whichever backend runs.

    The function gets tensors that have a gradient: it works on them by `keras.ops` alone.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = keras.ops.sum(function(*tensors))
        return [g.numpy() for g in tape.gradient(total, tensors)]
    if backend == "jax":
        import jax

        every = tuple(range(len(arrays)))
        gradient = jax.grad(lambda *a: keras.ops.sum(function(*a)), every)
        return [np.asarray(g) for g in gradient(*arrays)]
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    keras.ops.sum(function(*tensors)).backward()
    return [t.grad.numpy() for t in tensors]


def assert_gradients(found, function, arrays, rng, tolerance=1e-4):
    """Gradients of `function(*arrays)`, a number, by central differences in float64.

    Each array has three random directions; the tolerance is of the gradient's length.
    """
    exact = [x.astype("float64") for x in arrays]
    for which, gradient in enumerate(found):
        length = max(np.linalg.norm(gradient), 0.1)  # some are 0
        for way in rng.normal(size=(3, *gradient.shape)):
            way /= np.linalg.norm(way)
            up, down = (
                function(*exact[:which], exact[which] + step * way, *exact[which + 1 :])
                for step in (1e-6, -1e-6)
            )
            assert abs((gradient * way).sum() - (up - down) / 2e-6) < tolerance * length, which


def shaken(model, rng, scale=0.2):
    """Every weight moved, so that nothing is at a start that hides it."""
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(scale=scale, size=weight.shape))
    return model


def weightless_backbone(keras, image_size, maps):
    """Maps of the shapes of a real backbone, without a weight."""
    image = keras.Input((image_size, image_size, 3))
    pooled = [keras.layers.AveragePooling2D(stride)(image) for stride, _ in maps]
    return keras.Model(
        image,
        [
            keras.layers.Concatenate()([x] * (channels // 3 + 1))[..., :channels]
            for x, (_, channels) in zip(pooled, maps)
        ],
    )


def finder(preprocessor, **options):
    """A model with weights away from their start, which finds about half of an image of noise."""
    rng = np.random.default_rng(1)
    made = shaken(model(len(preprocessor.vocabulary), **options), rng, scale=0.3)
    noise = rng.integers(0, 256, (SIZE, SIZE, 3))
    logits = made(preprocessor([noise], [SENTENCES[0]]), training=False)
    logits = logits["logits"] if isinstance(logits, dict) else logits
    made.get_layer("score").bias.assign_sub([np.median(to_numpy(logits))])
    return made
