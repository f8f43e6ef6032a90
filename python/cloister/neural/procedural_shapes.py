"""Families of shapes, many at a time: how far each covers each pixel of a plane.

Lengths are in units of the shorter side; (0, 0) is the middle of the image.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Generator = np.random.Generator
CURVE_POINTS = 9
GARMENT_HEIGHTS = 6


class Plane:
    """The pixels' places."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        shorter = min(height, width)
        self.pixel = 1 / shorter
        self.y = ((np.arange(height) + 0.5 - height / 2) / shorter)[None, :, None]
        self.x = ((np.arange(width) + 0.5 - width / 2) / shorter)[None, None, :]

    def cover(self, distance: Field) -> Field:
        """Return 1 inside (negative distance), 0 outside, and a ramp of one pixel between."""
        return np.asarray(np.clip(0.5 - distance / self.pixel, 0, 1))

    def turned(self, n: int, generator: Generator) -> tuple[Field, Field]:
        """Return each pixel's x and y from a random centre, along random axes."""
        angle = _each(generator.uniform(0, 2 * np.pi, n))
        across, down = (self.x - _each(generator.uniform(-0.2, 0.2, n)),
                        self.y - _each(generator.uniform(-0.2, 0.2, n)))  # fmt: skip
        cos, sin = np.cos(angle), np.sin(angle)
        return across * cos + down * sin, down * cos - across * sin


def _each(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, None, None]


def _to_segment(plane: Plane, start: Field, end: Field) -> Field:
    """Return squared distances to n line segments; ends of shape (n, 2) as (x, y)."""
    along = end - start
    length = np.maximum(np.square(along).sum(axis=1), 1e-12)
    x, y = plane.x - _each(start[:, 0]), plane.y - _each(start[:, 1])
    share = np.clip((x * _each(along[:, 0]) + y * _each(along[:, 1])) / _each(length), 0, 1)
    across, down = x - share * _each(along[:, 0]), y - share * _each(along[:, 1])
    return np.asarray(across * across + down * down)


def strokes(plane: Plane, n: int, generator: Generator) -> Field:
    """One or two pen strokes: quadratic Bezier curves of round pens, as in handwriting."""
    pen = _each(generator.uniform(0.025, 0.07, n))
    nearest = np.full((n, plane.height, plane.width), np.inf)
    t = np.linspace(0, 1, CURVE_POINTS)[:, None, None]
    for stroke in range(2):
        a, b, c = generator.uniform(-0.38, 0.38, (3, n, 2))
        b = b * 1.6  # bends
        points = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        present = _each((generator.random(n) < 0.7) | (stroke == 0))
        for start, end in pairwise(points):
            distance = np.where(present, _to_segment(plane, start, end), np.inf)
            nearest = np.minimum(nearest, distance)
    return plane.cover(np.sqrt(nearest) - pen)


def polygons(plane: Plane, n: int, generator: Generator) -> Field:
    """Convex polygons of 3 to 7 sides: intersections of half planes."""
    x, y = plane.turned(n, generator)
    sides = generator.integers(3, 8, n)
    size = _each(generator.uniform(0.12, 0.38, n))
    distance = np.full((n, plane.height, plane.width), -np.inf)
    for side in range(7):
        angle = _each(2 * np.pi * (side + generator.uniform(-0.2, 0.2, n)) / sides)
        edge = x * np.cos(angle) + y * np.sin(angle) - size
        distance = np.where(_each(sides) > side, np.maximum(distance, edge), distance)
    return plane.cover(distance)


def ellipses(plane: Plane, n: int, generator: Generator) -> Field:
    """Ellipses, filled or as rings."""
    x, y = plane.turned(n, generator)
    wide, high = (_each(generator.uniform(0.1, 0.42, n)) for _ in range(2))
    radius = np.hypot(x / wide, y / high)
    distance = (radius - 1) * np.minimum(wide, high)
    ring = np.abs(distance) - _each(generator.uniform(0.025, 0.07, n))
    return plane.cover(np.where(_each(generator.random(n) < 0.5), ring, distance))


def blobs(plane: Plane, n: int, generator: Generator) -> Field:
    """Where a smooth random field is high, near the middle."""
    x, y = plane.turned(n, generator)
    field = 0.7 - 3 * np.hypot(x, y)
    return plane.cover(-0.15 * (field + 0.5 * textures(plane, n, generator, 1.0, 4.0)))


def garments(plane: Plane, n: int, generator: Generator) -> Field:
    """Silhouettes symmetric to an upright axis: bodies of random width, sleeves, legs, soles."""
    top, bottom = -generator.uniform(0.25, 0.46, n), generator.uniform(0.25, 0.46, n)
    down = np.clip((plane.y - _each(top)) / _each(bottom - top), 0, 1) * (GARMENT_HEIGHTS - 1)
    widths = np.cumsum(generator.normal(0, 0.05, (n, GARMENT_HEIGHTS)), axis=1)
    widths = np.clip(widths + generator.uniform(0.06, 0.3, (n, 1)), 0.03, 0.45)
    place = np.clip(down[..., 0].astype(np.intp), 0, GARMENT_HEIGHTS - 2)
    share = down[..., 0] - place
    rows = np.arange(n)[:, None]
    width = (1 - share) * widths[rows, place] + share * widths[rows, place + 1]
    x = np.abs(plane.x - _each(generator.uniform(-0.05, 0.05, n)))
    distance = np.maximum(x - width[..., None], np.abs(plane.y - _each((top + bottom) / 2))
                          - _each((bottom - top) / 2))  # fmt: skip
    crotch = _each(generator.uniform(-0.2, 0.1, n))
    gap = np.maximum(x - 0.12 * np.clip(plane.y - crotch, 0, 1), crotch - plane.y)
    legs = np.maximum(distance, -gap)
    distance = np.where(_each(generator.random(n) < 0.25), legs, distance)
    sleeve = np.maximum(
        np.abs(plane.y - _each(top) - _each(generator.uniform(0.2, 1.6, n)) * x)
        - _each(generator.uniform(0.05, 0.15, n)),
        x - _each(generator.uniform(0.2, 0.48, n)),
    )
    with_sleeves = np.minimum(distance, sleeve)
    return plane.cover(np.where(_each(generator.random(n) < 0.4), with_sleeves, distance))


def gradients(plane: Plane, n: int, generator: Generator) -> Field:
    """Linear gradients of any direction, about -0.7 to 0.7."""
    angle = _each(generator.uniform(0, 2 * np.pi, n))
    return np.asarray(plane.x * np.cos(angle) + plane.y * np.sin(angle))


def textures(
    plane: Plane, n: int, generator: Generator, slowest: float = 1.0, fastest: float = 12.0
) -> Field:
    """Sums of a few waves of random direction and frequency, in [-1, 1]."""
    total = np.zeros((n, plane.height, plane.width))
    waves = 4
    for _ in range(waves):
        frequency = 2 * np.pi * generator.uniform(slowest, fastest, n)
        angle = generator.uniform(0, 2 * np.pi, n)
        phase = _each(generator.uniform(0, 2 * np.pi, n))
        across, down = _each(frequency * np.cos(angle)), _each(frequency * np.sin(angle))
        total += np.sin(plane.x * across + plane.y * down + phase)
    return total / waves


KINDS = (strokes, polygons, ellipses, blobs, garments)
