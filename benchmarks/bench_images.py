"""Private synthetic images of MNIST and Fashion-MNIST, judged by a CNN that sees nothing else.

    python benchmarks/bench_images.py --json docs/images.json --tables docs/images.md --grids docs
    python benchmarks/bench_images.py --json docs/images.json --tables docs/images.md --render

Every choice is in `recipe` and was made on the last 10,000 of the 60,000 training images; the test
images are read once, for the figures. MNIST is the public data of Fashion-MNIST (the scale of
scattering channels, nothing else) and the reverse. The CNN sees raw test images.
"""

import argparse
import hashlib
import math
import resource
import time
from pathlib import Path

import numpy as np

import images_tables
from cloister import DPGaussianMixture
from cloister.neural import ImageClassifier, ImageLabeller, Probe, ScatteringEncoder, Synthesizer
from cloister.neural.decoders import DCTCodec
from cloister.neural.image_report import evaluate_images
from quality_records import merge, read, written
from tables import rewrite

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PUBLIC = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}
REAL = "CNN on real images"
OURS = "cloister"
PARTS = ["cnn", "compared", "real"]


def recipe(epsilon):
    """Return what depends on epsilon: components a class and the labeller's share of mu^2."""
    if epsilon < 3:
        return {"n_components": 5, "labeller_share": 0.5}
    return {"n_components": 100, "labeller_share": 0.3}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=SHARED, help="folder of <set>.npz")
    add("--sets", choices=list(PUBLIC), nargs="+", default=list(PUBLIC))
    add("--epsilons", type=float, nargs="+", default=[1.0, 10.0, math.inf])
    add("--seeds", type=int, default=2, help="noise draws; one at infinite epsilon")
    add("--images", type=int, default=24_000, help="synthetic images that the CNN sees")
    add("--epochs", type=int, default=8)
    add("--compared", type=int, default=2000, help="images that distances are measured on")
    add("--probed", type=int, default=10_000, help="synthetic images that a probe sees")
    add("--parts", choices=PARTS, nargs="+", default=PARTS)
    add("--json", type=Path, required=True, help="records; a run made again replaces its own")
    add("--tables", type=Path, nargs="*", default=[], help="documents whose tables to fill in")
    add("--grids", type=Path, help="folder for pictures of samples")
    add("--render", action="store_true", help="only fill in tables")
    return parser.parse_args()


class Remembering:
    """An encoder that encodes the training images once for all fits; its time is told apart."""

    def __init__(self, encoder, most):
        self._encoder, self._most, self._kept = encoder, most, {}
        self.seconds = 0.0

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode(self, batch):
        key = hashlib.sha256(np.ascontiguousarray(batch)).digest()
        if key not in self._kept:
            begin = time.perf_counter()
            rows = self._encoder.encode(batch)
            if len(self._kept) >= self._most:
                return rows
            self.seconds += time.perf_counter() - begin
            self._kept[key] = rows
        return self._kept[key]


def load(folder, name):
    """Return training images, labels, test images and labels, each in one fixed random order."""
    made = []
    with np.load(folder / f"{name}.npz") as file:
        for part in ("train", "test"):  # the files are sorted by class
            order = np.random.default_rng(0).permutation(len(file[f"y_{part}"]))
            made += [file[f"x_{part}"][order], file[f"y_{part}"][order].astype(int)]
    return made


def figures(classifier, images, labels):
    """Return the accuracy on test images, whole and class by class."""
    hit = classifier.predict(images) == labels
    return {
        "accuracy": float(hit.mean()),
        "class_accuracy": [float(hit[labels == g].mean()) for g in np.unique(labels)],
    }


