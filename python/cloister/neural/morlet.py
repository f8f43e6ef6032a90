"""Morlet wavelets and averages of a scattering transform, on a periodic grid of pixels."""

import numpy as np
from numpy.typing import NDArray

# Of the finest wavelet, in pixels and radians a pixel (Andreux et al. 2020, section 2).
FINEST_WIDTH = 0.8
FINEST_FREQUENCY = 3 * np.pi / 4
PERIODS = range(-2, 3)  # what wraps around the edges; wavelets are narrow


def morlet_filters(
    shape: tuple[int, ...], orientations: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the transfer functions of the fine and of the twice coarser wavelets.

    Parameters
    ----------
    shape : tuple (height, width)
        Pixels of the periodic grid.
    orientations : int
        Angles, evenly over half a turn.

    Returns
    -------
    fine, coarse : arrays of shape (orientations, height, width)
        In the order of `fft2`; real, as the wavelets are Hermitian.
    """
    scales = [
        np.stack([_transfer(shape, scale, turn, orientations) for turn in range(orientations)])
        for scale in (1, 2)
    ]
    return scales[0], scales[1]


def _transfer(
    shape: tuple[int, ...], scale: int, turn: int, orientations: int
) -> NDArray[np.float64]:
    """Return the transfer function of one wavelet: a wave under a Gaussian, of mean zero."""
    angle = (orientations // 2 - 1 - turn) * np.pi / orientations
    slant, width = 4 / orientations, FINEST_WIDTH * scale
    along, across = np.cos(angle), np.sin(angle)
    wave = np.zeros(shape, complex)
    envelope = np.zeros(shape)
    for down in PERIODS:
        for right in PERIODS:
            y, x = np.mgrid[: shape[0], : shape[1]]
            y, x = y + down * shape[0], x + right * shape[1]
            u, v = along * y + across * x, -across * y + along * x
            bump = np.exp(-(u**2 + (slant * v) ** 2) / (2 * width**2))
            envelope += bump
            wave += bump * np.exp(1j * FINEST_FREQUENCY / scale * u)
    wave -= wave.sum() / envelope.sum() * envelope
    return np.asarray(np.fft.fft2(wave * slant / (2 * np.pi * width**2)).real)


def average_matrix(length: int, cells: int, step: int) -> NDArray[np.float64]:
    """Return the weights with which pixels of one axis enter the average over each cell.

    A Gaussian of the coarse wavelet's width, averaged over the cell.

    Parameters
    ----------
    length : int
        Pixels of the axis at full resolution.
    cells : int
    step : int
        Every how manyth pixel there is.

    Returns
    -------
    array of shape (cells, length / step)
        Rows sum to 1.
    """
    pixels = np.arange(0, length, step)
    edges = np.linspace(0, length, cells + 1)
    weights = np.zeros((cells, len(pixels)))
    for centre in range(length):
        cell = int(np.searchsorted(edges, centre + 0.5) - 1)
        for period in PERIODS:
            apart = pixels - centre + period * length
            weights[cell] += np.exp(-(apart**2) / (2 * (2 * FINEST_WIDTH) ** 2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
