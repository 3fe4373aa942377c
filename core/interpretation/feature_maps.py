"""Feature maps of one layer, and whole mammograms in one pass of the fully convolutional form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.interpretation.localization import cell_coverage
from core.networks import Classifier, FullyConvolutional


class FeatureProbe:
    """Access to the output of one layer while a classifier runs.

    Examples
    --------
    >>> import torch
    >>> from core.networks import build
    >>> network = build("small", classes=2, units=8).eval()
    >>> probe = FeatureProbe(network, "features.6")
    >>> with probe.attached():
    ...     layer_maps, last_maps = probe.forward(torch.zeros(1, 1, 64, 64))
    >>> tuple(layer_maps.shape), tuple(last_maps.shape)
    ((1, 32, 16, 16), (1, 8, 8, 8))
    """

    def __init__(self, network: Classifier, layer: str) -> None:
        self.network, self.layer = network, layer
        self._module = network.layer(layer)
        # The fused form of the network gives its last maps only.
        inside = self._module is not None and network.fused is not None
        self._fused = network.fused_form(self._module) if inside else None
        self._maps: Tensor | None = None

    @contextmanager
    def attached(self) -> Iterator[FeatureProbe]:
        """Make the layer's output available for the duration of this block."""
        if self._module is None:
            yield self
            return
        if self._fused is not None:
            last_only, self.network.fused = self.network.fused, self._fused
            try:
                yield self
            finally:
                self.network.fused = last_only
            return
        handle = self._module.register_forward_hook(self._store_output)
        try:
            yield self
        finally:
            handle.remove()

    def _store_output(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        # A copy: an in-place ReLU behind the layer would change the stored tensor.
        self._maps = output.clone()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return this layer's maps and the last maps of x [n, 1, h, w]; needs `attached()`."""
        last = self.network.feature_maps(x)
        if self._module is None:
            return last, last
        maps = self._maps if self._fused is None else self._fused.layer_output
        assert maps is not None, "FeatureProbe.forward outside of attached()"
        return self.network.layer_maps(maps, (x.shape[2], x.shape[3])), last


@dataclass(frozen=True)
class MammogramMaps:
    """Maps of one mammogram.

    units: float32 [units, h, w] of the probed layer; logits: float32 [classes, h', w'] of the class
    map, the patient's columns included; weights: float32 [1 + columns], the attention weights of
    the image and the columns, None without columns.
    """

    units: Tensor
    logits: Tensor
    weights: np.ndarray | None = None

    @property
    def probabilities(self) -> np.ndarray:
        """Class probability maps float32 [classes, h', w']."""
        return self.logits.softmax(0).numpy()


def mammogram_tensor(mammogram: np.ndarray) -> Tensor:
    """Return a working image uint8 [h, w] or [h, w, 3] as a tensor [1, 1 or 3, h, w].

    The pixels are copied, because tensors on read-only memory maps are not supported.
    """
    pixels = torch.from_numpy(np.array(mammogram))
    return pixels[None, None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)[None]


@torch.inference_mode()
def forward_mammogram(
    full: FullyConvolutional,
    probe: FeatureProbe,
    mammogram: np.ndarray,
    columns: np.ndarray | None = None,
) -> MammogramMaps:
    """Compute unit maps and class maps of a whole mammogram in one pass.

    Parameters
    ----------
    full : FullyConvolutional
        Fully convolutional form of the probed classifier.
    probe : FeatureProbe
        Layer whose unit maps are returned.
    mammogram : ndarray, uint8 [h, w] or [h, w, 3]
        Working image.
    columns : ndarray, float32 [encoded width], optional
        The patient's auxiliary columns. Their part of the logits is the same at every position.

    Returns
    -------
    MammogramMaps
        On the CPU.

    References
    ----------
    Zhou et al. 2016, Learning deep features for discriminative localization, section 2.
    docs/reference/definitions.md, "Networks".

    Examples
    --------
    >>> import numpy as np
    >>> from core.networks import build, to_fully_convolutional
    >>> network = build("small", classes=3, units=8).eval()
    >>> maps = forward_mammogram(
    ...     to_fully_convolutional(network),
    ...     FeatureProbe(network, "last"),
    ...     np.zeros((96, 80), np.uint8),
    ... )
    >>> tuple(maps.units.shape), maps.probabilities.shape
    ((8, 12, 10), (3, 12, 10))
    """
    with probe.attached():
        units, last = probe.forward(mammogram_tensor(mammogram))
        # Kept in the network's memory order (channels last): reordering millions of values costs
        # more than everything that is computed from them.
        maps = MammogramMaps(units[0].float().cpu(), full.from_maps(last)[0].float().cpu())
        if columns is None or full.network.auxiliary is None:
            return maps
        factor, added, weights = (
            part[0].cpu() for part in full.network.attention(last, torch.from_numpy(columns)[None])
        )
        return MammogramMaps(
            maps.units, factor * maps.logits + added[:, None, None], weights.numpy()
        )


def tissue_positions(tissue: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the map positions that count as tissue, bool [h', w'].

    Those whose cell is at least half tissue; if no cell is, the one with most tissue. Without any
    tissue all positions are false.

    Parameters
    ----------
    tissue : ndarray, bool [h, w]
        Breast tissue of the working image.
    shape : tuple of int
        Height and width of the map.

    Returns
    -------
    ndarray, bool [h', w']

    References
    ----------
    docs/reference/definitions.md, "Image and case scores".

    Examples
    --------
    >>> import numpy as np
    >>> tissue = np.zeros((4, 4), bool)
    >>> tissue[:, :2] = True
    >>> tissue_positions(tissue, (2, 2))
    array([[ True, False],
           [ True, False]])
    """
    share = cell_coverage(tissue, shape)
    if share.max() <= 0:
        return np.zeros(shape, bool)
    # A small breast may fill no cell to a half; the fullest cell then counts.
    return share >= min(0.5, float(share.max()))
