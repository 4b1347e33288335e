"""The reader of .mat files: equal to SciPy's on what SciPy writes, clear on all else."""

import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_cmsa.data.readers.mat import read_mat

SHAPE = (6, 9)


def saved(path, values, compressed=True, **others):
    scipy.io.savemat(path, {**others, "segimg_t": values}, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "f4", "f8", "?"])
def test_equals_scipy(tmp_path, kind, compressed):
    values = np.random.default_rng(0).integers(0, 2, SHAPE).astype(kind)
    others = {"text": "sky", "cell": np.array([1, "a"], object), "part": {"segimg_t": 1}}
    path = saved(tmp_path / "x.mat", values, compressed, **others)
    array = read_mat(path, "segimg_t", SHAPE)
    np.testing.assert_array_equal(array, scipy.io.loadmat(path)["segimg_t"])
    assert array.shape == SHAPE


def test_a_large_variable_before_it_is_passed_over(tmp_path):
    path = saved(tmp_path / "x.mat", np.eye(6, 9), map=np.zeros((500, 500)))
    np.testing.assert_array_equal(read_mat(path, "segimg_t", SHAPE), np.eye(6, 9))


@pytest.mark.parametrize(
    "values, has", [(np.ones((9, 6)), "'segimg_t' of 9 x 6"), (np.ones(SHAPE) * 1j, "6 x 9")]
)
def test_another_shape_or_complex_numbers_are_refused(tmp_path, values, has):
    path = saved(tmp_path / "x.mat", values)
    with pytest.raises(ValueError, match=f"no matrix 'segimg_t' of 6 x 9 numbers; it has: .*{has}"):
        read_mat(path, "segimg_t", SHAPE)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "x.mat"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))  # version 7.3 is HDF5
    with pytest.raises(
        ValueError, match=r"x\.mat is not a MATLAB 5 file \(saved with -v6 or -v7\)"
    ):
        read_mat(path, "segimg_t", SHAPE)
    path.write_bytes(bytes(100_000))
    with pytest.raises(ValueError, match="too large to hold one matrix"):
        read_mat(path, "segimg_t", SHAPE)
    with pytest.raises(FileNotFoundError):
        read_mat(tmp_path / "none.mat", "segimg_t", SHAPE)


def test_a_bomb_is_not_inflated(tmp_path):
    """Megabytes of zeros in a few kilobytes: refused in little memory."""
    path = saved(tmp_path / "x.mat", np.zeros(SHAPE))
    bomb = zlib.compress(bytes(4_000_000))
    element = (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb
    path.write_bytes(path.read_bytes()[:128] + element)
    tracemalloc.start()
    with pytest.raises(ValueError, match="it has: a larger one"):
        read_mat(path, "segimg_t", SHAPE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


@settings(deadline=20_000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_files_give_the_matrix_or_a_clear_error(tmp_path, data):
    path = tmp_path / "x.mat"
    values = np.random.default_rng(1).integers(0, 2, SHAPE).astype("int16")
    whole = saved(path, values, data.draw(st.booleans())).read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 6))):
        if damaged:
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        array = read_mat(path, "segimg_t", SHAPE)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert array.shape == SHAPE and array.dtype.kind in "iuf"
