"""CMSA on G-Ref (RefCOCOg, Google's splits), whose expressions are whole sentences.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 39.98 val. From
ImageNet weights, which this recipe starts from, it can be expected to end lower. Not run in full
yet.

    python recipes/train_gref.py --data-dir REFER_ROOT                      paper size, for a GPU
    python recipes/train_gref.py --data-dir REFER_ROOT --split-owner umd    the splits with a test
    python recipes/train_gref.py --data-dir RELEASE --dataset refexp        Google Refexp's own JSON
    python recipes/train_gref.py --small                                    small, on RefShapes

Google's splits are train and val only, and val is the paper's number, so the best round is picked
on the split that is reported. They also divide objects, not images: some images of val are in train
(the recipe says how many; --exclude-images-of refcocog/google/val removes them). UMD's splits have
neither fault.
"""

from keras_cmsa.training.recipes import main

if __name__ == "__main__":
    main("gref")
