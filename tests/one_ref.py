"""A REFER root of one image, one ref and one sentence, to be spoilt."""

import copy
import json
import pickle

from PIL import Image

from keras_cmsa.data.readers.refer import read_refer

SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]
NAME = "COCO_train2014_000000000009.jpg"

REF = {
    "ref_id": 5,
    "ann_id": 70,
    "image_id": 9,
    "split": "train",
    "sent_ids": [31],
    "file_name": "COCO_train2014_000000000009_5.jpg",
    "category_id": 1,
    "sentences": [{"sent_id": 31, "raw": "Café!", "sent": "café", "tokens": ["café"]}],
}

INSTANCES = {
    "images": [{"id": 9, "file_name": NAME, "height": 8, "width": 12}],
    "annotations": [{"id": 70, "image_id": 9, "segmentation": [SQUARE]}],
}


class OneRef:
    """The root in a folder. `refs` and `instances` are what `read` writes before it reads."""

    def __init__(self, path):
        self.path = path
        self.refs = [copy.deepcopy(REF)]
        self.instances = copy.deepcopy(INSTANCES)
        self.image = path / "images/mscoco/images/train2014" / NAME
        self.image.parent.mkdir(parents=True)
        Image.new("RGB", (12, 8)).save(self.image)
        (path / "ref_shapes.json").write_text("{}")  # no published counts
        (path / "refcoco").mkdir()

    def write(self, refs=None, instances=None):
        """Writes both files; `refs` and `instances` are bytes to write instead."""
        content = pickle.dumps(self.refs, 2) if refs is None else refs
        (self.path / "refcoco/refs(unc).p").write_bytes(content)
        content = json.dumps(self.instances).encode() if instances is None else instances
        (self.path / "refcoco/instances.json").write_bytes(content)

    def read(self, **options):
        self.write()
        return read_refer(self.path, **options)
