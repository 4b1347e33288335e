"""RefShapes: synthetic scenes with referring expressions that are unambiguous by construction.

    settings        layout.py        splits and sizes, and where the files lie
    a scene         scene.py         the things and their places: things.py, outlines.py, masks.py
    its sentences   expressions.py   how many of each kind: finders.py finds them, meaning.py and
                                     relations.py check that they are unambiguous, wording.py puts
                                     them into words
    its pixels      render.py
    its refs        samples.py       with COCO's annotations
    the files       writer.py        in REFER's layout

By default there are 6,000 images to train on and 200 each in val, testA and testB: 16,462 refs and
27,889 sentences of 72 different words, phrases as in RefCOCO.
"""

from keras_cmsa.data.ref_shapes.writer import write_ref_shapes

__all__ = ["write_ref_shapes"]
