"""The studies that are built from the published files: three classes (HDSR), two classes (SPIE)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from core import settings, store, study_folder
from core.annotation.label_exchange import import_labels
from core.errors import UserError
from core.networks.architectures import published_side
from core.pipeline import dissect, explain, import_checkpoint, ingest, patches
from core.progress import ProgressCallback
from core.settings import ImageSettings, Settings
from core.sources.release_metadata import find_meta_data
from core.store import annotation_table, run_table
from core.store.labels import decision_table
from core.store.reading import protocol_table
from evaluation.pipeline import coverage, evaluate
from evaluation.reading_study import design_preset, workflow
from evaluation.reproduction.material import CheckpointFile, Gap, LabelFile, Material
from evaluation.reproduction.published import HDSR_CLASSES

# Shows the progress of a step: called with the step's name, used as a context manager.
ProgressDisplay = Callable[[str], AbstractContextManager[ProgressCallback]]
READING_PROTOCOL = "DeepMiner 2021"


@dataclass(frozen=True, kw_only=True)
class NetworkRuns:
    """The runs of one checkpoint; two classes have no explain run."""

    checkpoint: CheckpointFile
    train: str
    evaluate: str
    dissect: str
    coverage: str
    explain: str | None


@dataclass(frozen=True)
class RebuiltStudy:
    """A study with the runs of its networks, and what could not be done.

    is_partial: listed films are missing, or patients could not be read.
    """

    folder: Path
    classes: int
    networks: tuple[NetworkRuns, ...]
    gaps: tuple[Gap, ...]
    is_partial: bool


def reproduction_settings(classes: int, input_side: int) -> Settings:
    """Return the settings of the papers: published split, units dissected on hold-out.

    classes: 3 as in HDSR 2021, or 2 as in SPIE 2018, which also selects its units by another rule.
    """
    return settings.settings_from_preset(
        {
            "study": {"name": f"Published material, {classes} classes"},
            "images": {"input_side": input_side},
            "splits": {"published": True},
            "patches": {"classes": classes},
            "dissection": {
                "splits": ["holdout"],
                "rule": "influence" if classes == HDSR_CLASSES else "spie",
            },
        }
    )


def build_study(
    material: Material,
    classes: int,
    out: Path,
    actor: str,
    progress: ProgressDisplay,
    workers: int,
) -> RebuiltStudy | None:
    """Build the study of a number of classes, or finish one that was interrupted.

    Parameters
    ----------
    material : Material
    classes : int
        3 or 2.
    out : Path
        Folder of the studies. The name of a study holds a hash of films, masks, lists and labels:
        changed material gives a study of its own.
    actor : str
        Who is recorded for imported labels.
    progress : callable
        Shows the progress of a step.
    workers : int
        Number of processes that read films.

    Returns
    -------
    RebuiltStudy or None
        None without films, or without a checkpoint of this number of classes.

    Raises
    ------
    UserError
        If the study holds the network of a checkpoint that the material no longer has.
    """
    checkpoints = [c for c in material.checkpoints if c.classes == classes]
    if material.films is None or not checkpoints:
        return None
    sides = [_input_side(checkpoint.architecture) for checkpoint in checkpoints]
    # Images at the largest side, from which the others are resized.
    current = reproduction_settings(classes, max(sides))
    folder = out / f"{classes}class-{max(sides)}px-{_material_hash(material)}"
    if not (folder / settings.SETTINGS_NAME).exists():
        study_folder.create_study(folder, current)
    study_folder.require_study(folder)
    with progress(f"{classes} classes: films") as report:
        ingested = ingest.ingest(
            folder, current, "release", material.films, report, workers=workers, skip_bad=True
        )
    gaps = [Gap(row["item"], row["cause"]) for row in ingested.problems if row["skipped"]]
    is_partial, networks = bool(gaps), []
    for checkpoint, side in zip(checkpoints, sides):
        try:
            patches_run = _extract_patches(material, folder, current, side, progress)
            networks.append(
                _run_network(material, folder, current, checkpoint, patches_run, actor, progress)
            )
        except UserError as error:
            # One unusable file must not cost the results of the others.
            name = f"{checkpoint.architecture}, {classes} classes"
            gaps.append(Gap(name, f"its values are not computed: {error}"))
    _check_no_other_network(folder, networks)
    if classes == HDSR_CLASSES and networks:
        gaps += _design_reading_study(folder, actor, networks[-1])
    return RebuiltStudy(folder, classes, tuple(networks), tuple(gaps), is_partial)


def _input_side(architecture: str) -> int:
    return published_side(architecture) or ImageSettings().input_side


def _material_hash(material: Material) -> str:
    """Return a hash of names, sizes and times of films, masks, lists and words, and of labels."""
    content = hashlib.sha256()
    assert material.films is not None, "build_study needs films"
    weights = {checkpoint.file for checkpoint in material.checkpoints}
    files = {file for file in material.films.rglob("*") if file.is_file()} - weights
    descriptions = find_meta_data(material.films)
    for file in sorted(files | ({descriptions} if descriptions else set())):
        state = file.stat()
        name = os.path.relpath(file, material.films)
        content.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    for labels in material.labels:
        content.update(labels.file.read_bytes())
    return content.hexdigest()[:12]


def _extract_patches(
    material: Material, folder: Path, current: Settings, side: int, progress: ProgressDisplay
) -> str:
    """Return the patches run at an input side: published windows and labels where they exist."""
    classes = current.patches.classes
    labels = material.films if classes in material.patch_labels else None
    with progress(f"{classes} classes: patches of {side} px") as report:
        return patches.run_patch_extraction(folder, current, report, labels, side).run


def _run_network(
    material: Material,
    folder: Path,
    current: Settings,
    checkpoint: CheckpointFile,
    patches_run: str,
    actor: str,
    progress: ProgressDisplay,
) -> NetworkRuns:
    """Run every step of one checkpoint; existing runs are used again."""
    name = f"{checkpoint.architecture}, {checkpoint.classes} classes"
    with progress(f"{name}: checkpoint") as report:
        train = import_checkpoint.run_import(
            folder,
            current,
            checkpoint.file,
            checkpoint.architecture,
            report,
            classes=checkpoint.classes,
            patches=patches_run,
        ).run
    with progress(f"{name}: evaluate") as report:
        evaluated = evaluate.run_evaluation(folder, report, train).run
    with progress(f"{name}: dissect") as report:
        dissected = dissect.run_dissection(folder, current, report, train).run
        measured = coverage.run_coverage(folder, report, dissected).run
    for labels in material.labels_of(checkpoint.architecture, checkpoint.classes):
        if not _is_imported(folder, dissected, labels):
            import_labels(folder, labels.file, actor, dissected)
    explained = None
    if checkpoint.classes == HDSR_CLASSES:
        with progress(f"{name}: explain") as report:
            explained = explain.run_explanation(folder, current, report, dissected).run
    return NetworkRuns(
        checkpoint=checkpoint,
        train=train,
        evaluate=evaluated,
        dissect=dissected,
        coverage=measured,
        explain=explained,
    )


def _is_imported(folder: Path, dissected: str, labels: LabelFile) -> bool:
    """Return whether a dissection has the labels of a file; an import is complete or absent."""
    with store.read(folder) as con:
        annotations = annotation_table.load_annotations(con, dissected)
        decisions = decision_table.load_decisions(con, dissected, imported=True)
    if labels.is_consensus:
        return {entry.unit for entry in labels.entries} <= set(decisions["unit"].astype(int))
    answered = set(zip(annotations["code"], annotations["unit"].astype(int)))
    return {(entry.set, entry.unit) for entry in labels.entries} <= answered


def _check_no_other_network(folder: Path, networks: list[NetworkRuns]) -> None:
    """Raise UserError for a train run of a checkpoint that was replaced or removed."""
    with store.read(folder) as con:
        trained = set(run_table.load_runs(con, "train")["run"].astype(str))
    if networks and trained - {network.train for network in networks}:
        raise UserError(
            f"{folder} holds the network of a checkpoint that the release no longer has, and every"
            " table would count it; name another folder with --out."
        )


def _design_reading_study(folder: Path, actor: str, network: NetworkRuns) -> list[Gap]:
    """Design and check the reading study of the paper on a network; an existing one is kept.

    As many cases as the material gives, at most as many as were published. The released code
    searched the 20 most influential units for texts.
    """
    with store.read(folder) as con:
        if any(p.run == network.explain for p in protocol_table.list_protocols(con)):
            return []
    published = design_preset("DeepMiner 2021", depth=20)
    limits: list[int | None] = [None, published.cases_per_class]
    try:
        for limit in limits:
            design = design_preset("DeepMiner 2021", depth=20, cases_per_class=limit)
            designed = workflow.create_protocol(
                folder, READING_PROTOCOL, design, actor, explain=network.explain
            )
            # The version is replaced where it has more cases than the published study.
            if len(designed.cases) <= 2 * (published.cases_per_class or 0):
                break
        workflow.check_protocol(folder, READING_PROTOCOL, actor)
    except UserError as error:
        return [Gap("reading study, preset DeepMiner 2021", f"not designed: {error}")]
    return []
