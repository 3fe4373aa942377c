"""Inference engines that a user could run in place of the product, as references.

ONNX Runtime and OpenVINO are measured where they are installed (`pip install ".[bench]"`).
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.networks import Classifier

with warnings.catch_warnings():
    # The module imports parts of torch that are deprecated; its function `fuse` is not.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch.fx.experimental import optimization

Engine = Callable[[], object]
PYTORCH, ONNX_RUNTIME, OPENVINO = "PyTorch, folded", "ONNX Runtime", "OpenVINO"


class UnitMaxima(nn.Module):
    """The maxima [n, units] of the last maps of normalised patches."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.body = plain_body(network)
        self.mean, self.std = (nn.Parameter(t, False) for t in (network.mean, network.std))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima of x float32 [n, 1, h, w] in 0..255."""
        return self.body((x - self.mean) / self.std).amax((2, 3))


class ClassMaps(nn.Module):
    """The last maps and the class maps of a normalised film."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.body = plain_body(network)
        self.mean, self.std = (nn.Parameter(t, False) for t in (network.mean, network.std))
        head = network.last_linear()
        self.head = nn.Conv2d(head.in_features, head.out_features, 1)
        self.head.load_state_dict(
            {"weight": head.weight[..., None, None], "bias": head.bias}  # type: ignore[dict-item]
        )
        self.head.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps and class maps of x float32 [1, 1, h, w] in 0..255."""
        maps = self.body((x - self.mean) / self.std)
        return maps, self.head(maps)


def plain_body(network: Classifier) -> nn.Sequential:
    """Return the body of a network in torchvision's modules, batch normalisation folded."""
    names = network.family.body
    parts = [network.net.get_submodule(name) for name in names] if names else [network.net.features]
    folded = optimization.fuse(nn.Sequential(*parts).eval())  # type: ignore[arg-type]
    return folded.to(memory_format=torch.channels_last)  # type: ignore[return-value]


def missing_engines() -> list[str]:
    """Return the engines that are not installed."""
    modules = {ONNX_RUNTIME: ("onnxruntime", "onnx"), OPENVINO: ("openvino",)}
    return [
        engine
        for engine, needed in modules.items()
        if any(importlib.util.find_spec(module) is None for module in needed)
    ]


def inference_engines(network: nn.Module, x: Tensor) -> dict[str, Engine]:
    """Return the engines that are installed, each as a call that computes the network on x.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, without gradients.
    x : Tensor
        Input of the only shape that is computed.

    Returns
    -------
    dict of str to callable
        Each call computes in float32 with as many threads as torch uses.
    """
    network.eval().requires_grad_(False)
    nearby = x.contiguous(memory_format=torch.channels_last)

    def run_torch() -> object:
        """Compute the network without gradients."""
        with torch.inference_mode():
            return network(nearby)

    engines: dict[str, Engine] = {PYTORCH: run_torch}
    missing = missing_engines()
    if ONNX_RUNTIME not in missing:
        engines[ONNX_RUNTIME] = _onnx_runtime(network, x)
    if OPENVINO not in missing:
        engines[OPENVINO] = _openvino(network, x)
    return engines


def _onnx_runtime(network: nn.Module, x: Tensor) -> Engine:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter that needs no further package is announced as legacy.
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network, (x,), str(path), dynamo=False, opset_version=17)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, inputs)


def _openvino(network: nn.Module, x: Tensor) -> Engine:
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces with torch's deprecated tracer
        model = openvino.convert_model(network, example_input=x, input=[tuple(x.shape)])
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    pixels = x.numpy()
    return lambda: request.infer([pixels])
