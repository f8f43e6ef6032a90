"""Rows on a device for cuda_cases.py."""

import numpy as np
import torch

from cloister import _backend
from cloister._backend import DeviceArray
from cloister.codes import CodeGrid

HAS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if HAS_GPU else "cpu"
SPREAD = 0.5  # norm of a row about its centre, which lies on the unit sphere
BLOCK = 100_000  # rows made, or streamed, at a time


class Problem:
    """Rows about k centres on the unit sphere, on the device, with their codes."""

    def __init__(self, n, d, k):
        self.n, self.d = n, d
        generator = np.random.default_rng(0)
        centres = generator.normal(size=(k, d))
        self.centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        self.grid = CodeGrid(d, 1.5)
        self.rows = DeviceArray.empty((n, d), np.float32, 0)
        self.codes = DeviceArray.empty((n, d), np.int16, 0)
        valid = DeviceArray.empty((n,), np.bool_, 0)
        for first in range(0, n, BLOCK):
            here = slice(first, min(first + BLOCK, n))
            self.rows[here].fill_from(self._some_rows(here))
        self.encode = lambda: _backend.encode(self.rows, self.grid.encode_clip, self.codes, valid)
        self.encode()

    def _some_rows(self, here):
        count, k = here.stop - here.start, len(self.centres)
        generator = torch.Generator(DEVICE).manual_seed(here.start)
        near = torch.from_numpy(self.centres).to(DEVICE, torch.float32)
        noise = torch.randn(count, self.d, generator=generator, device=DEVICE)
        owners = torch.randint(k, (count,), generator=generator, device=DEVICE)
        rows = near[owners] + noise * (SPREAD / self.d**0.5)
        return DeviceArray.from_foreign(rows) if rows.is_cuda else rows.numpy()

    def torch_rows(self):
        """The rows as torch sees them: the same memory on a GPU."""
        return torch.from_dlpack(self.rows) if HAS_GPU else torch.from_numpy(self.rows.numpy())

    def start(self, k):
        """Centres for k clusters, a little off those that made the rows."""
        generator = np.random.default_rng(1)
        chosen = self.centres[np.arange(k) % len(self.centres)]
        return chosen + generator.normal(size=chosen.shape) * (0.1 / self.d**0.5)
