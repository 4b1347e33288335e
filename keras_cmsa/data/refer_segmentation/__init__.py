"""The TFDS data set `refer_segmentation`, which gives all data sets one form.

`README.md` beside this file describes the examples, the sources and the counts.
"""

from keras_cmsa.data.refer_segmentation.builder import ReferSegmentation

__all__ = ["ReferSegmentation"]
