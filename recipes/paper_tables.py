"""The rows of the paper's tables, the system behind each, and the paper's numbers."""

# The paper's rows, in its order: number of the table -> row -> system.
TABLES = {
    1: {
        "LSTM-CNN": "lstm_cnn",
        "RMI": "rmi",
        "DMN": "dmn",
        "KWA": "kwa",
        "RRN": "rrn",
        "CMSA": "cmsa",
    },
    2: {
        "No attention": "cmsa_w_none",
        "Word attention": "cmsa_w_word",
        "Pixel attention": "cmsa_w_pixel",
        "Word-pixel pair attention": "cmsa_w_pair",
        "Cross-modal self-attention": "cmsa_w",
    },
    3: {
        "RMI-LSTM": "rmi",
        "RRN-CNN": "rrn_cnn",
        "CMSA-S": "cmsa_s",
        "CMSA-W": "cmsa_w",
        "CMSA+PPM": "cmsa_ppm",
        "CMSA+Deconv": "cmsa_deconv",
        "CMSA+ConvLSTM": "cmsa_convlstm",
        "CMSA+Gated": "cmsa_gated",
        "CMSA+GF": "cmsa",
    },
}

# The paper's overall IoU in % on UNC val, from COCO-trained DeepLab weights and with DenseCRF; it
# has none there for LSTM-CNN (48.03 on ReferIt test) and KWA (59.09 on ReferIt test).
PAPER_UNC_VAL = {
    1: {"RMI": 45.18, "DMN": 49.78, "RRN": 55.33, "CMSA": 58.32},
    2: {
        "No attention": 45.63,
        "Word attention": 47.01,
        "Pixel attention": 47.84,
        "Word-pixel pair attention": 47.57,
        "Cross-modal self-attention": 50.12,
    },
    3: {
        "RMI-LSTM": 45.18,
        "RRN-CNN": 46.95,
        "CMSA-S": 48.53,
        "CMSA-W": 50.12,
        "CMSA+PPM": 53.54,
        "CMSA+Deconv": 54.18,
        "CMSA+ConvLSTM": 56.56,
        "CMSA+Gated": 57.08,
        "CMSA+GF": 58.32,
    },
}
