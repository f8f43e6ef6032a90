"""Print a digest of private fits whose questions follow from answers; run by test_questions.py."""

import hashlib

import numpy as np

from cloister import DPGaussianMixture, DPKMeans

rng = np.random.default_rng(0)
for n, d in ((4_000, 6), (600, 1_100)):
    X = rng.standard_normal((n, d)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    fixed = {"epsilon": 50.0, "random_state": 0, "unsafe_noise_seed": 1}
    for model in (DPKMeans(4, **fixed), DPGaussianMixture(3, **fixed)):
        model.fit(X)
        numbers = model.cluster_centers_ if isinstance(model, DPKMeans) else model.means_
        print(hashlib.sha256(numbers.tobytes()).hexdigest())
