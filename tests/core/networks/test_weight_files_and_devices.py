"""Devices, number formats of weight files, checks of own modules, and the attention's formula."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from core.errors import UserError
from core.networks import checkpoints, device, own_modules
from core.networks.auxiliary_inputs import AuxiliaryAttention
from core.networks.classifier import Classifier
from core.networks.safetensors_files import is_safetensors, read_safetensors


def test_attention_by_its_formula() -> None:
    torch.manual_seed(6)
    block = AuxiliaryAttention(4, 2, [2, 3], size=5)
    pooled, columns = torch.randn(3, 4), torch.randn(3, 5)
    factor, added, weights = block(pooled, columns)
    assert torch.allclose(weights, torch.full((3, 3), 1 / 3)) and not added.any()
    assert torch.allclose(factor, torch.ones(3, 1))
    nn.init.normal_(block.score.weight)
    nn.init.normal_(block.value.weight)
    tokens = [block.image(pooled), block.tokens[0](columns[:, :2]), block.tokens[1](columns[:, 2:])]
    scores = torch.stack([token.tanh() @ block.score.weight[0] for token in tokens], 1)
    shares = scores.exp() / scores.exp().sum(1, keepdim=True)
    values = [token.tanh() @ block.value.weight.T for token in tokens]
    expected = 3 * (shares[:, 1:2] * values[1] + shares[:, 2:] * values[2])
    factor, added, weights = block(pooled, columns)
    assert torch.allclose(weights, shares, atol=1e-6)
    assert torch.allclose(factor[:, 0], 3 * shares[:, 0], atol=1e-6)
    assert torch.allclose(added, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("variables", "gpus", "chosen"),
    [
        ({}, 2, "cpu"),
        ({"DEEPMINER_DEVICE": "cpu"}, 2, "cpu"),
        ({"DEEPMINER_DEVICE": "auto"}, 0, "cpu"),
        ({"DEEPMINER_DEVICE": "auto"}, 1, "cuda:0"),
        ({"DEEPMINER_DEVICE": "cuda"}, 1, "cuda:0"),
        ({"DEEPMINER_DEVICE": "cuda", "LOCAL_RANK": "1"}, 2, "cuda:1"),
        ({"DEEPMINER_DEVICE": "cuda", "LOCAL_RANK": "2"}, 2, "2 GPUs for process 3"),
    ],
)
def test_choice_of_the_device(
    variables: dict[str, str], gpus: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []
    for name in ("DEEPMINER_DEVICE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "set_device", numbers.append)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    if "GPUs" in chosen:
        with pytest.raises(UserError, match=chosen):
            device.select_device()
        return
    assert device.select_device() == torch.device(chosen)
    is_gpu = chosen != "cpu"
    assert torch.backends.cudnn.deterministic == is_gpu
    assert numbers == ([int(chosen[-1])] if is_gpu else [])


NUMBERS = [
    ("F64", torch.float64, "<d"), ("F32", torch.float32, "<f"), ("F16", torch.float16, "<e"),
    ("I64", torch.int64, "<q"), ("I32", torch.int32, "<i"), ("I16", torch.int16, "<h"),
    ("I8", torch.int8, "<b"), ("U8", torch.uint8, "<B"), ("BOOL", torch.bool, "<?"),
]  # fmt: skip


def test_number_formats_of_safetensors(tmp_path: Path) -> None:
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    data = b"\x80\x3f"  # 1 in bfloat16
    header["BF16"] = {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]}
    header["none"] = {"dtype": "F32", "shape": [0, 3], "data_offsets": [2, 2]}
    for name, _, code in NUMBERS:
        content = struct.pack(code, 1) + struct.pack(code, 0)
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": name, "shape": [2, 1], "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path = tmp_path / "w"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert is_safetensors(path)
    state = read_safetensors(path)
    assert list(state) == ["BF16", "none", *(name for name, _, _ in NUMBERS)]
    assert state["BF16"].dtype == torch.bfloat16 and state["BF16"].item() == 1
    assert state["none"].shape == (0, 3) and state["none"].dtype == torch.float32
    for name, kind, _ in NUMBERS:
        assert state[name].dtype == kind and state[name].tolist() == [[1], [0]]
    # A header as long as the file, and one that is longer.
    for length, is_one in ((2, True), (3, False)):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        assert is_safetensors(path) == is_one
    path.write_bytes(struct.pack("<Q", 2) + b"[]")
    assert not is_safetensors(path)


@pytest.mark.parametrize("offsets", [[4, 0], [0, 5], [2, 6], [0, 3]])
def test_ranges_outside_the_file(offsets: list[int], tmp_path: Path) -> None:
    header = {"a": {"dtype": "U8", "shape": [4], "data_offsets": offsets}}
    text = json.dumps(header).encode()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(text)) + text + b"1234")
    with pytest.raises(ValueError, match=f"a needs 4 bytes at {offsets[0]} to {offsets[1]}"):
        read_safetensors(tmp_path / "w")


def test_versions_of_files(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pt")
    assert checkpoints._format_version(tmp_path / "w.pt") == checkpoints._written_version() >= 3
    (tmp_path / "text").write_text("3")
    assert checkpoints._format_version(tmp_path / "text") == 0


def test_size_of_the_head() -> None:
    """The last bias of one dimension, whatever weights follow it."""
    state = {"a.bias": torch.zeros(9), "fc.bias": torch.zeros(3), "norm.weight": torch.zeros(7)}
    assert checkpoints.head_size(state) == 3
    assert checkpoints.head_size(state | {"grid.bias": torch.zeros(2, 5)}) == 3


class Plain(nn.Module):
    """A network of the contract whose logits are a multiple of the class map's mean."""

    factor = 1.0

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body, self.fc = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4, classes)
        self.shapes: list[tuple[int, ...]] = []

    def forward_features(self, x: Tensor) -> Tensor:
        assert not self.training
        self.shapes.append(tuple(x.shape))
        return self.body(x)

    def get_classifier(self) -> nn.Linear:
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.fc(self.body(x).mean((2, 3)))


@pytest.mark.parametrize("is_training", [True, False])
def test_check_of_own_modules(is_training: bool) -> None:
    torch.manual_seed(1)
    module = Plain(2).train(is_training)
    for factor in (1.0, 1.00008):
        module.factor = factor
        own_modules.check_class_map("a:b", module, 2, 3, 21)
        assert module.training == is_training
    assert module.shapes == [(2, 3, 21, 31)] * 2
    module.factor = 1.00015
    with pytest.raises(UserError, match=r"The class map of a:b is not its logit.*differs by"):
        own_modules.check_class_map("a:b", module, 2, 3, 21)
    with pytest.raises(UserError, match=r"cannot compute inputs of 21 x 31 px"):
        own_modules.check_class_map("a:b", module, 2, 4, 21)
    assert module.training == is_training


def test_source_of_own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("own_module_of_a_test")
    module.Plain = Plain  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    expected = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert own_modules.source_hash("own_module_of_a_test:Plain") == expected
    assert isinstance(own_modules.create_own_module("own_module_of_a_test:Plain", 2), Plain)
    network = Classifier("own_module_of_a_test:Plain", 2, Plain(2))
    # Without statements of its own, ImageNet's normalisation and the papers' side.
    assert network.input_side == 227 and network.single_linear and network.unit_axis == 1
    assert network.mean.flatten().tolist() == pytest.approx([255 * 0.485, 255 * 0.456, 255 * 0.406])
    assert network.head_parameters() == ["fc.weight", "fc.bias"] and network.unit_count == 4
