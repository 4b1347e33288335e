"""`convert_lite.py`: what a weight becomes, and wrong input in one line."""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("lite0.txt", None, "whose name ends in .keras. Received: lite0.txt"),
        ("lite0.keras", None, 'A PyTorch file needs torch: pip install "keras-cmsa[torch]"'),
        (
            "lite0.keras",
            pickle.UnpicklingError("bad"),
            "lite0.pth is not a PyTorch file of weights",
        ),
        (
            "lite0.keras",
            FileNotFoundError(2, "No such file", "lite0.pth"),
            "lite0.pth: No such file",
        ),
    ],
)
def test_wrong_input_is_one_line(page, tmp_path, capsys, monkeypatch, name, error, message):
    def load(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(load=load) if error else None)
    monkeypatch.chdir(tmp_path)
    assert page("convert_lite", name, pytorch_file="lite0.pth") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_weights_go_to_the_layers_in_their_order(recipes, seeded):
    import convert_lite
    from keras import layers

    tower = seeded.Sequential([
        layers.Input((8, 8, 3)),
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(3, use_bias=False),
        layers.BatchNormalization(),
    ])  # fmt: skip
    rng, weights = np.random.default_rng(0), {}
    for number, shape in enumerate([(4, 3, 3, 3), (4, 1, 3, 3)]):
        weights[f"{number}.weight"] = rng.normal(size=shape).astype("float32")
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"norm{number}.{part}"] = rng.normal(size=4).astype("float32")
    convert_lite.assign(tower, weights)
    first, norm, second, _ = tower.layers
    np.testing.assert_array_equal(first.kernel[1, 2, 0], weights["0.weight"][:, 0, 1, 2])
    np.testing.assert_array_equal(second.kernel[1, 2, :, 0], weights["1.weight"][:, 0, 1, 2])
    np.testing.assert_array_equal(norm.moving_variance, weights["norm0.running_var"])
    del weights["1.weight"]
    with pytest.raises(ValueError, match="with 2 convolutions. Received: one with 1"):
        convert_lite.assign(tower, weights)
