"""Data sets as shards, written and compared; other processes import this as well."""

import json
import pickle
import warnings

import numpy as np
import tiny

from keras_cmsa.data.readers.refer import read_refer

COUNTS = {"train": 5, "val": 2, "testA": 1, "testB": 1}  # images of a split


def write_root(folder):
    """A REFER root: an image per ref, and one image with a second ref of two sentences."""
    root = tiny.refer_root(folder, COUNTS)
    path = root / "refcoco/refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    sentences = [{"sent_id": n, "raw": f"Nº {n}", "sent": f"nº {n}"} for n in (901, 902)]
    refs.append({**refs[0], "ref_id": 900, "ann_id": 900, "sentences": sentences})
    path.write_bytes(pickle.dumps(refs, 2))
    path = root / "refcoco/instances.json"
    instances = json.loads(path.read_text())
    outline = {
        "id": 900,
        "image_id": refs[0]["image_id"],
        "segmentation": [[1, 1, 6, 1, 6, 7, 1, 7]],
    }
    instances["annotations"].append(outline)
    path.write_text(json.dumps(instances))
    return root


def prepared(records, output, config="unc", **options):
    from keras_cmsa.data.refer_segmentation import config_of
    from keras_cmsa.data.shards.prepare import prepare

    return prepare(records, config_of(output, config), output, **options)


def same(found, expected):
    """Whether two readers give the same records, whatever their order: pixels and all."""
    assert list(found) and set(found) == set(expected)
    for split in expected:
        assert len(found[split]) == len(expected[split])
        by_sentence = {record.sentence_id: record for record in found[split]}
        for wanted in expected[split]:
            record = by_sentence[wanted.sentence_id]
            fields = ("image_id", "ref_id", "raw", "expression", "split", "height", "width", "kind")
            for name in fields:
                assert getattr(record, name) == getattr(wanted, name), name
            assert record.image_path.name == wanted.image_path.name
            np.testing.assert_array_equal(record.mask(), wanted.mask())
            np.testing.assert_array_equal(record.image(), wanted.image())


def prepare_in_process(root, output):
    warnings.simplefilter("ignore")
    prepared(read_refer(root), output)
