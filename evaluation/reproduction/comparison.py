"""Every published value beside the one computed from the material."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core import store
from core.class_labels import MAMMOGRAPHY
from core.store import run_table, unit_table
from evaluation.intervals import decimal
from evaluation.queries import performance
from evaluation.queries.report_similarity import measure_report_similarity
from evaluation.replay import ReplayResult
from evaluation.reporting.base import REPORTED_SPLIT
from evaluation.reproduction.material import LabelFile, Material
from evaluation.reproduction.published import (
    HDSR_ARCHITECTURE,
    HDSR_CLASSES,
    SPIE_CLASSES,
    PublishedValue,
    published_values,
)
from evaluation.reproduction.studies import NetworkRuns, RebuiltStudy


@dataclass(frozen=True)
class Computed:
    """A value from the material.

    value: None where it is not estimable. origin: run or file that it comes from. remark: what
    makes it differ from the published one in this material.
    """

    value: float | None
    origin: str
    remark: str = ""


@dataclass(frozen=True)
class Comparison:
    """A published value and the computed one, None where the material for it is missing."""

    published: PublishedValue
    computed: Computed | None

    def reason(self) -> str:
        """Return why the two differ or one is missing; empty where they agree as printed."""
        if self.computed is None:
            return "Not computed: the material for it is missing."
        if self.computed.value is None:
            return f"Not estimable. {self.computed.remark}".strip()
        if round(self.computed.value, self.published.digits) == self.published.value:
            return ""
        reasons = [self.computed.remark, self.published.difference]
        tolerance = self.published.tolerance
        distance = round(abs(self.computed.value - self.published.value), 9)
        if tolerance is not None and distance > tolerance:
            reasons.append(f"That explains a difference of up to {decimal(tolerance, 3)}.")
            if not self.computed.remark:
                reasons.append("This one is larger: check checkpoint, films and labels.")
        stated = " ".join(reason for reason in reasons if reason)
        return stated or "Differs without a known reason: check the material."


def compare(
    material: Material, studies: Sequence[RebuiltStudy], replay: ReplayResult | None
) -> list[Comparison]:
    """Return every published value with the one computed from the material.

    Parameters
    ----------
    material : Material
    studies : sequence of RebuiltStudy
        At most one per number of classes.
    replay : ReplayResult or None
        The published reading study, None without its sheets.
    """
    computed = _label_counts(material.labels)
    for study in studies:
        remark = _study_remark(material, study)
        if study.classes == HDSR_CLASSES and study.networks:
            computed |= _hdsr_values(study, remark)
        if study.classes == SPIE_CLASSES:
            computed |= _spie_values(study, remark)
    if replay is not None:
        score = replay.truth_rules["folder"]
        origin = "reading_replay.md"
        computed["reading cases"] = Computed(replay.n, origin)
        computed["reading correct"] = Computed(score.correct, origin)
        computed["reading p"] = Computed(score.p_greater, origin)
    return [Comparison(value, computed.get(value.key)) for value in published_values()]


def _study_remark(material: Material, study: RebuiltStudy) -> str:
    """Return what of the whole study differs from the publication."""
    remarks = []
    if study.classes not in material.patch_labels:
        remarks.append("Windows and labels of patches follow the overlap rule.")
    if study.is_partial:
        remarks.append("Computed on a part of the films.")
    return " ".join(remarks)


def _label_counts(labels: Sequence[LabelFile]) -> dict[str, Computed]:
    """Return the numbers of labelled units, which need no network."""
    counts = {}
    for key, classes in (("hdsr units", HDSR_CLASSES), ("spie units", SPIE_CLASSES)):
        files = [file for file in labels if file.classes == classes]
        # The consensus of a network replaces its raw answers.
        decided = {file.architecture for file in files if file.is_consensus}
        used = [f for f in files if f.is_consensus or f.architecture not in decided]
        units = {(file.architecture, unit) for file in used for unit in file.named_units()}
        if used:
            names = ", ".join(dict.fromkeys(file.file.name for file in used))
            networks = ", ".join(sorted({file.architecture for file in used}))
            counts[key] = Computed(len(units), names, f"Networks with labels: {networks}.")
    return counts


def _hdsr_values(study: RebuiltStudy, remark: str) -> dict[str, Computed]:
    """Return the values of the last network of three classes, which is HDSR's if it is there."""
    network = study.networks[-1]
    if network.checkpoint.architecture != HDSR_ARCHITECTURE:
        other = f"The network is {network.checkpoint.architecture}, not {HDSR_ARCHITECTURE}."
        remark = f"{other} {remark}".strip()
    values = {}
    results = performance.load_class_results(
        study.folder, network.evaluate, REPORTED_SPLIT, "patch"
    )
    for result in results:
        values[f"hdsr auc {result.name}"] = Computed(result.auc.estimate, network.evaluate, remark)
        partial = result.partial.deepminer_2021
        values[f"hdsr pauc {result.name}"] = Computed(partial, network.evaluate, remark)
    with store.read(study.folder) as con:
        shares = unit_table.load_coverage(con, network.coverage)
    names = MAMMOGRAPHY.with_outputs(study.classes).outputs
    for row in shares[shares["name"] == "selected"].to_dict("records"):
        key = f"hdsr coverage {names[int(row['class'])]}"
        values[key] = Computed(float(row["estimate"]), network.coverage, remark)
    return values | _similarities(study, network, remark)


def _similarities(study: RebuiltStudy, network: NetworkRuns, remark: str) -> dict[str, Computed]:
    if network.explain is None:
        return {}
    values = {}
    for measured in measure_report_similarity(study.folder, network.explain):
        if measured.published is None:
            continue
        reason = measured.result.reason
        remarks = [f"Word vectors: {measured.vectors}.", remark]
        if reason:
            remarks.insert(0, f"{reason[:1].upper()}{reason[1:]}.")
        values[f"similarity {measured.selection}"] = Computed(
            measured.result.mean.estimate, network.explain, " ".join(filter(None, remarks))
        )
    return values


def _spie_values(study: RebuiltStudy, remark: str) -> dict[str, Computed]:
    """Return the AUCs on hold-out, the validation split of SPIE 2018."""
    values = {}
    with store.read(study.folder) as con:
        for network in study.networks:
            metrics = run_table.load_metrics(con, network.evaluate, "holdout")
            chosen = metrics[
                (metrics["level"] == "patch")
                & (metrics["name"] == "auc")
                & (metrics["class"] == "malignant")
            ]
            for row in chosen.to_dict("records"):
                estimate = None if row["estimate"] != row["estimate"] else float(row["estimate"])
                key = f"spie auc {network.checkpoint.architecture}"
                values[key] = Computed(estimate, network.evaluate, remark)
    return values
