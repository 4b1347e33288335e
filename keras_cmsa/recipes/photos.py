"""CMSA on photos of your own: a few hundred, with sentences and masks, on two CPU cores.

Ours, not the paper's: eyes with ImageNet's weights, which stay as they are and are asked once about
each photo, and `cmsa_refined` over them. docs/results.md, "Photos", says what each part is worth on
250 photos. Cost: about ten minutes of a core, and the features once; docs/own_data.md.

    keras-cmsa train photos --data-dir mine.csv
    keras-cmsa train photos --data-dir mine.csv --start-from cmsa_photos    # its words too
"""

NUMBERS = {
    # Data
    "run_dir": "runs/photos",
    "augment": True,  # with features: mirrored scenes with mirrored words
    "word_dropout": 0.1,
    # Image: 320 / 16 = 20, so maps of 20 x 20 = 400 positions that attend; the mask at 80 x 80
    "image_size": 320,
    "image_encoder": "cmsa_photos",  # EfficientNet-Lite0, 3.0 million weights, from ImageNet
    "freeze_backbone": True,
    "features": "features",
    # Words: longer expressions are cut
    "max_words": 12,
    "word_dim": 96,
    # Model: 0.62 million weights beside eyes and words
    "system": "cmsa_refined",
    "attention_dim": 96,
    "fusion_dim": 96,
    "map_dropout": 0.2,
    # Pace: 450 x 8 x 3 = 10,800 expressions, about four passes over 250 photos with 11 each
    "steps": 450,
    "batch_size": 8,
    "sentences_per_image": 3,
    "steps_per_round": 150,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "end_learning_rate": 1e-5,
    "weight_decay": 1e-3,
    "dice_weight": 1.0,
    # With --existence: few photos teach it only by many negatives, and at a price; docs/none_and_many.md
    "negatives": 3,
    "existence_weight": 1.0,
}
