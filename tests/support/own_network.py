"""A network of a user's own in the form of timm's convolutional classifiers.

timm's `create_model("resnet18", num_classes=classes)` has the same methods: `forward_features`,
`forward_head`, `get_classifier` and `num_features`, and its normalisation in `pretrained_cfg`.
"""

from __future__ import annotations

import torch
from torch import nn


class StandIn(nn.Module):
    """Two convolutions, global average pooling and a linear layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        self.num_features = 12
        self.conv1 = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, self.num_features, 3, stride=2, padding=1)
        self.act2 = nn.ReLU()
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maps [n, num_features, h', w']."""
        return self.act2(self.conv2(self.act1(self.conv1(x))))

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of maps."""
        return self.fc(x.mean((2, 3)))

    def get_classifier(self) -> nn.Linear:
        """Return the last layer."""
        return self.fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of normalised patches [n, 3, h, w]."""
        return self.forward_head(self.forward_features(x))


def create(classes: int) -> nn.Module:
    """Return the network, as the documentation's example does for timm."""
    module = StandIn(num_classes=classes)
    module.input_mean = module.pretrained_cfg["mean"]
    module.input_std = module.pretrained_cfg["std"]
    return module
