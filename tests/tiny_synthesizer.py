"""Small synthesizers of small images, for tests to fit."""

from cloister import DPGaussianMixture
from cloister.neural import ImageLabeller, Synthesizer
from tiny_codec import TinyCodec, tiny_images

CLASSES = [3, 5, 8]
N = 900


def images_and_labels():
    return tiny_images(N, CLASSES)


def mixture(**options):
    return DPGaussianMixture(
        **{"epsilon": 3.0, "classes": CLASSES, "random_state": 0, "n_hint": N, **options}
    )


def synthesizer(labeller=True, codec=None, share=0.4, **options):
    codec = codec or TinyCodec()
    other = ImageLabeller(TinyCodec(seed=1), mixture(epsilon=99.0)) if labeller else None
    return Synthesizer(codec, mixture(**options), codec, other, share)
