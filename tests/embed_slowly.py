"""Embed images one batch at a time, noting each; `tests/test_embedding.py` kills it.

python embed_slowly.py images.npy out calls.log
"""

import sys
import time

import numpy as np

from cloister.neural.encoders import embed


class Slow:
    """Logs what it embeds, durably enough to survive a kill, and takes its time."""

    id, n_features, norm_bound, row_purity, batch_size = "slow", 4, 1000.0, "unchecked", 5

    def __init__(self, log, seconds=0.0):
        self.log, self.seconds = log, seconds

    def encode(self, batch):
        with open(self.log, "a") as file:
            file.write(f"{batch[0, 0, 0]}\n")
        time.sleep(self.seconds)
        return batch.reshape(len(batch), -1)[:, :4].astype(np.float32) / 7


if __name__ == "__main__":
    embed(Slow(sys.argv[3], 0.02), sys.argv[1], sys.argv[2])
