"""Running a trained network: over patches, and over whole mammograms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import distributed, runs, store
from core.errors import UserError
from core.images.working_images import Films, PatchReader
from core.networks import Classifier, FullyConvolutional, auxiliary_inputs, build, join, read_state
from core.networks.auxiliary_inputs import Columns
from core.networks.device import device
from core.settings import TrainingSettings
from core.store import dataset_table, run_table

BATCH = 64


def load(study: Path, run: str) -> Classifier:
    """The network of a train run with the weights it keeps, in evaluation mode, channels last.

    UserError if its checkpoint changed since.
    """
    row = distributed.once(lambda: _trained(study, run))
    settings = TrainingSettings.model_validate(row["settings"]["training"])
    path = runs.folder(study, run) / row["manifest"]["weights"]
    if runs.file_hash(path) != row["manifest"]["checkpoint"]:
        raise UserError(
            f"{path} is not the checkpoint that {run} made (its hash differs); restore it or train"
            " again."
        )
    network = build(
        settings.architecture, row["settings"]["classes"], str(path), settings.units, settings.pool
    )
    network.precision = settings.precision
    join(network, auxiliary_inputs.from_plain(row["manifest"].get("auxiliary", [])))
    if network.auxiliary is not None:
        network.restore(read_state(path))
    network.requires_grad_(False).eval().to(device())
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _trained(study: Path, run: str) -> dict[str, Any]:
    with store.read(study) as con:
        return run_table.get(con, run)


def patient_numbers(
    study: Path, columns: Columns, patients: Sequence[str] | pd.Series
) -> np.ndarray | None:
    """float32 [n, numbers]: the auxiliary columns of these patients (one a patch or a mammogram) as
    a network takes them; None where it takes none.
    """
    if not columns.columns:
        return None
    table = patient_table(study)
    rows = pd.Index(table["patient_id"]).get_indexer(list(patients))
    return columns.encode(table)[rows]


@distributed.by_first
def patient_table(study: Path) -> pd.DataFrame:
    """patient_id and every auxiliary column of the study's patients, in order of patient_id."""
    with store.read(study) as con:
        return auxiliary_inputs.patient_columns(dataset_table.patients(con)).sort_values(
            "patient_id", ignore_index=True
        )


