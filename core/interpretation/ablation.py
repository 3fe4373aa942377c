"""Units set to zero: what the network then says (issue of every explanation: is it true of the
network?).

Where the units feed a single linear head the answer is exact from pooled maps and weights alone;
elsewhere the layer's output is changed while the network runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core.images.working_images import PatchReader
from core.interpretation.inference import BATCH, Probe
from core.networks import Classifier
from core.runs import Report

NEAREST = 10


class Ablation:
    """A network on fixed patches, with any units of one layer set to zero. exact: answered by
    arithmetic instead of another pass.

    means float32 [patches, units]: each unit's mean over its map (over the pooled part for exact
    ones).
    """

    def __init__(
        self,
        network: Classifier,
        layer: str,
        reader: PatchReader,
        report: Report,
        batch: int = BATCH,
    ) -> None:
        self._network, self._layer, self._reader, self._batch = network, layer, reader, batch
        self.exact = network.single_linear and layer == "last"
        probe, means, logits = Probe(network, layer), [], []
        with torch.inference_mode(), probe.watching():
            for rows in self._rows():
                maps, last = probe.run(torch.from_numpy(reader.batch(rows)))
                pooled = maps[:, :, :7, :7] if self.exact and network.pool == "top_left_7" else maps
                means.append(pooled.mean((2, 3)).float().cpu())
                logits.append(network.logits(last).float().cpu())
                report(int(rows[-1]) + 1, len(reader), "patches")
        self.means, self.logits = torch.cat(means).numpy(), torch.cat(logits).numpy()

    def _rows(self) -> list[np.ndarray]:
        return [
            np.arange(s, min(s + self._batch, len(self._reader)))
            for s in range(0, len(self._reader), self._batch)
        ]

    def without(self, units: Sequence[int] | np.ndarray) -> np.ndarray:
        """Logits float32 [patches, classes] with these units at zero."""
        units = np.asarray(units, int)
        if self.exact:
            weights = self._network.class_weights().numpy()
            return self.logits - self.means[:, units] @ weights[:, units].T
        return self._again(units)

    @torch.inference_mode()
    def _again(self, units: np.ndarray) -> np.ndarray:
        index = torch.from_numpy(units)
        module, parts = self._network.layer(self._layer), []

        def zero(_module: object, _inputs: object, output: Tensor) -> Tensor:
            return output.index_fill(1, index.to(output.device), 0.0)

        handle = module.register_forward_hook(zero) if module is not None else None
        try:
            for rows in self._rows():
                maps = self._network.maps(torch.from_numpy(self._reader.batch(rows)))
                parts.append(
                    self._network.logits(
                        maps
                        if module is not None
                        else maps.index_fill(1, index.to(maps.device), 0.0)
                    )
                    .float()
                    .cpu()
                )
        finally:
            if handle is not None:
                handle.remove()
        return torch.cat(parts).numpy()


def matched(
    activity: np.ndarray, named: np.ndarray, rng: np.random.Generator, nearest: int = NEAREST
) -> np.ndarray:
    """As many other units as `named`, each drawn from the `nearest` free ones whose activity float
    [units] is closest to a named unit's; units that never fire are not drawn. Fewer where there are
    not enough units.
    """
    free = np.setdiff1d(np.flatnonzero(activity > 0), named)
    chosen = []
    for unit in rng.permutation(named):
        if not len(free):
            break
        order = free[np.argsort(np.abs(activity[free] - activity[unit]), kind="stable")[:nearest]]
        chosen.append(int(rng.choice(order)))
        free = free[free != chosen[-1]]
    return np.array(chosen, int)
