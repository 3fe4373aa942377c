"""Number format of the pass that ranks the patches of every unit.

Ranking needs fewer digits than the numbers that are stored, so that the pass over all patches may
run in bfloat16. It then names more patches per unit than are kept, and float32 decides among these:
every activation and map of a dissection is computed in the network's own format. bfloat16 is chosen
only after a comparison of both formats on a sample of the study's patches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core import distributed
from core.atomic_files import write_text
from core.class_labels import ClassDefinition
from core.images.working_images import PatchReader
from core.interpretation.dissection import (
    TOP_PATCH_COUNT,
    TopPatches,
    compute_max_activations,
    compute_top_maps,
    compute_top_maps_and_maxima,
    compute_top_patches,
)
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.inference import BATCH_SIZE
from core.networks import Classifier
from core.progress import ProgressCallback

FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Twice as many as are kept. bfloat16 has 8 significant bits, so that activations within .4 % of
# each other may change places. On patches of the demonstration at most 103 candidates were needed.
CANDIDATE_COUNT = 128
# Half of the margin, because the activations of a whole study lie closer together.
SAMPLE_CANDIDATES = 96
SAMPLE_PATCHES = 1024
# The comparison computes the sample in both formats, about 1.5 passes of float32. From 16 times the
# sample on it costs less than a tenth of the pass, of which bfloat16 saves up to half.
LEAST_PATCHES = 16 * SAMPLE_PATCHES
# One unit of the last decimal place in which AUCs are printed.
LARGEST_AUC_DIFFERENCE = 0.001
# Names of torch's processor capabilities: x86 with AVX-512 or AMX, and Arm.
_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16")


@dataclass(frozen=True, kw_only=True)
class FormatComparison:
    """What bfloat16 changes on a sample of patches.

    auc_differences: |AUC in bfloat16 - AUC in float32| of each class, None where the sample has no
    patches of the class or none of any other; shared_top: the least share, over the units, of the
    top patches that is the same; same_selection: whether the rule of selection takes the same from
    the patches.
    """

    patches: int
    auc_differences: dict[str, float | None]
    shared_top: float
    same_selection: bool

    def objection(self) -> str | None:
        """Return the first criterion that speaks against bfloat16, None if all are met."""
        for name, difference in self.auc_differences.items():
            if difference is None:
                return f"the sample gives no AUC of {name}"
            # Also refuses NaN.
            if not difference <= LARGEST_AUC_DIFFERENCE:
                return f"the AUC of {name} differs by {difference:.5f} on the sample"
        if self.shared_top < 1:
            return f"a unit shares only {100 * self.shared_top:.1f} % of its top patches"
        if not self.same_selection:
            return "other units would be selected on the sample"
        return None


@dataclass(frozen=True, kw_only=True)
class RankingFormat:
    """The number format that ranks patches, why, and the comparison that was made."""

    format: str
    reason: str
    comparison: dict[str, Any] | None = None


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; without them it is slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _CAPABILITIES)


def choose_ranking_format(
    setting: str,
    network: Classifier,
    patches: int,
    compare: Callable[[], FormatComparison],
) -> RankingFormat:
    """Return the number format in which the patches of a study are ranked, and the reason.

    Parameters
    ----------
    setting : {"auto", "float32", "bfloat16"}
        The setting `dissection.ranking_format`.
    network : Classifier
        The dissected network on its device.
    patches : int
        Patches to rank.
    compare : callable
        Returns the comparison of both formats on a sample. Called only where it decides.

    Examples
    --------
    >>> from core.networks import build
    >>> network = build("small", classes=3, units=8).eval()
    >>> choose_ranking_format("auto", network, 500, compare=None).reason
    '500 patches are fewer than 16,384, from which the comparison of formats pays'
    """
    if network.precision == BFLOAT16:
        return RankingFormat(
            format=BFLOAT16, reason="training.precision is bfloat16 and holds for all steps"
        )
    if setting != "auto":
        return RankingFormat(format=setting, reason="set by dissection.ranking_format")
    if patches < LEAST_PATCHES:
        reason = (
            f"{patches:,} patches are fewer than {LEAST_PATCHES:,}, from which the comparison of"
            " formats pays"
        )
        return RankingFormat(format=FLOAT32, reason=reason)
    # Every process of the command must come to the same decision.
    if not all(distributed.all_gather_call(lambda: computes_bfloat16(network.mean.device))):
        return RankingFormat(format=FLOAT32, reason="the processor has no bfloat16 instructions")
    comparison = compare()
    measured, objection = asdict(comparison), comparison.objection()
    if objection is not None:
        return RankingFormat(format=FLOAT32, reason=objection, comparison=measured)
    reason = "a sample of the patches gives the same ranking and selection"
    return RankingFormat(format=BFLOAT16, reason=reason, comparison=measured)


@contextmanager
def number_format(network: Classifier, precision: str) -> Iterator[None]:
    """Run a network in another number format for the duration of this block.

    A `FeatureProbe` takes the format in which its network is when the probe is created.
    """
    before = network.precision, network.fused, network.inference
    try:
        if precision != network.precision:
            network.precision = precision
            network.fuse()
        yield
    finally:
        network.precision, network.fused, network.inference = before


def draw_sample(patches: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return a random sample of the patches on which the formats are compared, in their order."""
    # The second number separates this stream from other draws of the same study seed.
    rng = np.random.default_rng([seed, 41])
    rows = rng.choice(len(patches), min(SAMPLE_PATCHES, len(patches)), replace=False)
    return patches.iloc[np.sort(rows)]


