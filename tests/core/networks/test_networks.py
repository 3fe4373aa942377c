"""Networks: checkpoints, the fully convolutional form, named layers, rejected files."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from core import networks
from core.errors import UserError
from core.networks import architectures

# The four published networks are compared with their published forward pass in
# tests/core/pipeline/test_import_checkpoint.py.
LINEAR = ("resnet50", "inception_v3")
DENSE = ("alexnet",)


def save_published(arch: str, classes: int, path: Path) -> dict[str, torch.Tensor]:
    """Save a checkpoint in the published form and return its state dict.

    `module.` stands in front of the names, or for AlexNet and VGG inside `features.` only; there
    are no batch-norm counters.
    """
    torch.manual_seed(3)
    network = networks.build(arch, classes)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    state = {
        k: v for k, v in network.net.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    published = {
        (k.replace("features.", "features.module.", 1) if arch in DENSE else f"module.{k}"): v
        for k, v in state.items()
    }
    torch.save(
        {"epoch": 5, "arch": arch, "state_dict": published, "best_prec1": 0.8, "optimizer": {}},
        path,
    )
    return network.net.state_dict()


def random_patches(network: networks.Classifier, n: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    side = network.input_side
    return torch.randint(0, 256, (n, 1, side, side), dtype=torch.uint8)


@pytest.mark.parametrize("arch", [*LINEAR, *DENSE])
@torch.inference_mode()
def test_published_checkpoint(arch: str, tmp_path: Path) -> None:
    classes = 3 if arch == "resnet50" else 2
    state = save_published(arch, classes, tmp_path / "c.pth.tar")
    network = networks.load_published_checkpoint(tmp_path / "c.pth.tar", arch, classes)
    assert all(
        torch.equal(v, state[k])
        for k, v in network.net.state_dict().items()
        if not k.endswith("num_batches_tracked")
    )
    assert not network.training
    x = random_patches(network)
    class_maps = networks.to_fully_convolutional(network)(x)
    if network.single_linear:
        network.pool = "global"
    difference = (class_maps.mean((2, 3)) - network(x)).abs().max() / network(x).abs().max()
    assert float(difference) <= 1e-4


@torch.inference_mode()
def test_class_map_identity_at_any_size() -> None:
    for arch in ("small", "medium", "resnet18", "densenet121"):
        network = networks.build(arch, 3).eval()
        x = torch.randint(0, 256, (1, 1, 301, 214), dtype=torch.uint8)
        class_maps = networks.to_fully_convolutional(network)(x)
        assert torch.allclose(class_maps.mean((2, 3)), network(x), atol=1e-4, rtol=1e-4), arch


@torch.inference_mode()
def test_published_resnets_pool_top_left(tmp_path: Path) -> None:
    save_published("resnet18", 3, tmp_path / "c.pth.tar")
    network = networks.load_published_checkpoint(tmp_path / "c.pth.tar", "resnet18", 3)
    maps = network.feature_maps(random_patches(network))
    assert network.pool == "top_left_7" and maps.shape[2:] == (8, 8)
    pooled = sum(maps[:, :, i, j] for i in range(7) for j in range(7)) / 49
    head = network.last_linear()
    expected = pooled @ head.weight.T + head.bias
    assert torch.allclose(network(random_patches(network)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        ("alexnet", ["conv1", "conv5"]),
        ("vgg16", ["conv1_2", "conv5_3"]),
        ("inception_v3", ["mixed_5d", "mixed_7c"]),
        ("resnet18", ["bn1", "layer4"]),
    ],
)
def test_paper_layers(arch: str, names: list[str]) -> None:
    network = networks.build(arch, 2)
    for name in names:
        assert network.layer(name) is not None
    with pytest.raises(UserError, match="has no layer 'conv99'"):
        network.layer("conv99")


class Malicious:
    def __reduce__(self):
        return print, ("code was executed",)


def test_pickled_code_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Malicious()}, tmp_path / "malicious.pth.tar")
    with pytest.raises(UserError, match="would run code"):
        networks.build("resnet18", 2, str(tmp_path / "malicious.pth.tar"))
    assert "code was executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello world, no weights",
        b"\x89PNG\r\n\x1a\n",
        b"\x80\x02",
        bytes(range(256)),
        pickle.dumps([1, 2])[:-3],
        b"PK\x03\x04",
    ],
)
def test_damaged_files_are_not_called_dangerous(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(UserError, match="w.pt is not a readable checkpoint .*; download it again"):
        networks.read_state(tmp_path / "w.pt")


def test_keys_that_are_not_names_are_rejected(tmp_path: Path) -> None:
    torch.save({"state_dict": {1: torch.ones(2)}}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        networks.read_state(tmp_path / "w.pt")


def test_unfit_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    save_published("resnet18", 3, path)
    with pytest.raises(UserError, match=r"does not fit resnet18 with 2 classes: fc\.weight"):
        networks.build("resnet18", 2, str(path))
    with pytest.raises(UserError, match="not a checkpoint of resnet34"):
        networks.build("resnet34", 3, str(path))
    with pytest.raises(UserError, match="no weights file"):
        networks.build("resnet18", 3, str(tmp_path / "absent"))
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        networks.build("resnet18", 3, str(path))
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="holds no state dict"):
        networks.build("resnet18", 3, str(path))
    with pytest.raises(UserError, match="at least two classes; 1 requested"):
        networks.build("small", 1)
    with pytest.raises(UserError, match="no architecture 'resnet1'"):
        networks.build("resnet1", 3)


def test_imagenet_weights_fill_all_but_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    donor = networks.build("resnet18", 1000)

    class Weights:
        @staticmethod
        def get_state_dict(**_: object) -> dict[str, torch.Tensor]:
            return donor.net.state_dict()

    def fail(**_: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(
        architectures.torchvision_models(),
        "get_model_weights",
        lambda _: type("W", (), {"DEFAULT": Weights}),
    )
    network = networks.build("resnet18", 3, "imagenet")
    assert torch.equal(network.net.conv1.weight, donor.net.conv1.weight)
    assert network.last_linear().out_features == 3
    monkeypatch.setattr(Weights, "get_state_dict", staticmethod(fail))
    with pytest.raises(UserError, match="cannot be fetched"):
        networks.build("resnet18", 3, "imagenet")
    with pytest.raises(UserError, match="no ImageNet weights"):
        networks.build("small", 3, "imagenet")
