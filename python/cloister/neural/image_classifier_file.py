"""Image classifiers on disk: a model file of kind "image_classifier".

Its header holds `parameters` (those of the constructor), `classes`, `classes_dtype`, `image_shape`
and, of a classifier trained on a synthesizer, `privacy`. Its arrays are the network's, float32.
"""

import os
from typing import Any

import numpy as np

from cloister.errors import CloisterError, ModelFileError
from cloister.model_file import model_array, model_value, read_model, write_model
from cloister.neural.codec_input import check_image_shape
from cloister.neural.image_guarantee import ImageGuarantee
from cloister.neural.image_network import network
from cloister.neural.optional_packages import need_torch
from cloister.privacy.plain_values import plain_json

KIND = "image_classifier"
Path = str | os.PathLike[str]


def write(classifier: Any, path: Path) -> None:
    """Write a fitted classifier."""
    state = classifier.network_.state_dict()
    parameters = classifier.get_params() | {"random_state": None}
    header = {
        "parameters": {name: plain_json(value) for name, value in parameters.items()},
        "classes": classifier.classes_.tolist(),
        "classes_dtype": classifier.classes_.dtype.str,
        "image_shape": list(classifier.image_shape_),
        "privacy": None if classifier.privacy_ is None else classifier.privacy_.to_dict(),
    }
    write_model(path, KIND, {name: tensor.numpy() for name, tensor in state.items()}, header)


def read(cls: type[Any], path: Path) -> Any:
    """Read what `write` wrote into an instance of `cls`, or raise ModelFileError."""
    _, arrays, header = read_model(path, KIND)
    torch = need_torch("an ImageClassifier")
    try:
        classifier = cls(**model_value(path, header, "parameters", dict))
        classifier.check_parameters()
        listed = model_value(path, header, "classes", list)
        classes = np.array(listed, np.dtype(model_value(path, header, "classes_dtype", str)))
        if classes.ndim != 1 or len(set(classes.tolist())) != len(classes) or len(classes) == 0:
            raise ValueError(f"classes: not a list of distinct labels: {listed}")
        shape = tuple(model_value(path, header, "image_shape", list))
        classifier.image_shape_ = check_image_shape("image_shape", shape, 4)
        channels = 1 if len(shape) == 2 else shape[2]
        net = network(channels, classifier.width, len(classes))
        wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        net.load_state_dict({
            name: torch.from_numpy(model_array(path, arrays, name, np.float32, length).copy())
            for name, length in wanted.items()
        })  # fmt: skip
        guarantee = header.get("privacy")
        classifier.privacy_ = None if guarantee is None else ImageGuarantee.from_dict(guarantee)
    except ModelFileError:
        raise
    except (CloisterError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"path: {os.fspath(path)!r}: the file of this classifier is damaged: "
            f"{type(error).__name__}: {error}"
        ) from error
    classifier.classes_, classifier.network_ = classes, net.eval()
    return classifier
