"""CMSA on G-Ref (RefCOCOg, Google's splits), whose expressions are whole sentences.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 39.98 val. From
ImageNet weights, which this recipe starts from, it can be expected to end lower. Not run in full
yet. Cost: that of unc.

    keras-cmsa train gref --data-dir REFER_ROOT                      # for a GPU
    keras-cmsa train gref --data-dir REFER_ROOT --split-owner umd    # has test
    keras-cmsa train gref --data-dir RELEASE --dataset refexp        # Google's
    keras-cmsa train gref --small                                    # RefShapes

Google's splits are train and val only, and val is the paper's number, so the best round is picked
on the split that is reported. They also divide objects, not images: some images of val are in train
(the recipe says how many; --exclude-images-of refcocog/google/val removes them). UMD's splits have
neither fault.
"""

from keras_cmsa.recipes import unc

# The paper has one set of numbers for its four data sets (Secs. 3.2 and 4.1).
NUMBERS = unc.NUMBERS | {
    "dataset": "refcocog",
    "split_owner": "google",
    "run_dir": "runs/gref",
}
