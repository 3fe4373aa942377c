"""Weight files: prefixes, other heads, number formats, safetensors, and files that do not fit."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from core import networks
from core.errors import UserError
from core.networks import checkpoints

State = dict[str, torch.Tensor]


@pytest.fixture
def small_state() -> State:
    torch.manual_seed(2)
    return networks.build("small", 3, units=8).net.state_dict()


def small(classes: int = 3) -> networks.Classifier:
    return networks.build("small", classes, units=8)


def equal(network: networks.Classifier, state: State, *, but: str = "") -> bool:
    own = network.net.state_dict()
    return all(torch.equal(own[k], v) for k, v in state.items() if not (but and k.startswith(but)))


def write_safetensors(state: State, path: Path) -> None:
    """Write a file after the published description of the format."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    names = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}
    for name, tensor in state.items():
        content = tensor.contiguous().numpy().tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "_orig_mod.", "backbone.", "model.module."]
)
def test_prefixes(prefix: str, small_state: State, tmp_path: Path) -> None:
    torch.save({f"{prefix}{k}": v for k, v in small_state.items()}, tmp_path / "w.pt")
    network = networks.build("small", 3, str(tmp_path / "w.pt"), units=8)
    assert equal(network, small_state)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_numbers_beside_the_weights(key: str, small_state: State, tmp_path: Path) -> None:
    content = {
        key: small_state,
        "best": np.float64(0.8),
        "epoch": np.int64(3),
        "done": np.bool_(True),
        "loss": np.float32(0.1),
    }
    torch.save(content, tmp_path / "w.pt")
    assert equal(networks.build("small", 3, str(tmp_path / "w.pt"), units=8), small_state)


def test_half_precision(small_state: State, tmp_path: Path) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in small_state.items()}
    for name, save in (("w.pt", torch.save), ("w.safetensors", write_safetensors)):
        save(half, tmp_path / name)
        network = networks.build("small", 3, str(tmp_path / name), units=8)
        assert network.net.fc.weight.dtype == torch.float32
        assert equal(network, {k: v.float() for k, v in half.items()}, but="features")


def test_safetensors(small_state: State, tmp_path: Path) -> None:
    write_safetensors({f"model.{k}": v for k, v in small_state.items()}, tmp_path / "weights.bin")
    assert equal(networks.build("small", 3, str(tmp_path / "weights.bin"), units=8), small_state)


def test_damaged_safetensors(small_state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(small_state, path)
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(UserError, match=r"w.safetensors is not a readable checkpoint \(fc.bias"):
        networks.read_state(path)
    path.write_bytes(content.replace(b'"F32"', b'"F99"', 1))
    with pytest.raises(UserError, match=r"not a readable checkpoint \(the entry of"):
        networks.read_state(path)
    text = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}'
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(UserError, match="a needs 4 bytes at -4 to 0"):
        networks.read_state(path)


def test_head_of_another_size_is_left_out_and_stated(small_state: State) -> None:
    thousand = small_state | {"fc.weight": torch.ones(1000, 8), "fc.bias": torch.ones(1000)}
    network = small()
    before = network.net.fc.weight.clone()
    left_out = checkpoints.load_body(network, thousand, "w.pt")
    assert left_out == ["fc.bias (1000,)", "fc.weight (1000, 8)"]
    assert equal(network, small_state, but="fc.") and torch.equal(network.net.fc.weight, before)
    body = {k: v for k, v in small_state.items() if not k.startswith("fc.")}
    assert checkpoints.load_body(small(), body, "w.pt") == []
    projection = small_state | {"projector.0.weight": torch.ones(4, 8)}
    assert checkpoints.load_body(small(), projection, "w.pt") == ["projector.0.weight (4, 8)"]
    network = small()
    assert checkpoints.load_body(network, small_state, "w") == []
    assert equal(network, small_state)


def test_deeper_network_is_not_a_body(small_state: State) -> None:
    deeper = small_state | {"features.20.weight": torch.ones(2)}
    for load in (checkpoints.load_body, checkpoints.load_state):
        with pytest.raises(UserError, match=r"w.pt is not a checkpoint of small: features.20"):
            load(small(), deeper, "w.pt")
    with pytest.raises(UserError, match="fc.weight is missing"):
        checkpoints.load_state(
            small(), {k: v for k, v in small_state.items() if k != "fc.weight"}, "w.pt"
        )
    with pytest.raises(UserError, match=r"features.0.weight is \(1,\), not"):
        checkpoints.load_body(small(), small_state | {"features.0.weight": torch.ones(1)}, "w")


def test_ambiguous_prefixes_are_refused(small_state: State) -> None:
    twice = small_state | {"model.fc.bias": torch.ones(3)}
    with pytest.raises(UserError, match="holds fc.bias twice"):
        checkpoints.load_state(small(), twice, "w.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_numbers_are_refused(value: float, small_state: State) -> None:
    small_state["features.0.weight"][0, 0, 0, 0] = value
    for load in (checkpoints.load_body, checkpoints.load_state):
        network = small()
        before = network.net.fc.bias.clone()
        with pytest.raises(UserError, match=r"values of features.0.weight that are not finite"):
            load(network, small_state, "w.pt")
        assert torch.equal(network.net.fc.bias, before)


def test_empty_state_is_refused(tmp_path: Path) -> None:
    for content in ({}, {"state_dict": {}}):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(UserError, match=r"w.pt holds no weights: its state dict is empty"):
            networks.read_state(tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"w.pt is not a readable checkpoint \(it is empty or ends"):
        networks.read_state(tmp_path / "w.pt")


def test_newer_file_format_is_named(small_state: State, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(small_state, buffer)
    with (
        zipfile.ZipFile(buffer) as source,
        zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_STORED) as target,
    ):
        for name in source.namelist():
            is_version = name.split("/")[-1] == "version"
            target.writestr(name, b"99\n" if is_version else source.read(name))
    with pytest.raises(UserError, match="written in version 99 of PyTorch's file format"):
        networks.read_state(tmp_path / "w.pt")


def test_old_densenet_names_and_auxiliary_classifiers() -> None:
    network = networks.build("densenet121", 2)
    state = network.net.state_dict()
    # torchvision's DenseNet files have "norm.1" for today's "norm1".
    old = {}
    for key, value in state.items():
        for part in ("norm", "conv"):
            for number in "12":
                if "denselayer" in key:
                    key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        old[key] = value
    assert sum(".norm.1." in key for key in old) > 100
    assert checkpoints.load_body(network, old, "w") == []
    inception = networks.build("inception_v3", 2)
    state = inception.net.state_dict() | {"AuxLogits.fc.weight": torch.ones(1000, 768)}
    checkpoints.load_state(inception, state, "w")
