"""CMSA on UNC (RefCOCO).

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 58.32 val,
60.61 testA, 55.09 testB. From ImageNet weights, which this recipe starts from, it can be expected
to end lower; the run's config.json names its starting weights. Not run in full yet.
Cost: 100,000 steps of up to 8 expressions at 320 pixels, on a GPU. The small model: minutes on two CPU
cores.

    python recipes/train_unc.py --data-dir REFER_ROOT           paper size, for a GPU
    python recipes/train_unc.py --data-dir REFER_ROOT --small   small model, for two CPU cores
    python recipes/train_unc.py --small                         the same on RefShapes, minutes

`keras-cmsa train unc` is the same without a clone. The settings and their sources are in
keras_cmsa/training/settings.py; --help lists them.
"""

from keras_cmsa.training.recipes import main

if __name__ == "__main__":
    main("unc")