def fitted(codec, scattering, data, epsilon, seed):
    """Return a synthesizer of the training images."""
    chosen = recipe(epsilon)
    mixture = DPGaussianMixture(
        chosen["n_components"],
        epsilon=epsilon,
        delta=1e-5,
        classes=range(10),
        class_prior="uniform",
        random_state=seed,
    )
    rule = DPGaussianMixture(classes=range(10), class_prior="uniform", random_state=seed)
    labeller = ImageLabeller(scattering, rule)
    model = Synthesizer(codec, mixture, codec, labeller, chosen["labeller_share"])
    return model.fit(*data[:2])


def judged(codec, scattering, data, epsilon, seed, options):
    """Fit, train a CNN on samples and measure it once; return the record and the synthesizer."""
    begin = time.perf_counter()
    model = fitted(codec, scattering, data, epsilon, seed)
    ready = time.perf_counter()
    network = ImageClassifier(epochs=options.epochs, random_state=seed)
    network.fit_synthesizer(model, options.images)
    trained = time.perf_counter()
    test, truth = data[2:]
    record = figures(network, test, truth) | {
        "fit_seconds": ready - begin,
        "train_seconds": trained - ready,
        "labeller_accuracy": float((model.labeller_.predict(test) == truth).mean()),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "encode_seconds": scattering.seconds,
    }
    return record | recipe(epsilon), model


def compared(codec, scattering, data, epsilon, options):
    """Return distances of samples to real images, and how well a probe does that saw samples."""
    x, _, test, truth = data
    model = fitted(codec, scattering, data, epsilon, 0)
    samples, labels = model.sample(options.probed, 0)
    rows = scattering.encode(samples)
    probe = Probe(encoder_id=scattering.id).fit(rows, labels)
    n = options.compared
    report = evaluate_images(
        samples[:n], labels[:n], test[:n], truth[:n], scattering, training=x[:n]
    ).to_dict()
    report["by_class"] = {
        name: {"frechet": of["frechet"], **(of["manifolds"] or {})}
        for name, of in report["by_class"].items()
    }
    return {"accuracy": probe.score(scattering.encode(test), truth), "report": report}


def run(name, options):
    data = load(options.data, name)
    public = load(options.data, PUBLIC[name])[0][:500]
    codec = DCTCodec((28, 28), keep=150, mean=0, contrast=0.5)
    encoder = ScatteringEncoder.from_public(
        public, public_data=f"500 images of {PUBLIC[name]}", codec=codec
    )
    scattering = Remembering(encoder, -(-len(data[0]) // 256))

    def note(part, method, epsilon, seed, record):
        key = {"part": part, "rows": name, "k": None, "method": method}
        print(name, part, method, epsilon, seed, f"{record['accuracy']:.4f}", flush=True)
        merge(options.json, key | {"epsilon": written(epsilon), "seed": seed} | record)

    for epsilon in options.epsilons:
        for seed in range(options.seeds if math.isfinite(epsilon) else 1):
            if "cnn" in options.parts:
                record, model = judged(codec, scattering, data, epsilon, seed, options)
                note("images", OURS, epsilon, seed, record)
                if options.grids and seed == 0:
                    path = options.grids / f"images_{name}_{epsilon:g}.png"
                    model.grid(16, 0, 0.7, labels="agreeing", path=path)
        if "compared" in options.parts:
            record = compared(codec, scattering, data, epsilon, options)
            note("images compared", "probe on samples", epsilon, 0, record)
    if "real" in options.parts:
        x, y, test, truth = data
        begin = time.perf_counter()
        network = ImageClassifier(epochs=options.epochs // 2).fit(x, y)
        seconds = time.perf_counter() - begin
        record = figures(network, test, truth) | {"train_seconds": seconds}
        note("images", REAL, math.inf, 0, record)


def main():
    options = parse()
    for name in [] if options.render else options.sets:
        run(name, options)
    made = images_tables.tables(read(options.json))
    for path in options.tables:
        print(f"{path}: rewrote {', '.join(rewrite(path, made)) or 'nothing: it has no marker'}")


if __name__ == "__main__":
    main()