def compare_formats(
    probe: FeatureProbe,
    reader: PatchReader,
    labels: np.ndarray,
    classes: ClassDefinition,
    selection: Callable[[np.ndarray, TopPatches], object],
    report: ProgressCallback,
) -> FormatComparison:
    """Compute a sample of patches in float32 and in bfloat16, and compare what follows from them.

    Parameters
    ----------
    probe : FeatureProbe
        Layer of the dissected units, of a network in float32.
    reader : PatchReader
        The n patches of the sample.
    labels : ndarray, int [n]
        Their output of the network.
    classes : ClassDefinition
        What the outputs of the network are.
    selection : callable
        Returns what the study's rule of selection takes from activations [n, units] and the top
        patches.
    report : callable
        Called with (done, total, unit of progress) after each batch.

    Returns
    -------
    FormatComparison

    Examples
    --------
    >>> import numpy as np
    >>> from core.class_labels import MAMMOGRAPHY
    >>> from core.networks import build
    >>> class Patches:
    ...     def __len__(self):
    ...         return 6
    ...     def batch(self, rows):
    ...         return np.ones((1, 1, 64, 64), np.uint8) * rows[:, None, None, None]
    >>> network = build("small", classes=3, units=8).requires_grad_(False).eval()
    >>> comparison = compare_formats(
    ...     FeatureProbe(network, "last"),
    ...     Patches(),
    ...     np.array([0, 0, 1, 1, 2, 2]),
    ...     MAMMOGRAPHY,
    ...     lambda activations, top: [],
    ...     lambda *_: None,
    ... )
    >>> comparison.shared_top, comparison.same_selection
    (1.0, True)
    """
    # scikit-learn, which computes AUCs, would delay the start of steps that compare nothing.
    from core.training import class_aucs

    activations, probabilities = _forward_sample(probe, reader, report)
    with number_format(probe.network, BFLOAT16):
        rounded_probe = FeatureProbe(probe.network, probe.layer)
        rounded, rounded_probabilities = _forward_sample(rounded_probe, reader, report)
    top = compute_top_patches(activations)
    candidates = compute_top_patches(rounded, SAMPLE_CANDIDATES)
    reranked = keep_largest(
        TopPatches(candidates.rows, np.take_along_axis(activations.T, candidates.rows, 1))
    )
    same = (top.rows[:, :, None] == reranked.rows[:, None]).any(2)
    aucs, rounded_aucs = (
        class_aucs(labels, values, classes) for values in (probabilities, rounded_probabilities)
    )
    return FormatComparison(
        patches=len(reader),
        auc_differences={
            name.removeprefix("auc_"): _difference(auc, rounded_aucs[name])
            for name, auc in aucs.items()
        },
        shared_top=float(same.mean(1).min()),
        same_selection=selection(activations, top) == selection(rounded, reranked),
    )


