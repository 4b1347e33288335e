"""CMSA on UNC+ (RefCOCO+), whose expressions have no words of place.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 43.76 val,
47.60 testA, 37.89 testB. From ImageNet weights, which this recipe starts from, it can be expected
to end lower. Not run in full yet. Cost: that of unc.

    keras-cmsa train unc_plus --data-dir REFER_ROOT    # for a GPU
    keras-cmsa train unc_plus --small                  # on RefShapes

The root needs refcoco+/refs(unc).p, refcoco+/instances.json and COCO's train2014 images;
recipes/README.md.
"""

from keras_cmsa.recipes import unc

# The paper has one set of numbers for its four data sets (Secs. 3.2 and 4.1).
NUMBERS = unc.NUMBERS | {
    "dataset": "refcoco+",
    "run_dir": "runs/unc_plus",
}
