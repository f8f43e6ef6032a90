"""Embed MNIST and Fashion-MNIST by a frozen MobileNetV2, for `bench_quality.py --data`.

    python3 -m venv .venv-vision
    .venv-vision/bin/pip install -r benchmarks/requirements-vision.txt
    .venv-vision/bin/python benchmarks/embed.py mnist fashion_mnist --out embeddings

Reads `<set>.npz` and `mobilenet_v2_imagenet.safetensors`; writes `<set>_mobilenetv2.npz` with
x_train, y_train, x_test, y_test: pooled features (n, 1280), float32, none negative. The rows are
the first of one fixed permutation, so that a smaller file is the beginning of a larger one.
"""

import argparse
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import interpolate

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


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


def encoder(path):
    """Return the network up to its last feature map; the file keeps halves of float16."""
    network = import_module("torchvision.models").mobilenet_v2()
    weights = load_file(path)
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.eval().features.to(memory_format=torch.channels_last)


def embed(network, images, size, batch):
    """Return the features of grey images (n, height, width), averaged over the map."""
    # The last batch is filled up: results must not depend on how a library splits another shape.
    n, missing = len(images), -len(images) % batch
    images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
    features = np.empty((len(images), 1280), np.float32)
    begin = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pixels = torch.from_numpy(images[start : start + batch]).float()[:, None]
            pixels = interpolate(pixels, size=size, mode="bicubic").clamp(0, 255) / 127.5 - 1
            pixels = pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            features[start : start + batch] = network(pixels).mean((2, 3)).numpy()
    print(f"{n:,} images, {len(images) / (time.perf_counter() - begin):.0f} a second", flush=True)
    return features[:n]


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    network = encoder(options.data / "mobilenet_v2_imagenet.safetensors")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        rng = np.random.default_rng(0)
        made = {}
        with np.load(options.data / f"{name}.npz") as file:
            for part, n in (("train", options.train), ("test", options.test)):
                rows = rng.permutation(len(file[f"y_{part}"]))[:n]
                images = file[f"x_{part}"][rows]
                print(f"{name}, {part}: ", end="", flush=True)
                made[f"x_{part}"] = embed(network, images, options.size, options.batch)
                made[f"y_{part}"] = file[f"y_{part}"][rows]
        np.savez(options.out / f"{name}_mobilenetv2.npz", **made)


if __name__ == "__main__":
    main()
