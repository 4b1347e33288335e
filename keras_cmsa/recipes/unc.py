"""CMSA on UNC (RefCOCO).

Paper (CVPR 2019, Table 1, COCO-trained DeepLab start, with DenseCRF): overall IoU 58.32 val,
60.61 testA, 55.09 testB. From ImageNet weights, which this recipe starts from, it can be expected
to end lower; the run's config.json names its starting weights. Not run in full yet.
Cost: 100,000 steps of up to 8 expressions at 320 pixels, on a GPU. The small model: minutes on two
CPU cores, 8,800 steps on data of your own.

    keras-cmsa train unc --data-dir REFER_ROOT            # for a GPU
    keras-cmsa train unc --data-dir REFER_ROOT --small    # for two CPU cores
    keras-cmsa train unc --small                          # on RefShapes
"""

NUMBERS = {
    # Data
    "dataset": "refcoco",
    "split_owner": "unc",
    "run_dir": "runs/unc",
    # Image: 320 / 8 = 40, so maps of 40 x 40 = 1,600 positions
    "image_size": 320,
    "resizing": "pad",  # the authors' code; the paper's text says stretch
    # Words: 20 x 1,600 = 32,000 pairs of a word and a position attend to each other
    "max_words": 20,
    "word_dim": 1000,
    # Model, Sec. 4.1
    "system": "cmsa",
    "backbone": "dilated_resnet101",
    "backbone_weights": "imagenet",  # the paper: DeepLab's, trained on COCO; docs/pretrained.md
    "attention_dim": 512,
    "fusion_dim": 500,
    # Pace: 100,000 x 2 x 4 = 800,000 expressions, as many as the authors' code takes one by one
    "steps": 100_000,
    "batch_size": 2,
    "sentences_per_image": 4,
    "steps_per_round": 2000,
    # Optimizer: Adam from 2.5e-4 to 1e-5 by (1 - step / steps)^0.9
    "optimizer": "adamw",
    "learning_rate": 2.5e-4,
    "end_learning_rate": 1e-5,
    "power": 0.9,
    "weight_decay": 5e-4,
}

# The small model, for two CPU cores: ours throughout. What is not here is the paper's.
SMALL = {
    # Image: 112 / 8 = 14, so maps of 14 x 14 = 196 positions
    "image_size": 112,
    "backbone": "small_resnet",
    "backbone_weights": "none",
    "word_dim": 64,
    "attention_dim": 64,
    "fusion_dim": 64,
    # At this size an image is little work beside its sentences, and a batch of more images teaches
    # more: docs/results.md compares. 8,800 x 8 = 70,400 expressions in four rounds
    "batch_size": 8,
    "sentences_per_image": 1,
    "steps": 8800,
    "steps_per_round": 2200,
    "learning_rate": 2e-3,
    "dice_weight": 1.0,  # random weights and little data: see MaskLoss
    "word_dropout": 0.1,  # so that the importance of words says something: docs/results.md
}

# On RefShapes the small backbone first learns the classes of the objects and then stays as it is.
SMALL_ON_REF_SHAPES = {
    # 1,500 x 8 = 12,000 images, two passes over the 6,000 of train
    "pretrain_steps": 1500,
    "pretrain_batch_size": 8,
    "pretrain_learning_rate": 8e-3,
    "freeze_backbone": True,
    # 2,800 x 8 = 22,400 expressions in four rounds
    "steps": 2800,
    "steps_per_round": 700,
    "optimizer": "muon",  # half the batches of AdamW for the same IoU: docs/results.md
    "learning_rate": 4e-3,
}
