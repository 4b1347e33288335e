"""CMSA on UNC+ (RefCOCO+), whose expressions have no words of place.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 43.76 val,
47.60 testA, 37.89 testB. From ImageNet weights, which this recipe starts from, it can be expected
to end lower; not run in full yet.

    python recipes/train_unc_plus.py --data-dir REFER_ROOT      paper size, for a GPU
    python recipes/train_unc_plus.py --small                    small model, on RefShapes

The settings are those of train_unc.py: the paper has one set for all four data sets. The root needs
refcoco+/refs(unc).p, refcoco+/instances.json and COCO's train2014 images; recipes/README.md.
"""

from functools import partial
from pathlib import Path

import cyclopts
from train_unc import main

recipe = partial(main, dataset="refcoco+", flavour="unc+", run_dir=Path("runs/unc_plus"))

if __name__ == "__main__":
    cyclopts.run(recipe)
