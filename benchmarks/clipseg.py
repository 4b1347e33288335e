"""Milliseconds of CLIPSeg, for `artefacts.py`, in an environment with PyTorch and transformers.

    python benchmarks/clipseg.py 15

The sizes are those of `CIDAS/clipseg-rd64-refined`, which are the defaults of its configuration; the
weights are random: https://huggingface.co/docs/transformers/model_doc/clipseg
"""

import statistics
import sys
import time

import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

SIDE, WORDS = 352, 10  # pixels, tokens of a sentence


def main(repeats):
    """Prints the median over `repeats` calls with an image and a sentence, as it computes by itself."""
    model = CLIPSegForImageSegmentation(CLIPSegConfig()).eval()
    inputs = {
        "pixel_values": torch.rand(1, 3, SIDE, SIDE),
        "input_ids": torch.randint(1, 1000, (1, WORDS)),
    }
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            model(**inputs, interpolate_pos_encoding=True)
            times.append(time.perf_counter() - start)
    print(1e3 * statistics.median(times[1:]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
