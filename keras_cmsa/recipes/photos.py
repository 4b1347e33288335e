"""CMSA on photos of your own: a few hundred, with sentences and masks, on two CPU cores.

Ours, not the paper's: pretrained eyes that stay as they are and are asked once about each photo,
words whose vectors are known beforehand, and `cmsa_refined` over both. docs/results.md says what
each part is worth on 250 photos. Cost: minutes to compute the features, then 0.4 s of one core a
step of 12 sentences.

    keras-cmsa train photos --data-dir mine.csv --start-from photos      # from the preset of the wheel
    keras-cmsa train photos --data-dir mine.csv --word-vectors glove.6B.50d.txt    # anew
"""

NUMBERS = {
    # Data
    "run_dir": "runs/photos",
    "augment": True,  # with features: mirrored scenes with mirrored words
    "word_dropout": 0.1,
    # Image: 320 / 16 = 20, so maps of 20 x 20 = 400 positions that attend; the mask at 80 x 80
    "image_size": 320,
    "image_encoder": "EfficientNetV2B0",
    "freeze_backbone": True,
    "features": "features",
    # Words: three in four expressions of UNC have up to 5
    "max_words": 12,
    "word_dim": 96,
    # Model: 0.65 million weights beside eyes and words
    "system": "cmsa_refined",
    "attention_dim": 96,
    "fusion_dim": 96,
    # Pace: 600 x 4 x 3 = 7,200 expressions, about four passes over 250 photos with 7 each
    "steps": 600,
    "batch_size": 4,
    "sentences_per_image": 3,
    "steps_per_round": 150,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "end_learning_rate": 1e-5,
    "weight_decay": 1e-3,
    "dice_weight": 1.0,
}
