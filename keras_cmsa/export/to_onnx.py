"""A network as ONNX: from tensors to logits, and from the pixels of a photo to masks."""

import contextlib
import gc

import numpy as np

from keras_cmsa.presets.files import ONNX, ONNX_PHOTO, ONNX_WEIGHTS
from keras_cmsa.utils.silence import silenced

PHOTO_AXES = {"image": "HW", "words": "K", "mask": "KHW"}


def write_network(network, path):
    """Writes an ONNX file, unseen, with its weights inside.

    Args:
        network: `keras.Model` without loops, from `image` and `words` to a dict.
        path: of the file.
    """
    import onnx
    from tf2onnx.handler import tf_op

    tf_op("Erfc").register_compat_handler(erfc, 9)
    with silenced(), collecting_often():
        network.export(str(path), format="onnx", verbose=False)
    model = onnx.load(path)
    name_axes(model)
    onnx.save(model, path)


def write_photo(graph, folder):
    """Writes `model.onnx` around the network; both then have their weights in `weights.bin`.

    It comes after `write_network`, whose export mends tf2onnx for NumPy 2.

    Args:
        graph: `PhotoGraph`.
        folder: `Path` with `network.onnx`.
    """
    import onnx
    import tensorflow as tf
    from onnx.compose import add_prefix, merge_graphs

    path = folder / ONNX
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=ONNX_WEIGHTS)
    if (weights := folder / ONNX_WEIGHTS).exists():  # which holds those of 1 KB and more
        weights.chmod(path.stat().st_mode)  # onnx leaves it to its owner alone
    network = onnx.load(path, load_external_data=False)
    longest = shape_of(network.graph.input, "words")[-1]
    before = as_onnx(
        graph.before,
        network,
        image=tf.TensorSpec((None, None, 3), tf.uint8),
        words=tf.TensorSpec((None, longest), tf.int32),
    )
    outputs = [x.name for x in network.graph.output if x.name in ("logits", "exists")]
    given = {
        "valid": tf.TensorSpec((None,), tf.bool),
        "sides": tf.TensorSpec((2,), tf.int32),
        **{
            name: tf.TensorSpec((1, None, *shape_of(network.graph.output, name)[2:]))
            for name in outputs
        },
    }
    after = as_onnx(
        lambda valid, sides, *rest: graph.after(dict(zip(outputs, rest)), valid, sides),
        network,
        **{f"given_{name}": spec for name, spec in given.items()},  # unlike those of outputs
    )
    # Each part has names of its own.
    graphs = (
        add_prefix(before, "before/", rename_inputs=False).graph,
        add_prefix(network, "network/").graph,
        add_prefix(after, "after/", rename_outputs=False).graph,
    )
    known = {f"before/{name}" for name in ("valid", "sides")}
    known |= {f"network/{name}" for name in outputs}
    first_two = merge_graphs(
        *graphs[:2],
        [("before/square", "network/image"), ("before/ids", "network/words")],
        outputs=sorted(known),
    )
    whole = merge_graphs(
        first_two, graphs[2], [(name, f"after/given_{name.split('/')[1]}") for name in known]
    )
    photo = onnx.helper.make_model(
        whole, opset_imports=network.opset_import, ir_version=network.ir_version
    )
    name_axes(photo, **dict.fromkeys((x.name for x in photo.graph.output), "K") | PHOTO_AXES)
    onnx.save(photo, folder / ONNX_PHOTO)


def as_onnx(function, like, **specs):
    """The ONNX model of a function of tensors, in the versions of the model `like`."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in specs.items()]
    (opset,) = (x.version for x in like.opset_import if not x.domain)
    with silenced():
        model, _ = tf2onnx.convert.from_function(tf.function(function), signature, opset=opset)
    model.ir_version = like.ir_version
    return model


def shape_of(tensors, name):
    """The shape of an input or output; a free axis is 0."""
    (tensor,) = (x for x in tensors if x.name == name)
    return tuple(dim.dim_value for dim in tensor.type.tensor_type.shape.dim)


def erfc(graph, node, **_):
    """Makes `Erfc`, which TensorFlow's exact GELU has and tf2onnx does not know, 1 - `Erf`."""
    kinds = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", node.input).output[0]
    one = graph.make_const(f"{node.name}/one", np.array(1, "float32")).output[0]
    graph.make_node("Sub", [one, erf], outputs=node.output, name=node.name, **kinds)


def name_axes(model, **axes):
    """Names the free axes of an ONNX model's inputs and outputs by letters; unless given, B and K."""
    for tensor in (*model.graph.input, *model.graph.output):
        for name, axis in zip(axes.get(tensor.name, "BK"), tensor.type.tensor_type.shape.dim):
            if not axis.dim_value:
                axis.dim_param = name


@contextlib.contextmanager
def collecting_often():
    """Finds garbage soon.

    tf2onnx copies its graph before each of its steps, weights and all, and a copy holds itself in
    cycles. They are few objects, so that Python looks for them late: VGG-16, half a gigabyte, took
    22 GB and more; so it takes 14.
    """
    before = gc.get_threshold()
    gc.freeze()  # what is here already need not be looked at each time
    gc.collect()
    gc.set_threshold(before[0], 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
