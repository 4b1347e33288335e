"""Checkpoints in TensorFlow 1's real format."""


def write_checkpoint(path, values, version=2):
    """Writes `{name: array}` as `tf.compat.v1.train.Saver` does.

    Args:
        path: what TensorFlow calls the checkpoint.
        values: pairs of a name and an array.
        version: of the format; 1 is a single file.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        zeros = v1.zeros_initializer()
        variables = [v1.get_variable(name, x.shape, x.dtype, zeros) for name, x in values]
        # Fed, not part of the graph, which may have 2 GB; at once, since each run has its price.
        starts = [variable.initializer for variable in variables]
        session.run(starts, {start.inputs[1]: x for start, (_, x) in zip(starts, values)})
        saver = v1.train.Saver(
            write_version=[v1.train.SaverDef.V1, v1.train.SaverDef.V2][version - 1]
        )
        saver.save(session, str(path), write_meta_graph=False, write_state=False)
    return path
