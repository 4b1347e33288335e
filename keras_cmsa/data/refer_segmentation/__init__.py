"""`refer_segmentation` for TensorFlow Datasets: every data set in one form.

`README.md` beside this file is its page: what an example holds, where the data comes from, counts.
"""

from keras_cmsa.data.refer_segmentation.builder import CONFIGS, ReferSegmentation, config_of

__all__ = ["CONFIGS", "ReferSegmentation", "config_of"]
