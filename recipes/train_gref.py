"""CMSA on G-Ref (RefCOCOg, google's split), whose expressions are whole sentences.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 39.98 val. From
ImageNet weights, which this recipe starts from, it can be expected to end lower; not run in full
yet.

    python recipes/train_gref.py --data-dir REFER_ROOT                      paper size, for a GPU
    python recipes/train_gref.py --data-dir REFER_ROOT --split-owner umd    the split with a test
    python recipes/train_gref.py --data-dir RELEASE --dataset refexp        Google Refexp's own JSON
    python recipes/train_gref.py --small                                    small, on RefShapes

The settings are those of train_unc.py: the paper has one set for all four data sets. Google's split
has train and val only, and val is the paper's number, so the best round is picked on the split that
is reported. It also parts objects, not images: some images of val are in train (the recipe says how
many; --exclude-images-of refcocog/google/val removes them). UMD's split has neither fault.
"""

from functools import partial
from pathlib import Path

import cyclopts
from train_unc import main

recipe = partial(
    main, dataset="refcocog", split_owner="google", flavour="gref", run_dir=Path("runs/gref")
)

if __name__ == "__main__":
    cyclopts.run(recipe)
