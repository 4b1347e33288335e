"""CMSA on ReferIt (SAIAPR TC-12), which also refers to sky, water and ground.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 63.80 test. From
ImageNet weights, which this recipe starts from, it can be expected to end lower. Not run in full
yet. Cost: that of unc.

    keras-cmsa train referit --data-dir RELEASE                        # for a GPU
    keras-cmsa train referit --data-dir RELEASE --train-on trainval    # as theirs
    keras-cmsa train referit --data-dir ROOT --dataset refclef --split-owner berkeley
    keras-cmsa train referit --small                                   # RefShapes

RELEASE has images/, mask/ and the referit_query_*.json files; recipes/README.md. The authors train
on trainval. By default this recipe trains on train and picks the best round on val; with trainval
the round is picked on expressions trained on, and the number of val says nothing, that of test
still does.
"""

from keras_cmsa.recipes import unc

# The paper has one set of numbers for its four data sets (Secs. 3.2 and 4.1).
NUMBERS = unc.NUMBERS | {
    "dataset": "referit",
    "run_dir": "runs/referit",
}
