"""torchvision's networks as encoders, and weights from local files of every form."""

from importlib import import_module

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cloister.errors import ModelFileError
from cloister.neural.encoders import Preprocessing, timm_encoder, torchvision_encoder
from conftest import DATA
from tiny_models import COLOUR, SMALL, unit

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
# One of each family: features that its last layer reads.
FAMILIES = {
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "resnet18": 512,
    "efficientnet_b0": 1280,
    "regnet_y_400mf": 440,
    "densenet121": 1024,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "convnext_tiny": 768,
    "swin_t": 768,
}


def network(name):
    torch.manual_seed(0)
    options = {"num_classes": 3} if name != "squeezenet1_1" else {}
    return import_module("torchvision.models").get_model(name, weights=None, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision_networks_end_in_the_features_of_their_last_layer(name, tmp_path):
    whole = network(name).eval()
    heads = [n for n, m in whole.named_modules() if isinstance(m, torch.nn.Linear)]
    seen = {}
    if heads:
        whole.get_submodule(heads[-1]).register_forward_hook(
            lambda _, inputs, __: seen.update(features=inputs[0])
        )
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    encoder = torchvision_encoder(name, tmp_path / "weights.pth", preprocessing=SMALL, batch_size=2)
    assert encoder.n_features == FAMILIES[name]
    found = encoder.encode(COLOUR[:2])
    if heads:
        with torch.no_grad():
            whole(SMALL.prepare(COLOUR[:2]))
        np.testing.assert_allclose(found, unit(seen["features"]), atol=1e-4)


@pytest.mark.parametrize("own", [False, True])
def test_googlenet_standardises_as_with_torchvisions_own_weights(own, tmp_path, monkeypatch):
    layers = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)
    small = torch.nn.Sequential(*layers)  # the real one takes seconds to begin at random
    small.transform_input = False
    monkeypatch.setattr("torchvision.models.get_model", lambda name, weights: small)
    save_file(small.state_dict(), tmp_path / "weights.safetensors")
    torchvision_encoder(
        "googlenet",
        tmp_path / "weights.safetensors",
        preprocessing=SMALL if own else None,
        batch_size=1,
    )
    assert small.transform_input is not own


def test_vit_takes_the_class_token(tmp_path):
    vit = import_module("torchvision.models").VisionTransformer(32, 16, 1, 2, 8, 16)
    remove = import_module("cloister.neural.torchvision_encoder").remove_head
    assert remove(vit) == "heads.head"
    assert vit.eval()(SMALL.prepare(COLOUR)).shape == (3, 8)


def test_weights_may_be_wrapped_halved_nested_or_headless(tmp_path):
    whole = network("resnet18").state_dict()
    forms = {
        "plain.safetensors": lambda path: save_file(whole, path),
        "plain.pt": lambda path: torch.save(whole, path),
        "nested.pth": lambda path: torch.save({"state_dict": whole, "epoch": 3}, path),
        "parallel.pth": lambda path: torch.save(
            {f"module.{name}": tensor for name, tensor in whole.items()}, path
        ),
        "headless.pth": lambda path: torch.save(
            {name: tensor for name, tensor in whole.items() if not name.startswith("fc.")}, path
        ),
    }
    ids = set()
    for name, save in forms.items():
        save(str(tmp_path / name))
        encoder = torchvision_encoder(
            "resnet18", str(tmp_path / name), preprocessing=SMALL, batch_size=2
        )
        ids.add(encoder.id)
    assert len(ids) == 1
    halves = {name: t.half() if t.is_floating_point() else t for name, t in whole.items()}
    save_file(halves, tmp_path / "half.safetensors")
    half = torchvision_encoder(
        "resnet18", tmp_path / "half.safetensors", preprocessing=SMALL, batch_size=2
    )
    assert half.id not in ids
    np.testing.assert_allclose(half.encode(COLOUR), encoder.encode(COLOUR), atol=0.02)


def test_torchvisions_own_preprocessing_is_the_default(tmp_path):
    torch.save(network("mobilenet_v3_small").state_dict(), tmp_path / "w.pth")
    encoder = torchvision_encoder("mobilenet_v3_small", tmp_path / "w.pth", batch_size=1)
    described = "224x224, bilinear, centre of 256, mean 0.485/0.456/0.406, std 0.229/0.224/0.225"
    assert encoder.id.startswith("torchvision:mobilenet_v3_small; sha256 ")
    assert described in encoder.id
    preset = import_module("torchvision.models").MobileNet_V3_Small_Weights.DEFAULT.transforms()
    ours = Preprocessing(224, 256, "bilinear", True, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    theirs = preset(torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    assert np.abs(ours.prepare(COLOUR).numpy() - theirs.numpy()).max() < 0.6 / 255 / 0.224


def test_weights_of_another_architecture_say_what_does_not_fit(tmp_path):
    torch.save(network("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(ModelFileError, match=r"another architecture than ResNet.*missing \(layer"):
        torchvision_encoder("resnet34", tmp_path / "resnet18.pth")
    with pytest.raises(ModelFileError, match=r"without a place \(conv1\.weight"):
        torchvision_encoder("mobilenet_v2", tmp_path / "resnet18.pth")
    wide = import_module("torchvision.models").wide_resnet50_2(num_classes=2)
    torch.save(wide.state_dict(), tmp_path / "wide.pth")
    with pytest.raises(ModelFileError, match=r"of another shape \(layer1.*\(128, 64, 1, 1\) for"):
        torchvision_encoder("resnet50", tmp_path / "wide.pth")
    with pytest.raises(ModelFileError, match="another architecture"):
        timm_encoder("resnet10t", tmp_path / "resnet18.pth")


def test_files_that_are_no_weights_are_refused(tmp_path):
    def refused(content, message):
        path = tmp_path / "bad.pth"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(ModelFileError, match=message):
            torchvision_encoder("resnet18", path)

    with pytest.raises(ModelFileError, match="there is no file"):
        torchvision_encoder("resnet18", tmp_path / "nowhere.pth")
    refused(b"", "cannot be read as a state dict")
    refused(b"not a file of weights", "cannot be read as a state dict")
    refused(network("resnet18"), "cannot be read as a state dict")  # would run code
    refused([1, 2], "holds a list and not named tensors")
    refused({"epoch": 3}, "not named tensors")
    (tmp_path / "bad.safetensors").write_bytes(b"1234567890")
    with pytest.raises(ModelFileError, match="cannot be read as a state dict"):
        torchvision_encoder("resnet18", tmp_path / "bad.safetensors")


@pytest.mark.data
def test_the_shared_weights_embed_fashion_images(real_data):
    path = DATA / "mobilenet_v2_imagenet.safetensors"
    if not path.exists():
        pytest.skip("the weights are not at hand (expected beside the checkout)")
    images = real_data("fashion_mnist.npz")["x_test"][::1000]
    encoder = torchvision_encoder(
        "mobilenet_v2", path, preprocessing=Preprocessing(96, mean=0.5, std=0.5), batch_size=5
    )
    found = encoder.encode(images)
    assert found.shape == (10, 1280)
    # Two images of one class lie closer than those of different ones, in the mean.
    again = encoder.encode(real_data("fashion_mnist.npz")["x_test"][500::1000])
    closeness = found @ again.T
    assert np.diag(closeness).mean() > closeness.mean() + 0.1
