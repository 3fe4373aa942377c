"""The papers reproduced from the published files, each value beside the published one.

The steps are those of any study; only the choice of files, settings and published values is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from evaluation.replay import ReplayResult, replay_study
from evaluation.reporting.base import Export
from evaluation.reporting.figures.export import FIGURE_FORMATS, check_formats
from evaluation.reproduction.comparison import Comparison, compare
from evaluation.reproduction.exports import export_study, write_comparison, write_replay
from evaluation.reproduction.material import Gap, Material, find_material
from evaluation.reproduction.published import HDSR_ARCHITECTURE, HDSR_CLASSES, SPIE_CLASSES
from evaluation.reproduction.studies import ProgressDisplay, RebuiltStudy, build_study

__all__ = ["Comparison", "Gap", "Reproduction", "reproduce_papers"]


@dataclass(frozen=True)
class Reproduction:
    """Result of a reproduction.

    exports: figures and tables with the study that they come from.
    """

    comparisons: tuple[Comparison, ...]
    gaps: tuple[Gap, ...]
    studies: tuple[RebuiltStudy, ...]
    exports: tuple[tuple[Path, Export], ...]


def reproduce_papers(
    release: Path,
    out: Path,
    actor: str,
    progress: ProgressDisplay,
    *,
    formats: tuple[str, ...] = FIGURE_FORMATS,
    workers: int = 1,
) -> Reproduction:
    """Compute the papers' values, figures and tables from a folder of published files.

    Parameters
    ----------
    release : Path
        The published files, or a part of them (`evaluation.reproduction.material`).
    out : Path
        Folder of the results: reproduction.md and .csv, reading_replay.md, a folder of figures and
        tables per number of classes, and the studies. Repeated, steps that exist are not run again.
    actor : str
        Who is recorded for imported labels.
    progress : callable
        Shows the progress of a step.
    formats : tuple of str
        File formats of the figures.
    workers : int
        Number of processes that read films.

    Raises
    ------
    UserError
        If the folder holds nothing of the publication or contains `out`, or a label file or sheet
        is damaged.
    """
    if out.resolve().is_relative_to(release.resolve()):
        raise UserError(
            f"{out} lies inside {release}, and its files would count as published ones; name"
            " another folder with --out."
        )
    check_formats(formats)
    material = find_material(release)
    replay = _replay(material)
    gaps, exports, studies = list(material.gaps), [], []
    for classes in (SPIE_CLASSES, HDSR_CLASSES):
        study = build_study(material, classes, out / "studies", actor, progress, workers)
        if study is None:
            continue
        studies.append(study)
        written, skipped = export_study(study, out / f"{classes}class", formats, progress)
        exports += [(study.folder, export) for export in written]
        gaps += [*study.gaps, *skipped]
    comparisons = compare(material, studies, replay)
    gaps = list(dict.fromkeys(gaps))
    if replay is not None:
        write_replay(material, replay, out)
    write_comparison(comparisons, gaps, out)
    return Reproduction(tuple(comparisons), tuple(gaps), tuple(studies), tuple(exports))


def _replay(material: Material) -> ReplayResult | None:
    """Return the analysis of the published reading study, None without its sheets."""
    if not material.sheets:
        return None
    # The labels that the reader saw, to find those that never appear in a text.
    consensus = [
        labels.file
        for labels in material.labels_of(HDSR_ARCHITECTURE, HDSR_CLASSES)
        if labels.is_consensus and labels.file.suffix.lower() != ".csv"
    ]
    return replay_study(
        material.sheets["cases"],
        material.sheets["responses"],
        material.sheets["key"],
        consensus[0] if consensus else None,
    )