@torch.inference_mode()
def _forward_sample(
    probe: FeatureProbe, reader: PatchReader, report: ProgressCallback
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum activations [n, units] and class probabilities [n, classes] of patches."""
    network = probe.network

    def forward_batch(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the maxima and probabilities of these rows."""
        maps, last = probe.forward(torch.from_numpy(reader.batch(rows)))
        probabilities = network.logits(last).softmax(1)
        return maps.amax((2, 3)).float().cpu().numpy(), probabilities.float().cpu().numpy()

    maxima, probabilities = [], []
    batches = distributed.row_blocks(len(reader), BATCH_SIZE)
    with probe.attached():
        for rows, results in distributed.map_round_robin(batches, forward_batch):
            maxima.append(results[0])
            probabilities.append(results[1])
            report(int(rows[-1]) + 1, len(reader), f"patches compared in {network.precision}")
    return np.concatenate(maxima), np.concatenate(probabilities)


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else abs(a - b)


def keep_largest(candidates: TopPatches, k: int = TOP_PATCH_COUNT) -> TopPatches:
    """Return the k patches of every unit with the largest values, of equal ones the smallest rows.

    Examples
    --------
    >>> import numpy as np
    >>> top = keep_largest(TopPatches(np.array([[9, 4, 7]]), np.array([[1.0, 5.0, 5.0]])), k=2)
    >>> top.rows.tolist(), top.values.tolist()
    ([[4, 7]], [[5.0, 5.0]])
    """
    # lexsort takes its last key first: falling value, then row.
    order = np.lexsort((candidates.rows, -candidates.values), axis=1)[:, :k]
    return TopPatches(
        np.take_along_axis(candidates.rows, order, 1),
        np.take_along_axis(candidates.values, order, 1),
    )


def load_or_choose_format(path: Path, choose: Callable[[], RankingFormat]) -> RankingFormat:
    """Return the number format that an interrupted pass has used, else choose and record one.

    path: a JSON file beside the rows of that pass. Rows in two formats would have no true record.
    """

    def load() -> dict[str, Any] | None:
        return json.loads(path.read_text()) if path.exists() else None

    stored = distributed.run_on_rank_zero(load)
    if stored is not None:
        return RankingFormat(**stored)
    ranking = choose()
    distributed.run_on_rank_zero(lambda: write_text(path, json.dumps(asdict(ranking))))
    return ranking


def rank_patches(
    probe: FeatureProbe,
    reader: PatchReader,
    path: Path,
    precision: str,
    ranking_format: str,
    report: ProgressCallback,
) -> tuple[TopPatches, np.ndarray, dict[str, Any]]:
    """Compute the activations of all patches, and return the top patches of every unit.

    Parameters
    ----------
    probe : FeatureProbe
        Layer of the units, in the network's own number format.
    reader : PatchReader
        All patches.
    path : pathlib.Path
        The `.npy` file of the maximum activations, which have the digits of the ranking format.
    precision : {"float16", "float32"}
        Number format of that file.
    ranking_format : {"float32", "bfloat16"}
        Number format of the pass. Where it is not the network's own, the pass names candidates, and
        the network's own format decides among them.
    report : callable
        Called with (done, total, unit of progress) after each batch.

    Returns
    -------
    top : TopPatches
        With activations in the network's own number format.
    maps : ndarray, float16 [units, k, h, w]
        The unit's maps on these patches.
    record : dict
        "inference": the form in which the network ran in the pass (`Classifier.inference`);
        "candidates": candidates of each unit, None where the pass itself decided;
        "candidates_needed": the last place among the candidates that became a top patch. Near the
        number of candidates, further patches might have.
    """
    network = probe.network
    own = ranking_format == network.precision
    with number_format(network, ranking_format):
        ranking_probe = probe if own else FeatureProbe(network, probe.layer)
        activations = compute_max_activations(ranking_probe, reader, path, precision, report)
        record: dict[str, Any] = {"inference": network.inference, "candidates": None}
    count = TOP_PATCH_COUNT if own else CANDIDATE_COUNT
    # Only rank 0 holds the mapped file.
    ranked = distributed.run_on_rank_zero(lambda: compute_top_patches(activations, count))
    if own:
        return ranked, compute_top_maps(probe, reader, ranked, report), record
    maps, maxima = compute_top_maps_and_maxima(probe, reader, ranked, report)
    top = keep_largest(TopPatches(ranked.rows, maxima))
    # Where each top patch is among the candidates: a row occurs once in a unit.
    places = (top.rows[:, :, None] == ranked.rows[:, None]).argmax(2)
    record |= {"candidates": CANDIDATE_COUNT, "candidates_needed": int(places.max()) + 1}
    return top, np.take_along_axis(maps, places[:, :, None, None], 1), record