@torch.inference_mode()
def predict(
    network: Classifier,
    reader: PatchReader,
    report: runs.Report,
    batch: int = BATCH,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """Softmax probabilities float32 [n, classes] of every patch of the reader, in order. columns:
    float32 [n, numbers] of their patients.
    """
    out = np.empty((len(reader), network.classes), np.float32)

    def answer(rows: np.ndarray) -> np.ndarray:
        some = None if columns is None else torch.from_numpy(columns[rows])
        return network(torch.from_numpy(reader.batch(rows)), some).softmax(1).cpu().numpy()

    for rows, p in distributed.dealt(distributed.blocks(len(reader), batch), answer):
        out[rows] = p
        report(int(rows[-1]) + 1, len(reader), "patches")
    return out


class Probe:
    """Catches the output of one layer while a network runs.

    `with probe: network.maps(x)`, then `probe.maps` [n, units, h, w].
    """

    def __init__(self, network: Classifier, layer: str) -> None:
        self.network, self.name = network, layer
        self._module = network.layer(layer)
        self.maps: Tensor | None = None

    @contextmanager
    def watching(self) -> Iterator[Probe]:
        """Hooks live only inside this block."""
        if self._module is None:
            yield self
            return
        handle = self._module.register_forward_hook(self._keep)
        try:
            yield self
        finally:
            handle.remove()

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        # A following in-place ReLU would change the tensor that was caught.
        self.maps = output.clone()

    def run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(this layer's maps, the last maps) of x [n, 1, h, w]; call inside `watching()`."""
        last = self.network.maps(x)
        return (last if self._module is None else self.maps), last  # type: ignore[return-value]


@dataclass(frozen=True)
class FilmMaps:
    """One mammogram through the network: units float32 [units, h, w] of the probed layer, logits
    float32 [classes, h', w'] of the class map (the patient's columns included), weights float32 [1
    + columns] of the image and the columns (none without columns).
    """

    units: Tensor
    logits: Tensor
    weights: np.ndarray | None = None

    @property
    def probabilities(self) -> np.ndarray:
        """Class probability maps float32 [classes, h', w']."""
        return self.logits.softmax(0).numpy()


def as_tensor(film: np.ndarray) -> Tensor:
    """A working image uint8 [h, w], memory-mapped read-only, as a tensor [1, 1, h, w] of its own."""
    return torch.from_numpy(np.array(film))[None, None]


@torch.inference_mode()
def film_maps(
    full: FullyConvolutional, probe: Probe, film: np.ndarray, columns: np.ndarray | None = None
) -> FilmMaps:
    """The whole mammogram uint8 [h, w] in one pass; columns: float32 [numbers] of its patient,
    whose part in the logits is the same at every position.
    """
    with probe.watching():
        units, last = probe.run(as_tensor(film))
        # Left in the network's own memory order: turning millions of values round costs more than
        # all that is done with them.
        maps = FilmMaps(units[0].float().cpu(), full.from_maps(last)[0].float().cpu())
        if columns is None or full.network.auxiliary is None:
            return maps
        factor, added, weights = (
            part[0].cpu() for part in full.network.attention(last, torch.from_numpy(columns)[None])
        )
        return FilmMaps(maps.units, factor * maps.logits + added[:, None, None], weights.numpy())


def tissue_positions(tissue: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool [h', w']: positions of a map at least half of whose cell is tissue; the fullest one
    where no cell is half full. UserError-free: a film without any tissue gives an all-false array.
    """
    share = F.adaptive_avg_pool2d(torch.from_numpy(tissue.astype(np.float32))[None, None], shape)[
        0, 0
    ].numpy()
    if share.max() <= 0:
        return np.zeros(shape, bool)
    return share >= min(0.5, float(share.max()))


def influences(
    network: Classifier,
    full: FullyConvolutional,
    probe: Probe,
    films: Films,
    files: Sequence[str],
    report: runs.Report,
) -> np.ndarray:
    """float32 [images, classes, units] over whole mammograms.

    For single-linear networks and their last layer activation x weight, otherwise activation x
    gradient.
    """
    linear = network.single_linear and probe.name == "last"
    weights = network.class_weights().numpy() if linear else None

    def one(file: str) -> np.ndarray:
        """The influences of one film."""
        if weights is not None:
            return film_maps(full, probe, films[file]).units.amax((1, 2)).numpy() * weights
        return by_gradient(full, probe, films[file])

    rows = []
    for i, (_, row) in enumerate(distributed.dealt(list(files), one)):
        rows.append(row)
        report(i + 1, len(files), "mammograms")
    return np.stack(rows).astype(np.float32)


def by_gradient(full: FullyConvolutional, probe: Probe, film: np.ndarray) -> np.ndarray:
    """float32 [classes, units]: largest over positions of activation x gradient of the class logit
    (the class map's spatial mean) on film uint8 [h, w].
    """
    module = probe.network.layer(probe.name)
    caught: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
        """The layer's hook: keeps its output for the gradient."""
        # A leaf in the middle of the graph: the gradient is wanted with respect to the maps, not to
        # any weight. A copy goes on, for in-place layers.
        caught.append(output.detach().requires_grad_(True))
        return caught[-1].clone()

    with torch.enable_grad():
        x = as_tensor(film)
        if module is None:
            caught.append(full.network.maps(x).detach().requires_grad_(True))
            logits = full.from_maps(caught[0])
        else:
            handle = module.register_forward_hook(keep)
            try:
                logits = full(x)
            finally:
                handle.remove()
        means = logits.mean((2, 3))[0]
        gradients = [torch.autograd.grad(mean, caught[0], retain_graph=True)[0] for mean in means]
        return np.stack(
            [
                (caught[0] * gradient).detach().amax((2, 3))[0].float().cpu().numpy()
                for gradient in gradients
            ]
        )
