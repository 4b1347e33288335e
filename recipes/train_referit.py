"""CMSA on ReferIt (SAIAPR TC-12), which also refers to sky, water and ground.

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 63.80 test. From
ImageNet weights, which this recipe starts from, it can be expected to end lower. Not run in full
yet.

    python recipes/train_referit.py --data-dir RELEASE                              for a GPU
    python recipes/train_referit.py --data-dir RELEASE --train-on trainval          as the authors
    python recipes/train_referit.py --data-dir REFER_ROOT --dataset refclef --split-owner berkeley
    python recipes/train_referit.py --small                                         on RefShapes

RELEASE has images/, mask/ and the referit_query_*.json files; recipes/README.md. The authors train
on trainval. By default this recipe trains on train and picks the best round on val; with trainval
the round is picked on expressions trained on, and the number of val says nothing, that of test
still does.
"""

from keras_cmsa.training.recipes import main

if __name__ == "__main__":
    main("referit")
