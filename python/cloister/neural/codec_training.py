"""Training of a convolutional codec on public images."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cloister.errors import InvalidInput
from cloister.neural.autoencoder import ConvCodec
from cloister.neural.codec_checkpoint import Checkpoint
from cloister.neural.codec_input import check_image_batch
from cloister.neural.codec_plan import CodecPlan
from cloister.neural.codec_progress import TrainingProgress
from cloister.neural.conv_layers import LARGEST_SIDE, SMALLEST_SIDE, Architecture
from cloister.neural.images import as_image_array
from cloister.neural.public_data import PublicData, check_name
from cloister.neural.reconstruction_grid import SampleGrids
from cloister.neural.row_norms import row_norms
from cloister.neural.torch_device import torch_device
from cloister.parameters import check_integer

if TYPE_CHECKING:
    from cloister.neural.codec_run import CodecRun

# Held-out images that an epoch's error is measured on, and images that center and radius are.
MOST_HELD_OUT = 2000
MOST_MEASURED = 20_000
# Share of the public images whose latents lie within the radius, and so lose nothing.
WITHIN_RADIUS = 0.99


@dataclass(frozen=True)
class Epoch:
    """What is told of one epoch.

    Parameters
    ----------
    number, epochs : int
        This one, from 1, and their total.
    loss : float
        Mean training loss.
    held_out_error : float or None
        Root mean square error of held-out public images, in grey levels of 255.
    """

    number: int
    epochs: int
    loss: float
    held_out_error: float | None


def train_codec(
    public_images: Any,
    *,
    public_data: str,
    n_features: int = 64,
    epochs: int = 20,
    width: int = 32,
    kl_weight: float = 0.0,
    edge_weight: float = 0.0,
    norm_bound: float = 1.0,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    validation_fraction: float = 0.05,
    random_state: int = 0,
    resume: str | os.PathLike[str] | None = None,
    samples_dir: str | os.PathLike[str] | None = None,
    samples_every: int = 5,
    progress: bool | Callable[[Epoch], None] = False,
    device: str = "cpu",
) -> ConvCodec:
    """Train a convolutional autoencoder, or a VAE, on **public** images.

    The codec becomes part of the definition of a private row and of what is published: its images
    must be public. Nothing here adds noise, and nothing protects an image that it is given. Where
    there are none, train on `procedural_images`.

    Adam (Kingma and Ba 2015) with a linear warm-up and cosine decay of the learning rate; all
    randomness is keyed by `random_state` and the number of the epoch, and neither torch's nor
    numpy's global generator is touched. The same images, settings, number of threads and build of
    torch give the same codec on a CPU, whether or not the training was interrupted.

    Parameters
    ----------
    public_images : images
        An array, a folder, a list of files ...: see `as_images`. At least 2 of one size, with
        sides of 8 to 256 pixels. A memory map is read a batch at a time.
    public_data : str
        Which public images these are, in words, such as "MNIST train". With their number and
        digest it stays in the codec's file.
    n_features : int, default=64
        Features d of an embedding.
    epochs : int, default=20
        Passes over the images.
    width : int, default=32
        Channels at full resolution, a multiple of 8; they double with each halving, up to 4 times.
    kl_weight : float, default=0.0
        Above 0 a variational autoencoder is trained (Kingma and Welling 2014), whose latents are
        smooth, and near a Gaussian in the mean: 2 sigma^2, where sigma is the standard deviation
        of its pixels' noise, in [0, 1]; 0.02 stands for a noise of 0.1.
    edge_weight : float, default=0.0
        Weight of the squared error of differences between neighbouring pixels, which keeps edges.
    norm_bound : float, default=1.0
        Public bound R of an embedding's norm.
    batch_size : int, default=128
        Images of a step.
    learning_rate : float, default=0.002
        Peak learning rate of Adam.
    validation_fraction : float, default=0.05
        Share of the images that is held out to measure the error, in [0, 0.5]; at most 2,000.
    random_state : int, default=0
        Seed of the initial weights, the order of images, the split and the latent noise.
    resume : str, path or None, default=None
        Checkpoint file: written after each epoch, and gone on from where it exists. It is left
        when the training ends.
    samples_dir : str, path or None, default=None
        Folder for `epoch-0005.png` and so on: held-out public images above what the codec makes
        of them. It is created if its parent exists.
    samples_every : int, default=5
        Epochs from one such picture to the next; the last epoch has one in any case.
    progress : bool or callable, default=False
        True shows a bar on stderr, or a line an epoch where that is no terminal; a function is
        called with each `Epoch`.
    device : str, default="cpu"
        A torch device. On others than "cpu" two trainings may differ in the last bits.

    Returns
    -------
    ConvCodec
        With `training["held_out_error"]`, in grey levels of 255 (None where nothing is held out).

    Raises
    ------
    InvalidInput, InvalidType
        Naming the argument; also where training diverges.
    ModelFileError
        If `resume` is no checkpoint, or one of other images or settings.
    MissingDependency, DeviceError
        If torch (for pictures, Pillow) or the device is not at hand.
    """
    plan = CodecPlan.checked(
        random_state,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        kl_weight=kl_weight,
        edge_weight=edge_weight,
        norm_bound=norm_bound,
        validation_fraction=validation_fraction,
    )
    check_name(public_data)
    samples_every = check_integer(
        "samples_every", samples_every, 1, 10**6, way_out="epochs between two pictures"
    )
    images = as_image_array(public_images, "public_images")
    images = check_image_batch("public_images", images, SMALLEST_SIDE, LARGEST_SIDE)
    if len(images) < 2:
        raise InvalidInput(f"public_images holds {len(images)} image, but at least 2 are needed")
    a = Architecture.checked(images.shape[1:], n_features, width, plan.kl_weight > 0)
    torch, _ = torch_device(device)
    grids = None if samples_dir is None else SampleGrids(Path(samples_dir), samples_every, epochs)
    public = PublicData.of(public_data, images)
    checkpoint = None if resume is None else Checkpoint(resume, a, plan, public)
    rows, held_out = _split(len(images), plan)
    from cloister.neural.codec_run import CodecRun  # noqa: PLC0415 - torch is optional

    # A caller's no_grad or inference_mode would otherwise make the backward pass fail.
    with torch.inference_mode(False), torch.enable_grad():
        run = CodecRun(a, plan, images, rows, images[held_out], device)
        if checkpoint is not None:
            run.take(checkpoint.read())
        _train(run, checkpoint, grids, progress)
    return _finished(a, plan, public, run)


def _train(
    run: CodecRun,
    checkpoint: Checkpoint | None,
    grids: SampleGrids | None,
    progress: bool | Callable[[Epoch], None],
) -> None:
    epochs = run.plan.epochs
    with TrainingProgress(progress, epochs, run.steps_per_epoch, run.epoch) as bar:
        while run.epoch < epochs:
            loss = run.run_epoch(bar.step)
            error = run.held_out_error()
            if checkpoint is not None:
                checkpoint.write(run.state())
            if grids is not None:
                grids.write(run.epoch, run.shown(), run.reconstructions())
            bar.epoch(Epoch(run.epoch, epochs, loss, error))


def _split(n: int, plan: CodecPlan) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of the images to train on, and of those held out."""
    n_held_out = min(MOST_HELD_OUT, int(plan.validation_fraction * n))
    order = np.random.default_rng([plan.seed, 0]).permutation(n)
    return np.sort(order[n_held_out:]), order[:n_held_out]


def _finished(a: Architecture, plan: CodecPlan, public: PublicData, run: CodecRun) -> ConvCodec:
    """Return the codec, its latents centred and scaled by those of the public images."""
    error = run.held_out_error()
    described = {**plan.to_dict(), "held_out_error": error, "n_held_out": len(run.held_out)}
    parts: dict[str, Any] = {"norm_bound": plan.norm_bound, "public": public, "training": described}
    weights = run.weights()
    raw = ConvCodec(a, weights, center=np.zeros(a.n_features), radius=1.0, **parts)
    latents = raw.use(device=run.device).latents(run.images[run.rows[:MOST_MEASURED]])
    center = latents.mean(axis=0)
    norms = np.sort(row_norms(latents - center))
    radius = float(norms[int(WITHIN_RADIUS * (len(norms) - 1))])
    return ConvCodec(a, weights, center=center, radius=radius if radius > 0 else 1.0, **parts)
