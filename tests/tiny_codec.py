"""A public codec for tests: pixels times a few orthonormal columns, and back."""

import numpy as np


class TinyCodec:
    """Both protocols in one; embeddings have norm at most 1."""

    def __init__(self, n_features=8, image_shape=(6, 6), seed=0, row_purity="strict"):
        self.n_features, self.image_shape, self.seed = n_features, tuple(image_shape), seed
        self.row_purity = row_purity
        self.id = self.encoder_id = f"tiny-{n_features}-{image_shape}-{seed}"
        self.norm_bound = 1.0
        self.public_data = "none"
        self.encoded = 0

    def _basis(self):
        pixels = int(np.prod(self.image_shape))
        columns = np.random.default_rng(self.seed).normal(size=(pixels, self.n_features))
        # Waves down the image hold the bands of `tiny_images`; the other columns are arbitrary.
        height = self.image_shape[0]
        rows = np.indices(self.image_shape)[0].ravel()
        waves = np.cos(np.pi / height * np.outer(rows + 0.5, np.arange(4)))
        columns[:, : min(4, self.n_features)] = waves[:, : self.n_features]
        return np.linalg.qr(columns)[0]

    def encode(self, batch):
        self.encoded += len(batch)
        flat = np.asarray(batch, dtype=np.float64).reshape(len(batch), -1) / 127.5 - 1
        # Not a matrix product: its bits would depend on the size of the batch.
        rows = (flat[:, :, None] * self._basis()).sum(axis=1)
        return (rows / np.sqrt(flat.shape[1])).astype(np.float32)

    def decode(self, embeddings):
        flat = np.asarray(embeddings, dtype=np.float64) @ self._basis().T
        values = (flat * np.sqrt(self._basis().shape[0]) + 1) * 127.5
        images = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return images.reshape(len(flat), *self.image_shape)


def tiny_images(n, classes=(3, 5, 8), image_shape=(6, 6), seed=0, noise=20):
    """Images of a bright band, whose place tells the class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.asarray(classes)[rng.integers(0, len(classes), n)]
    images = rng.normal(80, noise, size=(n, *image_shape))
    height = image_shape[0] // len(classes)
    for i, label in enumerate(labels):
        top = list(classes).index(label) * height
        images[i, top : top + height] += 120
    return np.clip(images, 0, 255).astype(np.uint8), labels
