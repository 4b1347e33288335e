"""CMSA on UNC+ (RefCOCO+), whose expressions have no words of place.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 43.76 val,
47.60 testA, 37.89 testB. From ImageNet weights, which this recipe starts from, it can be expected
to end lower. Not run in full yet.

    python recipes/train_unc_plus.py --data-dir REFER_ROOT      paper size, for a GPU
    python recipes/train_unc_plus.py --small                    small model, on RefShapes

The root needs refcoco+/refs(unc).p, refcoco+/instances.json and COCO's train2014 images;
recipes/README.md.
"""

from keras_cmsa.training.recipes import main

if __name__ == "__main__":
    main("unc_plus")
