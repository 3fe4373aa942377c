"""How exactly the mean of the class map is the logit, for each architecture of torchvision.

    python -m benchmarks.class_maps [ARCHITECTURE ...]

Weights are random, and the input is one random image whose sides are no multiple of any stride. The
difference is relative to the largest logit. The figures stand in `docs/guides/networks.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch

from core import networks
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram

ARCHITECTURES = (
    *("resnet18", "resnet50", "resnet152", "densenet121", "inception_v3", "googlenet"),
    *("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"),
    *("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    *("squeezenet1_0", "squeezenet1_1"),
)
_SHAPE = (150, 203)  # above the least input of Inception-v3


def relative_error(arch: str, seed: int = 7) -> float:
    """Return the largest difference between logit and mean of the class map."""
    torch.manual_seed(seed)
    network = networks.build(arch, 3).eval().requires_grad_(False)
    pixels = np.random.default_rng(seed).integers(0, 256, _SHAPE, np.uint8)
    full, probe = networks.to_fully_convolutional(network), FeatureProbe(network, "last")
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels)[None, None])[0]
    maps = forward_mammogram(full, probe, pixels)
    return float((maps.logits.mean((1, 2)) - logits).abs().max() / logits.abs().max())


def main(architectures: Sequence[str]) -> None:
    """Print a row of a table for each architecture."""
    print("| architecture | relative difference |\n|---|---|")
    for arch in architectures or ARCHITECTURES:
        print(f"| {arch} | {relative_error(arch):.1e} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
