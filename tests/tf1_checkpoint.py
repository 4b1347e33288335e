"""Checkpoints in TensorFlow 1's real format."""


def write_checkpoint(path, values, version=2):
    """Writes `{name: array}` as `tf.compat.v1.train.Saver` does.

    Args:
        path: what TensorFlow calls the checkpoint.
        values: iterable of pairs of a name and an array.
        version: of the format; 1 is a single file.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in values:
            # Loaded, not part of the graph, which may have 2 GB.
            zeros = v1.zeros_initializer()
            v1.get_variable(name, value.shape, value.dtype, zeros).load(value, session)
        saver = v1.train.Saver(
            write_version=[v1.train.SaverDef.V1, v1.train.SaverDef.V2][version - 1]
        )
        saver.save(session, str(path), write_meta_graph=False, write_state=False)
    return path
