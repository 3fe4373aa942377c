"""What groups of units save: expert minutes to a coverage, and variety of the explanations' texts.

Everything is counted on hold-out mammograms, with patients as clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core import store
from core.interpretation.explanation import STORED_UNITS, STORED_UNITS_BY_GROUPS
from core.settings import load_order_of_experts
from core.store import annotation_table, run_table, unit_table
from core.store.labels import group_table, label_states
from evaluation.coverage import top_unit_arrays
from evaluation.intervals import (
    Interval,
    count_text,
    decimal,
    interval_text,
    interval_with_width,
    percent,
)
from evaluation.reading_study.case_texts import explanation_texts
from evaluation.reading_study.design import Design
from evaluation.reading_study.text_information import TextBaselines, text_baselines
from evaluation.reading_study.workflow import candidate_images, study_design
from evaluation.resampling import cluster_bootstrap_weights, clustered_mean, percentile_bounds
from evaluation.validation import Array, cluster_codes

PUBLISHED_SECONDS = 30.0  # HDSR 2021: expert time for a unit
TEXTS = 5  # labels beside an explanation, as in the publication
TARGETS = (0.5, 0.8, 1.0)  # shares of the coverage that the published rule reaches
_LEVEL, _RESAMPLES = 0.95, 2_000


@dataclass(frozen=True, kw_only=True)
class MinutesToCoverage:
    """Expert minutes to one coverage, by single units and by groups.

    coverage: share of the top slots of all classes; units, groups: answers needed; minutes_units,
    minutes_groups: at the time of an answer; ratio: groups / units, with its interval by patient.
    groups and minutes_groups are missing where groups never reach the coverage.
    """

    coverage: float
    units: int
    groups: int | None
    minutes_units: float
    minutes_groups: float | None
    ratio: Interval


@dataclass(frozen=True, kw_only=True)
class TextVariety:
    """Labels beside the explanations of hold-out mammograms, `TEXTS` a case.

    per_case: distinct texts of a case; distinct: distinct explanations over all cases; cases: their
    number; baselines: information about the truth in them, None where one class or one patient is
    missing.
    """

    per_case: Interval
    distinct: int
    cases: int
    baselines: TextBaselines | None


@dataclass(frozen=True, kw_only=True)
class GroupMeasures:
    """Annotation by groups beside annotation by single units.

    units, groups: selected units, and their groups; seconds: time of an answer; recorded: whether
    it is the median of this study's answers; images: hold-out mammograms; selected: minutes to
    several coverages by groups of the selected units; whole: the same where groups are selected as
    wholes, as the rule "groups" does; by_unit, by_group: texts with every unit printed, and with
    each phenomenon printed once and the ranking followed further, as in a study by groups; None
    without explanations or labels; ratio: distinct texts of a case, by group / by unit; simulated:
    whether an answer comes from a simulated expert.
    """

    units: int
    groups: int
    seconds: float
    recorded: bool
    images: int
    patients: int
    selected: tuple[MinutesToCoverage, ...]
    whole: tuple[MinutesToCoverage, ...]
    by_unit: TextVariety | None
    by_group: TextVariety | None
    ratio: float | None
    simulated: bool

    def sentences(self) -> list[str]:
        """Return the sentences of command, page and report."""
        mark = "SIMULATED answers. " if self.simulated else ""
        source = "median of the answers" if self.recorded else "published time of a unit"
        minutes = "; ".join(map(_minutes_text, self.selected, self.whole))
        sentences = [
            f"{mark}The {self.units} selected units form {count_text(self.groups, 'group')} of"
            f" units that respond to the same thing. At {decimal(self.seconds, 1)} s an answer"
            f" ({source}): {minutes} (top slots of"
            f" {count_text(self.images, 'hold-out mammogram')} of"
            f" {count_text(self.patients, 'patient')}, which also chose the units)."
        ]
        if self.by_unit is not None and self.by_group is not None:
            sentences.append(
                f"Distinct texts in an explanation of {TEXTS}:"
                f" {_per_case_text(self.by_unit)} with every unit printed,"
                f" {_per_case_text(self.by_group)} with each phenomenon printed once"
                f" ({decimal(self.ratio, 2)} times as many), from the same labels. Distinct"
                f" explanations: {self.by_unit.distinct} and {self.by_group.distinct} of"
                f" {self.by_unit.cases}.{_ceiling_text(self.by_unit, self.by_group)}"
            )
        return sentences


def _minutes_text(selected: MinutesToCoverage, whole: MinutesToCoverage) -> str:
    return (
        f"{percent(selected.coverage, 0)} coverage after {decimal(selected.minutes_units, 1)} min"
        f" unit by unit, {_group_text(selected)} by their groups, and {_group_text(whole)} by"
        " groups selected as wholes"
    )


def _group_text(row: MinutesToCoverage) -> str:
    if row.minutes_groups is None:
        return "never"
    bounds = interval_text(row.ratio.low, row.ratio.high, _LEVEL, row.ratio.reason)
    return (
        f"{decimal(row.minutes_groups, 1)} min ({decimal(row.ratio.estimate, 2)} of it; {bounds})"
    )


def _per_case_text(variety: TextVariety) -> str:
    interval = variety.per_case
    bounds = interval_text(interval.low, interval.high, _LEVEL, interval.reason)
    return f"{decimal(interval.estimate, 2)} ({bounds})"


def _ceiling_text(before: TextVariety, after: TextVariety) -> str:
    if before.baselines is None or after.baselines is None:
        return ""
    first, second = before.baselines, after.baselines
    return (
        f" Any rule on these texts is correct in at most {first.in_sample_ceiling} and"
        f" {second.in_sample_ceiling} of {second.n} cases with a finding (by chance"
        f" {decimal(first.ceiling_null_mean, 0)} and {decimal(second.ceiling_null_mean, 0)}), and"
        f" a classifier tested on patients left out in {first.leave_one_patient_out_correct} and"
        f" {second.leave_one_patient_out_correct}."
    )


def measure_groups(study: Path, dissect: str) -> GroupMeasures | None:
    """Return what the groups of a dissect run save; None without groups or influences."""
    with store.read(study) as con:
        groups = group_table.load_groups(con, dissect)
        top = run_table.load_run(con, dissect)["settings"]["dissection"]["top"]
        influences = unit_table.load_top_influences(con, dissect, top)
        chosen = group_table.annotated_groups(con, dissect)
        answers = annotation_table.load_annotations(con, dissect, versions=True)
        explain = run_table.latest_run(con, "explain", dissect)
    if groups is None or influences.empty:
        return None
    _, tops, patients = top_unit_arrays(influences)
    given = answers[~answers["practice"].astype(bool)]
    recorded = given["seconds"].dropna()
    seconds = float(recorded.median()) if len(recorded) else PUBLISHED_SECONDS
    selected = sorted(unit for group in chosen.values() for unit in group)
    texts = None if explain is None else _text_varieties(study, explain)
    single = [[unit] for unit in selected]
    return GroupMeasures(
        units=len(selected),
        groups=len(chosen),
        seconds=seconds,
        recorded=bool(len(recorded)),
        images=int(tops.shape[1]),
        patients=len(set(patients)),
        selected=tuple(minutes_to_coverage(tops, patients, single, list(chosen.values()), seconds)),
        whole=tuple(minutes_to_coverage(tops, patients, single, groups, seconds)),
        by_unit=None if texts is None else texts[0],
        by_group=None if texts is None else texts[1],
        ratio=_ratio(texts),
        simulated=bool(given["simulated"].any()),
    )


def minutes_to_coverage(
    tops: Array,
    patients: Sequence[str] | Array,
    units: Sequence[Sequence[int]],
    groups: Sequence[Sequence[int]],
    seconds: float,
) -> list[MinutesToCoverage]:
    """Return the expert minutes to a coverage by single units and by groups.

    Each way of annotating begins with what takes the most top slots.

    Parameters
    ----------
    tops : ndarray of int, shape (classes, images, top)
        Top units of each hold-out image and class.
    patients : sequence of str, shape (images,)
        Patient of each image.
    units, groups : sequence of sequence of int
        What is annotated with one answer: single units, and groups of units.
    seconds : float
        Time of one answer.

    Returns
    -------
    list of MinutesToCoverage
        For the shares `TARGETS` of the coverage that all `units` reach. The interval of the ratio
        resamples patients; order and groups stay.

    Examples
    --------
    >>> tops = np.array([[[0, 1], [0, 1], [2, 3]]])
    >>> units, groups = [[0], [1], [2], [3]], [[0, 1], [2, 3]]
    >>> rows = minutes_to_coverage(tops, ["a", "b", "c"], units, groups, seconds=30)
    >>> [(row.units, row.groups, row.minutes_groups) for row in rows]
    [(2, 1, 0.5), (3, 2, 1.0), (4, 2, 1.0)]
    """
    codes, clusters = cluster_codes(patients, tops.shape[1])
    shares = [_slot_counts(tops, codes, clusters, plan) for plan in (units, groups)]
    slots = tops.shape[0] * tops.shape[2] * np.bincount(codes, minlength=clusters)
    weights = np.vstack(
        [np.ones((1, clusters)), cluster_bootstrap_weights(clusters, _RESAMPLES, 1)]
        if clusters > 1
        else [np.ones((1, clusters))]
    )
    # [resamples, answers]; the first row is the study itself.
    curves = [np.cumsum(weights @ counts, axis=1) / (weights @ slots)[:, None] for counts in shares]
    rows = []
    for target in TARGETS:
        level = target * curves[0][:, -1]
        needed = [_answers_needed(curve, level) for curve in curves]
        ratio = needed[1] / needed[0]
        reached = np.isfinite(ratio[0])
        by_units = int(needed[0][0])
        rows.append(
            MinutesToCoverage(
                coverage=float(level[0]),
                units=by_units,
                groups=int(needed[1][0]) if reached else None,
                minutes_units=by_units * seconds / 60,
                minutes_groups=float(needed[1][0]) * seconds / 60 if reached else None,
                ratio=_ratio_interval(ratio, clusters),
            )
        )
    return rows


def _slot_counts(tops: Array, codes: Array, clusters: int, plan: Sequence[Sequence[int]]) -> Array:
    """Return the top slots that each answer names, int [patients, answers], largest first."""
    counts = np.zeros((clusters, 1 + max(int(tops.max()), *(max(group) for group in plan))))
    patient_of_slot = np.broadcast_to(codes[None, :, None], tops.shape)
    np.add.at(counts, (patient_of_slot.ravel(), tops.ravel()), 1)
    named = np.stack([counts[:, list(group)].sum(1) for group in plan], axis=1)
    return named[:, np.argsort(-named.sum(0), kind="stable")]


def _answers_needed(curve: Array, level: Array) -> Array:
    """Return the answers after which each curve reaches its level, inf where it never does."""
    # A tolerance for rounding: the level can be the last value of the same curve.
    reached = curve >= level[:, None] - 1e-12
    return np.where(reached.any(1), 1.0 + reached.argmax(1), np.inf)


def _ratio_interval(ratio: Array, clusters: int) -> Interval:
    method = f"patient bootstrap, {_RESAMPLES} resamples"
    estimate = float(ratio[0]) if np.isfinite(ratio[0]) else None
    if clusters < 2 or not np.isfinite(ratio).all():
        reason = "one patient" if clusters < 2 else "groups do not always reach the coverage"
        return Interval.without_bounds(_LEVEL, method, reason, estimate, unit="patient")
    low, high = percentile_bounds(ratio[1:], _LEVEL, clusters)
    same = "the value is the same in every resample"
    return interval_with_width(float(ratio[0]), low, high, _LEVEL, method, reason=same)


def _text_varieties(study: Path, explain: str) -> tuple[TextVariety, TextVariety] | None:
    """Return the texts of hold-out mammograms by unit and by group; None without labels."""
    with store.read(study) as con:
        dissect = run_table.ancestor(con, explain, "dissect")
        states = label_states.unit_labels(con, dissect, load_order_of_experts(study))
        ranking = unit_table.load_top_influences(con, explain, STORED_UNITS_BY_GROUPS)
        names = run_table.run_classes(con, explain).names
    if not states:
        return None
    design = study_design(study, explain, Design(split="holdout"))
    cases = candidate_images(study, explain, design)
    cases = cases[cases["split"] == design.split]
    labels = {unit: label.text for unit, label in states.items()}
    # As `ExplainedMammogram` does: the first units, and by group those of positive influence.
    published = ranking[ranking["rank"] <= STORED_UNITS]
    positive = ranking[(ranking["rank"] <= STORED_UNITS) | (ranking["influence"] > 0)]
    by_group = _printed_labels(cases, names, positive, labels, merged=True)
    # The same mammograms on both sides: some are named by units further down only.
    cases = cases[[len(texts) > 0 for texts in by_group]]
    by_group = [texts for texts in by_group if texts]
    by_unit = _printed_labels(cases, names, published, labels, merged=False)
    return _text_variety(cases, by_unit, design), _text_variety(cases, by_group, design)


def _printed_labels(
    cases: pd.DataFrame,
    names: Sequence[str],
    ranking: pd.DataFrame,
    labels: Mapping[int, str],
    *,
    merged: bool,
) -> list[tuple[str, ...]]:
    """Return the labels that an explanation of each case prints, each once if they are merged."""
    design = Design(texts=TEXTS, depth=None, merge_duplicates=merged, association_words=True)
    units = {key: list(rows) for key, rows in ranking.groupby(["mammogram_id", "class"])["unit"]}
    return [
        explanation_texts(units.get((case, names.index(name)), []), labels, design)
        for case, name in zip(cases["mammogram_id"], cases["predicted"], strict=True)
    ]


def _text_variety(
    cases: pd.DataFrame, texts: Sequence[tuple[str, ...]], design: Design
) -> TextVariety:
    """Return the variety of the texts of the cases."""
    cases = cases.assign(texts=texts)
    with_finding = cases[cases[design.truth_rule].isin([design.positive, design.comparison])]
    positive = (with_finding[design.truth_rule] == design.positive).to_numpy(bool)
    estimable = positive.any() and not positive.all() and with_finding["patient_id"].nunique() > 1
    return TextVariety(
        per_case=clustered_mean(
            np.array([len(set(texts)) for texts in cases["texts"]], float), cases["patient_id"]
        ),
        distinct=cases["texts"].nunique(),
        cases=len(cases),
        baselines=(
            text_baselines(list(with_finding["texts"]), positive, with_finding["patient_id"])
            if estimable
            else None
        ),
    )


def _ratio(texts: tuple[TextVariety, TextVariety] | None) -> float | None:
    if texts is None or not texts[0].per_case.estimate or texts[1].per_case.estimate is None:
        return None
    return texts[1].per_case.estimate / texts[0].per_case.estimate
