"""Embed MNIST and Fashion-MNIST by a frozen MobileNetV2, for `bench_quality.py --data`.

    python3 -m venv .venv-vision
    .venv-vision/bin/pip install -r benchmarks/requirements-vision.txt .
    .venv-vision/bin/python benchmarks/embed.py mnist fashion_mnist --out embeddings

Reads `<set>.npz` and `mobilenet_v2_imagenet.safetensors`; writes `<set>_mobilenetv2.npz` with
x_train, y_train, x_test, y_test: pooled features (n, 1280), float32, none negative, of unit norm.
The rows are the first of one fixed permutation, so that a smaller file is the beginning of a larger
one.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from cloister.neural.encoders import Preprocessing, embed, torchvision_encoder

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
WEIGHTS = "mobilenet_v2_imagenet.safetensors"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("sets", choices=["mnist", "fashion_mnist"], nargs="+")
    add("--data", type=Path, default=SHARED, help="folder of images and weights")
    add("--out", type=Path, required=True, help="folder for the embeddings")
    add("--train", type=int, default=20_000, help="training rows")
    add("--test", type=int, default=3_000, help="test rows")
    # 224, for which the network was trained, takes 5 times as long: the images have 28 pixels.
    add("--size", type=int, default=96, help="pixels to which images are enlarged")
    add("--batch", type=int, default=100)
    add("--threads", type=int, default=1)
    return parser.parse_args()


def encoder(path, size, batch, **options):
    """Return the encoder that the shared weights were trained for: pixels from -1 to 1."""
    pixels = Preprocessing(size=size, mean=0.5, std=0.5, antialias=False)
    return torchvision_encoder(
        "mobilenet_v2", path, preprocessing=pixels, batch_size=batch, **options
    )


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    network = encoder(options.data / WEIGHTS, options.size, options.batch)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        rng = np.random.default_rng(0)
        made = {}
        with np.load(options.data / f"{name}.npz") as file:
            for part, n in (("train", options.train), ("test", options.test)):
                rows = rng.permutation(len(file[f"y_{part}"]))[:n]
                begin = time.perf_counter()
                made[f"x_{part}"] = embed(network, file[f"x_{part}"][rows])
                rate = len(rows) / (time.perf_counter() - begin)
                print(f"{name}, {part}: {len(rows):,} images, {rate:.0f} a second", flush=True)
                made[f"y_{part}"] = file[f"y_{part}"][rows]
        np.savez(options.out / f"{name}_mobilenetv2.npz", **made)


if __name__ == "__main__":
    main()
