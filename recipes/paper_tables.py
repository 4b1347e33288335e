"""The rows of the paper's tables, the system behind each, and the paper's numbers."""

# The paper's rows, in its order: number of the table -> row -> system, and the paper's overall IoU in %
# on UNC val, from COCO-trained DeepLab weights and with DenseCRF. It has none there for LSTM-CNN (48.03
# on ReferIt test) and KWA (59.09 on ReferIt test).
ROWS = {
    1: {
        "LSTM-CNN": ("lstm_cnn", None),
        "RMI": ("rmi", 45.18),
        "DMN": ("dmn", 49.78),
        "KWA": ("kwa", None),
        "RRN": ("rrn", 55.33),
        "CMSA": ("cmsa", 58.32),
    },
    2: {
        "No attention": ("cmsa_w_none", 45.63),
        "Word attention": ("cmsa_w_word", 47.01),
        "Pixel attention": ("cmsa_w_pixel", 47.84),
        "Word-pixel pair attention": ("cmsa_w_pair", 47.57),
        "Cross-modal self-attention": ("cmsa_w", 50.12),
    },
    3: {
        "RMI-LSTM": ("rmi", 45.18),
        "RRN-CNN": ("rrn_cnn", 46.95),
        "CMSA-S": ("cmsa_s", 48.53),
        "CMSA-W": ("cmsa_w", 50.12),
        "CMSA+PPM": ("cmsa_ppm", 53.54),
        "CMSA+Deconv": ("cmsa_deconv", 54.18),
        "CMSA+ConvLSTM": ("cmsa_convlstm", 56.56),
        "CMSA+Gated": ("cmsa_gated", 57.08),
        "CMSA+GF": ("cmsa", 58.32),
    },
}
TABLES = {n: {row: system for row, (system, _) in rows.items()} for n, rows in ROWS.items()}
PAPER_UNC_VAL = {n: {row: iou for row, (_, iou) in rows.items() if iou} for n, rows in ROWS.items()}
