"""The front page proves itself: its lines from `build_cmsa` to a mask run as they stand."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

README = Path(__file__).parents[1] / "README.md"


def test_the_lines_from_build_cmsa_to_a_mask(tmp_path, monkeypatch, seeded):
    """As printed, but for the ImageNet weights, which a machine without network has not."""
    from keras_cmsa import backbones

    code = re.search(
        r"<!-- tests/test_readme.py runs this -->\n```python\n(.*?)```",
        README.read_text(),
        re.DOTALL,
    )
    image = np.random.default_rng(0).integers(0, 255, (240, 333, 3)).astype("uint8")
    Image.fromarray(image).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    published = backbones.published_resnet101
    monkeypatch.setattr(backbones, "published_resnet101", lambda weights: published(None))
    names = {}
    exec(code[1], names)
    assert names["mask"].shape == (240, 333)
    assert names["mask"].dtype == bool
