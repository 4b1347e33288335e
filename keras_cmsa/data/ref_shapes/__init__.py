"""RefShapes: synthetic scenes with referring expressions that are unambiguous by construction.

    settings        layout.py        flavours, their splits and sizes, their places on disk
    a scene         scene.py         what is where: things.py, outlines.py, masks.py, regions.py
    its sentences   expressions.py   how many of which kind: finders.py looks for them,
                                     meaning.py and relations.py judge what they fit,
                                     wording.py puts them into words
    its pixels      render.py
    its records     samples.py
    all on disk     writer.py        in REFER's layout

By default `unc` has 2,600 images with about 7,700 refs and 13,000 sentences of 79 different words.
"""

from keras_cmsa.data.ref_shapes.writer import write_ref_shapes

__all__ = ["write_ref_shapes"]
