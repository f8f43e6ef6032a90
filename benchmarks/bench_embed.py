"""How many images a second: `cloister.neural.encoders.embed` against a bare torchvision loop.

    python benchmarks/bench_embed.py --threads 2

MobileNetV2 with the weights of ../shared/data, the same batches and the same preprocessing. The two
take turns, so that a busy machine slows down both; the ratio is the median of those of the turns.
`embed` also reads ahead, checks every row and knows its images again; into a file it makes every
batch durable. Strict mode computes each image by itself on one thread.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import interpolate
from torchvision.models import mobilenet_v2

from cloister.neural.encoders import embed
from embed import SHARED, WEIGHTS, encoder


def bare_loop(path, size, batch):
    """Return what embeds with torchvision alone, as one would write it."""
    network = mobilenet_v2()
    network.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    features = network.eval().features.to(memory_format=torch.channels_last)

    def run(images):
        found = np.empty((len(images), 1280), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), batch):
                pixels = torch.from_numpy(images[start : start + batch]).float()[:, None]
                pixels = interpolate(pixels, size=size, mode="bicubic").clamp(0, 255) / 127.5 - 1
                pixels = pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
                found[start : start + batch] = features(pixels).mean((2, 3)).numpy()
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return run


def seconds(run):
    begin = time.perf_counter()
    found = run()
    return time.perf_counter() - begin, found


def measure(options, size, images):
    """Return the images a second of each way, and the ratios to the bare loop."""
    bare = bare_loop(options.weights, size, options.batch)
    fixed = encoder(options.weights, size, options.batch)
    strict = encoder(options.weights, size, options.batch, strict=True)
    few = images[: max(options.batch // 4, 1)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.npy"
        ways = {
            "bare loop": (images, lambda: bare(images)),
            "embed": (images, lambda: embed(fixed, images)),
            "embed to a file": (images, lambda: embed(fixed, images, out, resume=False)),
            "embed, strict": (few, lambda: embed(strict, few)),
        }
        times = {name: [] for name in ways}
        for turn in range(options.turns + 1):  # the first warms up
            for name, (_, run) in ways.items():
                spent, found = seconds(run)
                times[name].append(spent)
                if turn == 0 and name == "bare loop":
                    expected = found
                if turn == 0 and name == "embed":
                    apart = float(np.abs(found - expected).max())
    report = {"size": size, "largest difference": apart}
    for name, (rows, _) in ways.items():
        each = [spent / len(rows) for spent in times[name][1:]]
        bare_each = [spent / len(images) for spent in times["bare loop"][1:]]
        report[name] = {
            "images a second": 1 / median(each),
            "of the bare loop": median(b / e for b, e in zip(bare_each, each, strict=True)),
        }
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--weights", type=Path, default=SHARED / WEIGHTS)
    add("--sizes", type=int, nargs="+", default=[96, 224])
    add("--images", type=int, default=256)
    add("--batch", type=int, default=64)
    add("--turns", type=int, default=7)
    add("--threads", type=int, default=2)
    add("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = np.random.default_rng(0).integers(0, 256, (options.images, 28, 28), dtype=np.uint8)
    reports = []
    for size in options.sizes:
        found = measure(options, size, images)
        reports.append(found)
        print(f"{size} pixels, batches of {options.batch}, {options.threads} threads")
        print(f"  largest difference of a coordinate: {found['largest difference']:.1e}")
        for name, figures in found.items():
            if isinstance(figures, dict):
                rate, ratio = figures.values()
                print(f"  {name:<16} {rate:8.1f} images/s  {ratio:6.1%} of the bare loop")
    if options.json:
        options.json.write_text(json.dumps(reports, indent=1))


if __name__ == "__main__":
    main()
