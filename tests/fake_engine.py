"""What a release is tested with: engines without rows, a reservation that keeps a diary."""

from math import inf, prod

import numpy as np

from cloister._backend import Grid, SoftmaxRegression
from cloister.codes import CodeGrid
from cloister.engines import ExactTally
from cloister.privacy.release import Release

MU = 0.7


class FakeEngine:
    """Answers every question by consecutive multiples of `step`, and counts the questions."""

    def __init__(self, d, n_classes=1, step=0):
        self.grid = CodeGrid(d, 2.0)
        self.n_classes = n_classes
        self.asked = 0
        self.step = step

    def _answer(self, *shape):
        self.asked += 1
        return self.step * np.arange(prod(shape), dtype=np.int64).reshape(shape)

    def exact_tally(self, centres, clip):
        return ExactTally(self._answer(*centres.shape[:2]), self._answer(*centres.shape))

    def exact_moments(self, centres, clip, group, moment):
        d = self.grid.d
        size = {"full": d * (d + 1) // 2, "diagonal": d, "trace": 1}[moment]
        return self._answer(int(group.max()) + 1, size)

    def exact_bins(self, grid):
        return self._answer(self.n_classes, int(np.prod(grid.cells, dtype=np.int64)))

    def exact_gradient(self, model):
        return self._answer(*model.weights.shape)


class SilentEngine(FakeEngine):
    """Must not be asked."""

    def _answer(self, *shape):
        raise AssertionError("the rows were asked")


class DiaryReservation:
    """A ledger's reservation in memory, with the order of events."""

    def __init__(self):
        self.diary = []
        self.rounds = {}

    def round(self, key, draw):
        if key not in self.rounds:
            self.diary.append(f"draw {key}")
            payload = draw()
            self.diary.append(f"store {key}")
            self.rounds[key] = payload
        return self.rounds[key]


def releases_of(engine, **options):
    return Release(engine, **{"mu_limit": inf, **options})


def ask_tally(release, shape, name="tally", mu=MU, **options):
    return release.tally(name, np.zeros(shape, dtype=np.int16), mu, **options)


def ask_moments(release, groups, moment, name="moments", mu=MU, radius=0.5):
    centres = np.zeros((1, groups, release._engine.grid.d), dtype=np.int16)
    return release.moments(name, centres, np.arange(groups), mu, radius=radius, moment=moment)


def ask_histogram(release, cells, name="histogram", mu=MU):
    d = release._engine.grid.d
    one = np.ones(1, dtype=np.int64)
    grid = Grid(np.zeros((1, d), dtype=np.int16), 0 * one, one, cells * one)
    return release.histogram(name, grid, mu)


def softmax_of(engine, radius=0.5, residual_radius=0.25):
    d, classes = engine.grid.d, engine.n_classes
    return SoftmaxRegression.on_grid(
        engine.grid,
        np.zeros(d, dtype=np.int16),
        np.ones((classes, d)),
        np.zeros(classes),
        radius=radius,
        residual_radius=residual_radius,
    )


def ask_gradient(release, name="gradient", mu=MU, **radii):
    return release.gradient(name, softmax_of(release._engine, **radii), mu)
