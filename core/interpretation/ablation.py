"""Unit ablation: class scores after selected units are set to zero, or all others to their mean.

Where the units feed a single linear head, the scores follow exactly from pooled maps and weights.
Elsewhere the network runs again with the layer's output changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from core.images.working_images import PatchReader
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.inference import BATCH_SIZE
from core.networks import Classifier
from core.progress import ProgressCallback

NEAREST_UNITS = 10


class Ablation:
    """A classifier on fixed patches, with any units of one layer set to zero.

    Parameters
    ----------
    network : Classifier
        In evaluation mode.
    layer : str
        Layer of the units.
    reader : PatchReader
        n patches as uint8 batches [batch, 1, side, side].
    report : callable
        Called with (done, total, unit of progress) after each batch.
    batch : int
        Patches per forward pass.

    Attributes
    ----------
    exact : bool
        Whether scores are computed from pooled maps and weights, without another forward pass.
    means : ndarray, float32 [n, units]
        Mean of each unit's map on each patch; of the pooled positions if `exact`.
    maxima : ndarray, float32 [n, units]
        Largest value of each unit's map on each patch.
    logits : ndarray, float32 [n, classes]
        Logits of the unchanged classifier.

    References
    ----------
    Zhou et al. 2018, Revisiting the importance of individual units in CNNs via ablation.
    docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> from core.networks import build
    >>> class Patches:
    ...     def __len__(self):
    ...         return 2
    ...     def batch(self, rows):
    ...         return np.full((len(rows), 1, 64, 64), 100, np.uint8)
    >>> network = build("small", classes=3, units=8).eval().requires_grad_(False)
    >>> ablation = Ablation(network, "last", Patches(), lambda *_: None)
    >>> ablation.exact, ablation.logits_with_units_zeroed([0, 3]).shape
    (True, (2, 3))

    Without units only the bias is left:

    >>> bias = network.last_linear().bias.numpy()
    >>> bool(np.allclose(ablation.logits_with_units_zeroed(range(8)), bias, atol=1e-6))
    True
    """

    def __init__(
        self,
        network: Classifier,
        layer: str,
        reader: PatchReader,
        report: ProgressCallback,
        batch: int = BATCH_SIZE,
    ) -> None:
        self._network, self._layer, self._reader, self._batch = network, layer, reader, batch
        self.exact = network.single_linear and layer == "last"
        probe, means, maxima, logits = FeatureProbe(network, layer), [], [], []
        with torch.inference_mode(), probe.attached():
            for rows in self._batches():
                maps, last = probe.forward(torch.from_numpy(reader.batch(rows)))
                # The logits see these positions only, so that the arithmetic has to as well.
                pooled = maps[:, :, :7, :7] if self.exact and network.pool == "top_left_7" else maps
                means.append(pooled.mean((2, 3)).float().cpu())
                maxima.append(maps.amax((2, 3)).float().cpu())
                # Without the patients' columns: ablation concerns the image's part of the logits.
                logits.append(network.logits(last).float().cpu())
                report(int(rows[-1]) + 1, len(reader), "patches")
        self.means, self.logits = torch.cat(means).numpy(), torch.cat(logits).numpy()
        self.maxima = torch.cat(maxima).numpy()

    def _batches(self) -> list[np.ndarray]:
        n = len(self._reader)
        return [np.arange(start, min(start + self._batch, n)) for start in range(0, n, self._batch)]

    def logits_with_units_zeroed(self, units: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the logits float32 [n, classes] with these units at zero."""
        units = np.asarray(units, int)
        if self.exact:
            # logits = bias + sum over units of mean x weight: subtract the units' terms.
            weights = self._network.class_weights().numpy()
            return self.logits - self.means[:, units] @ weights[:, units].T
        index = torch.from_numpy(units)
        return self._forward_changed(
            lambda maps, axis: maps.index_fill(axis, index.to(maps.device), 0.0)
        )

    def logits_keeping_units(
        self, units: Sequence[int] | np.ndarray, fill: np.ndarray
    ) -> np.ndarray:
        """Return the logits float32 [n, classes] with all other units at a constant.

        fill: float [units of the layer], the constant of each unit that is not kept, such as its
        mean over other patches; it replaces the unit's map at every position.
        """
        is_kept = np.zeros(self.means.shape[1], bool)
        is_kept[np.asarray(units, int)] = True
        constant = np.asarray(fill, np.float32)
        if self.exact:
            weights = self._network.class_weights().numpy()
            bias = self._network.last_linear().bias
            offset = 0.0 if bias is None else bias.float().cpu().numpy()
            # Summed from the kept units and never as a difference from the full logits: units that
            # the head does not read then change nothing, not even by rounding.
            rest = offset + constant[~is_kept] @ weights[:, ~is_kept].T
            return self.means[:, is_kept] @ weights[:, is_kept].T + rest

        def replace_others(maps: Tensor, axis: int) -> Tensor:
            """Return the layer's output with the units that are not kept at their constant."""
            shape = [1] * maps.ndim
            shape[axis] = -1
            keep = torch.from_numpy(is_kept).to(maps.device).reshape(shape)
            values = torch.from_numpy(constant).to(maps).reshape(shape)
            return torch.where(keep, maps, values)

        return self._forward_changed(replace_others)

    @torch.inference_mode()
    def _forward_changed(self, change: Callable[[Tensor, int], Tensor]) -> np.ndarray:
        """Return the logits after a change of the layer's output; it gets the axis of units."""
        module, logits = self._network.layer(self._layer), []
        # The one layer without a module is computed exactly.
        assert module is not None
        axis = self._network.unit_axis

        def change_output(_module: object, _inputs: object, output: Tensor) -> Tensor:
            """Return the changed output of the layer."""
            return change(output, axis)

        handle = module.register_forward_hook(change_output)
        try:
            for rows in self._batches():
                maps = self._network.feature_maps(torch.from_numpy(self._reader.batch(rows)))
                logits.append(self._network.logits(maps).float().cpu())
        finally:
            handle.remove()
        return torch.cat(logits).numpy()


def sample_matched_units(
    activity: np.ndarray,
    units: np.ndarray,
    rng: np.random.Generator,
    nearest: int = NEAREST_UNITS,
) -> np.ndarray:
    """Return random units of similar activity, as controls for an ablation.

    Parameters
    ----------
    activity : ndarray, float [units of the layer]
        Mean activation of every unit.
    units : ndarray, int
        Units to match; they are never drawn.
    rng : numpy.random.Generator
        Source of randomness.
    nearest : int
        Each control is drawn among this many remaining units of closest activity.

    Returns
    -------
    ndarray, int
        As many distinct units as `units`, fewer if the layer has not enough others with positive
        activity.

    References
    ----------
    docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> activity = np.array([0.0, 1.0, 1.1, 5.0, 5.2])
    >>> rng = np.random.default_rng(0)
    >>> sorted(sample_matched_units(activity, np.array([1, 3]), rng, nearest=1).tolist())
    [2, 4]
    """
    # Units that never fire cannot change the logits and would make every control look weak.
    free = np.setdiff1d(np.flatnonzero(activity > 0), units)
    controls: list[int] = []
    # In random order, because the units that come first have the widest choice.
    for unit in rng.permutation(units):
        if not len(free):
            break
        order = free[np.argsort(np.abs(activity[free] - activity[unit]), kind="stable")[:nearest]]
        controls.append(int(rng.choice(order)))
        free = free[free != controls[-1]]
    return np.array(controls, int)
