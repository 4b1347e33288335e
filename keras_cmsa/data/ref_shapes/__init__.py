"""RefShapes: synthetic scenes with referring expressions that are unambiguous by construction.

    settings        layout.py        splits and sizes, and where the files lie
    a scene         scene.py         the things and their places: things.py, outlines.py
    its sentences   expressions.py   how many of each kind: finders.py finds them, meaning.py
                                     checks that they are unambiguous, wording.py puts them into
                                     words; generalised.py and statement.py find those with several
                                     targets and with none
    its pixels      render.py
    its refs        samples.py       with COCO's annotations
    the files       writer.py        in REFER's layout

By default there are 6,000 images to train on and 200 each in val, testA and testB: 16,462 refs and
27,889 sentences of 72 different words, phrases as in RefCOCO. With `targets="any"` there are 55,751
sentences of 92 words in 32,393 refs: 27,884 sentences refer to one thing, 13,958 to several and
13,909 to none.
"""

from keras_cmsa.data.ref_shapes.writer import write_ref_shapes

__all__ = ["write_ref_shapes"]
