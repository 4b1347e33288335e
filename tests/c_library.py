"""What a library of TensorFlow can run, asked in a process without TensorFlow's Python.

    python c_library.py LIBRARY OPERATIONS KERNELS

Written are the protos of what the library knows. Tests call `operations_of`, which starts that process.
"""

import ctypes
import subprocess
import sys
from pathlib import Path

NAME = "libtensorflow_cc.so.2"  # in the folder of TensorFlow's package


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("free", ctypes.c_void_p)]


def write_known(library, operations, kernels):
    tf = ctypes.CDLL(library)
    tf.TF_NewStatus.restype = ctypes.c_void_p
    status = ctypes.c_void_p(tf.TF_NewStatus())
    for function, arguments, path in (
        (tf.TF_GetAllOpList, (), operations),
        (tf.TF_GetAllRegisteredKernels, (status,), kernels),
    ):
        function.restype = ctypes.POINTER(Buffer)
        buffer = function(*arguments).contents
        Path(path).write_bytes(ctypes.string_at(buffer.data, buffer.size))


def operations_of(library, folder):
    """What a library can run: dict from an operation's name to the names of its attributes.

    It has a kernel for each, but for `AccumulateNV2`, which it replaces by others. An operation whose
    name begins with an underscore is for the runtime alone.
    """
    from tensorflow.core.framework import kernel_def_pb2, op_def_pb2

    operations, kernels = folder / "operations", folder / "kernels"
    subprocess.run([sys.executable, __file__, library, operations, kernels], check=True)
    found = kernel_def_pb2.KernelList.FromString(kernels.read_bytes()).kernel
    runs = {kernel.op for kernel in found if not kernel.op.startswith("_")} | {"AccumulateNV2"}
    found = op_def_pb2.OpList.FromString(operations.read_bytes()).op
    return {op.name: [x.name for x in op.attr] for op in found if op.name in runs}


def graph_of(version):
    """The only graph of a SavedModel, with its signatures."""
    from tensorflow.core.protobuf import saved_model_pb2

    data = (version / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(data).meta_graphs[0]


if __name__ == "__main__":
    write_known(*sys.argv[1:])
