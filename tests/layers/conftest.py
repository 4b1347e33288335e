"""What the tests of layers share: the precisions that Keras knows."""

import pytest

POLICIES = ("float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")


@pytest.fixture(params=POLICIES)
def policy(request):
    """The name of a dtype policy that the backend can follow."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch" and "float16" in request.param.replace("bfloat16", ""):
        pytest.skip("PyTorch has not every operation in float16 on a CPU")
    if backend == "jax" and request.param == "float64":
        pytest.skip("JAX computes in float64 only where all of a process does")
    return request.param
