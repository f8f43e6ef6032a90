"""One of several processes that race through the same fit: python tests/fit_races.py LEDGER.

Prints a hash of the model, once its standard input is closed: the start of the race.
"""

import hashlib
import sys

import numpy as np

from cloister import DPKMeans
from cloister.privacy.ledger import Budget


def main(path: str) -> None:
    """Fit the rows of everybody under the name of everybody."""
    X = np.random.default_rng(1).normal(size=(1500, 8)) / 4
    model = DPKMeans(3, epsilon=0.8, n_rounds=12, budget=Budget(path, "rows"), fit_name="race")
    print("ready", flush=True)
    sys.stdin.read()
    model.fit(X)
    arrays = model.cluster_centers_, model.noisy_counts_
    print(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())


if __name__ == "__main__":
    main(sys.argv[1])
