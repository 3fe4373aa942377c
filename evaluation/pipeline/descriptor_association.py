"""Step `meaning`: what every unit's activation says about every known descriptor, on a sample of
the dissected patches.

The sample holds all patches that touch a finding (at most 4,000) and 1,000 others, which count for
more in the overlap by the share that was drawn. Overlap is Network Dissection's IoU at the quantile
threshold over the sample, at the resolution of the unit's map: a cell counts by its covered share.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from core import runs, store
from core.images.working_images import Films, PatchReader
from core.interpretation import concept_masks, inference
from core.interpretation.inference import BATCH, Probe
from core.pipeline.inputs import StepResult, parent_of, patch_table
from core.runs import Report
from core.store import dataset_table, run_table, unit_table
from evaluation.annotation import descriptor_association

VERSION = 1
TOUCHING, OTHERS = 4_000, 1_000


def make(study: Path, report: Report, dissect: str) -> StepResult:
    """Measure a dissect run."""
    try:
        with runs.building(
            study, "meaning", VERSION, {"touching": TOUCHING, "others": OTHERS}, [dissect], ""
        ) as run:
            frame, sampled = measure(study, dissect, run.reporting(report))
            run.table("meanings", frame)
            run.manifest |= {
                "patches": sampled,
                "descriptors": sorted(frame["descriptor"].unique()),
            }
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def sample(patches: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the sample (ascending) and their weights: the inverse of the share drawn of their
    kind.
    """
    touches = patches[["benign_cover", "malignant_cover"]].max(axis=1).to_numpy() > 0
    rng, rows, weights = np.random.default_rng([seed, 13]), [], []
    for kind, most in ((touches, TOUCHING), (~touches, OTHERS)):
        of = np.flatnonzero(kind)
        drawn = rng.choice(of, min(most, len(of)), replace=False)
        rows.append(drawn)
        weights.append(np.full(len(drawn), len(of) / max(len(drawn), 1)))
    order = np.argsort(np.concatenate(rows))
    return np.concatenate(rows)[order], np.concatenate(weights)[order]


def measure(study: Path, dissect: str, report: Report) -> tuple[pd.DataFrame, int]:
    """Rows unit, descriptor, contrast, auc, low, high, p, p_adjusted, iou, positives, patients of
    every living unit; and the patches in the sample.
    """
    patches_run = parent_of(study, dissect, "patches")
    with store.read(study) as con:
        run = run_table.get(con, dissect)
        units = unit_table.units(con, dissect).sort_values("unit")
        findings, films, people = (
            dataset_table.findings(con),
            dataset_table.mammograms(con),
            dataset_table.patients(con),
        )
        rule = run_table.get(con, patches_run)["settings"]["patches"]
    patches = patch_table(study, patches_run, list(run["settings"]["dissection"]["splits"]))
    patches = patches.merge(
        films[["mammogram_id", "view", "has_concepts"]], on="mammogram_id"
    ).merge(people[["patient_id", "density"]], on="patient_id")
    patches = patches.sort_values("patch_id", ignore_index=True)
    rows, weights = sample(patches, 1)
    patches = patches.iloc[rows].reset_index(drop=True)
    opened = Films(study)
    truths = list(
        concept_masks.patch_truths(opened, patches, findings, rule["min_overlap"], rule["rule"])
    )
    names = sorted({word for truth in truths for word in truth.shown})
    shown = np.array([[word in truth.shown for word in names] for truth in truths])
    activations = np.array(
        np.load(runs.folder(study, dissect) / "activations.npy", mmap_mode="r")[rows], np.float32
    ).T
    alive = np.flatnonzero(~units["dead"].to_numpy())
    probe = Probe(
        inference.load(study, next(p for p in run["parents"] if p.startswith("train-"))),
        run["manifest"]["layer"],
    )
    iou = overlaps(
        probe,
        PatchReader(opened, patches),
        truths,
        names,
        weights,
        units["quantile"].to_numpy(np.float32),
        report,
    )
    finding = (
        shown[:, names.index(concept_masks.FINDING)] if concept_masks.FINDING in names else None
    )
    who = patches["patient_id"].to_numpy(str)
    parts = [
        _descriptor(word, activations[alive], shown[:, c], finding, who).assign(
            unit=alive.astype(np.int32), iou=iou[alive, c]
        )
        for c, word in enumerate(names)
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(p_adjusted=descriptor_association.adjusted(frame)), len(patches)


def _descriptor(
    word: str,
    activations: np.ndarray,
    positive: np.ndarray,
    finding: np.ndarray | None,
    patients: np.ndarray,
) -> pd.DataFrame:
    against = concept_masks.contrast(word)
    among = (
        positive | finding
        if against == "other findings" and finding is not None
        else np.ones(len(positive), bool)
    )
    found = descriptor_association.descriptor_aucs(
        activations[:, among], positive[among], patients[among]
    )
    return found.assign(
        descriptor=word,
        contrast=against,
        positives=int(positive.sum()),
        patients=len(set(patients[positive])),
    )


@torch.inference_mode()
def overlaps(
    probe: Probe,
    reader: PatchReader,
    truths: list[concept_masks.PatchTruth],
    names: list[str],
    weights: np.ndarray,
    quantile: np.ndarray,
    report: Report,
) -> np.ndarray:
    """IoU float [units, descriptors] of regions (map above the unit's quantile) with masks; nan for
    descriptors without a place.
    """
    place = {word: i for i, word in enumerate(names)}
    level, both = (
        torch.tensor(quantile)[None, :, None, None],
        torch.zeros(len(quantile), len(names)),
    )
    region, mask = torch.zeros(len(quantile)), torch.zeros(len(names))
    with probe.watching():
        for start in range(0, len(reader), BATCH):
            rows = np.arange(start, min(start + BATCH, len(reader)))
            maps = probe.run(torch.from_numpy(reader.batch(rows)))[0].cpu()
            weight = torch.from_numpy(weights[rows]).float()
            above = (maps > level).float() * weight[:, None, None, None]
            cells = torch.zeros(len(rows), len(names), *maps.shape[2:])
            for i, row in enumerate(rows):
                for word, pixels in truths[row].masks.items():
                    if word in place:
                        cells[i, place[word]] = F.adaptive_avg_pool2d(
                            torch.from_numpy(pixels).float()[None], (maps.shape[2], maps.shape[3])
                        )[0]
            both += torch.einsum("buhw,bchw->uc", above, cells)
            region += above.sum((0, 2, 3))
            mask += (cells * weight[:, None, None, None]).sum((0, 2, 3))
            report(int(rows[-1]) + 1, len(reader), "patches of the sample")
    union = region[:, None] + mask[None] - both
    return torch.where((mask[None] > 0) & (union > 0), both / union, torch.nan).numpy()
