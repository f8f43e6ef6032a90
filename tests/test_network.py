"""A network computes what its id says, whatever happens around it."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch

from cloister.errors import InvalidInput
from cloister.neural.encoders import ModuleEncoder, Preprocessing

pytestmark = pytest.mark.usefixtures("one_torch_thread")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)


@pytest.fixture
def module():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 6))


@pytest.fixture
def encoder(module):
    return ModuleEncoder(module, preprocessing=Preprocessing(size=8), batch_size=4)


def test_weights_that_are_changed_later_are_not_those_of_the_id(module, encoder):
    copies = pickle.loads(pickle.dumps(encoder)), deepcopy(encoder)
    expected = encoder.encode(IMAGES)
    with torch.no_grad():
        module[1].weight.mul_(-1)
    with pytest.raises(InvalidInput, match="changed after the encoder was made"):
        encoder.encode(IMAGES)
    for copy in copies:
        np.testing.assert_array_equal(copy.encode(IMAGES), expected)


def test_the_precision_is_the_encoders_own(encoder):
    expected = encoder.encode(IMAGES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(encoder.encode(IMAGES), expected)
