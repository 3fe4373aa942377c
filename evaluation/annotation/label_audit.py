"""How often a unit's label is true of its patches: experts' blind judgements of top, middle-ranked
and random patches; pure functions on tables.

Precision is the share of judgements that say yes; unsure counts as not shown, and is counted beside
it. Patches of one patient are not independent (DEFINITIONS, "Intervals"), so intervals are Wilson's
(1927) on the effective number of judgements, n divided by the design effect with patients as
clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from core.store.audit_table import KINDS
from evaluation.agreement import Agreement, krippendorff_alpha
from evaluation.clustered import clustered_proportion
from evaluation.intervals import Interval
from evaluation.reading_study.arms import difference_of_shares
from evaluation.validation import Array

METHOD = "Wilson on the effective number of judgements, clustered by patient"
_CODES = {"no": 0.0, "unsure": 1.0, "yes": 2.0}


@dataclass(frozen=True, kw_only=True)
class Share:
    """Judgements of one kind of patches under one label; unit None: all units together."""

    unit: int | None
    label: str
    kind: str
    yes: int
    no: int
    unsure: int
    patches: int
    patients: int
    experts: int
    interval: Interval

    def text(self) -> str:
        """`6 of 8, .75 (.41 to .93)`, and why where there is no interval."""
        judged = self.yes + self.no + self.unsure
        why = f"; {self.interval.reason}" if self.interval.reason else ""
        return f"{self.yes} of {judged}, {self.interval.short()}{why}" if judged else "–"


@dataclass(frozen=True)
class AuditResult:
    """units: a Share per unit and kind in order of unit; pooled: a Share per kind; differences:
    unit (None for all) -> precision of top minus random patches; agreement: of experts on the same
    patches.
    """

    units: tuple[Share, ...]
    pooled: tuple[Share, ...]
    differences: dict[int | None, Interval]
    agreement: Agreement | None
    simulated: bool

    def difference_of(self, unit: int | None) -> Interval:
        """Top minus random for a unit, or for all."""
        return self.differences[unit]


def audited(frame: pd.DataFrame, level: float = 0.95) -> AuditResult:
    """The audit's results.

    `frame`: latest judgements with code, item, unit, label, kind, patch_id, patient_id, answer
    (yes, no, unsure), simulated.
    """
    shares: list[Share] = []
    gaps: dict[int | None, Interval] = {}
    for unit, mine in frame.groupby("unit", sort=True):
        shares += [
            _share(mine[mine["kind"] == kind], int(unit), str(mine["label"].iloc[0]), kind, level)
            for kind in KINDS
        ]
        gaps[int(unit)] = _gap(mine, level)
    pooled = tuple(_share(frame[frame["kind"] == kind], None, "", kind, level) for kind in KINDS)
    return AuditResult(
        tuple(shares),
        pooled,
        {**gaps, None: _gap(frame, level)},
        _agreement(frame),
        bool(frame["simulated"].any()),
    )


def precision_interval(yes: Array, patients: Array, level: float = 0.95) -> Interval:
    """Share of True in `yes` [n] with Wilson's interval on the effective number of judgements;
    `patients` any hashable [n].

    The effective number is n / design effect, at most n; where all judgements agree there is no
    design effect, and the number of patients stands for it.
    """
    n = len(yes)
    if not n:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=METHOD,
            reason="no patch has been judged",
            unit="patient",
        )
    found = clustered_proportion(yes, patients, level=level)
    if found.clusters < 2:
        return Interval(
            estimate=found.estimate,
            low=None,
            high=None,
            level=level,
            method=METHOD,
            reason="all patches come from one patient",
            unit="patient",
        )
    effective = min(float(n), found.effective_n) if found.effective_n else float(found.clusters)
    low, high = wilson(found.estimate or 0.0, effective, level)
    return Interval(
        estimate=found.estimate,
        low=low,
        high=high,
        level=level,
        method=METHOD,
        reason=None,
        unit="patient",
    )


def wilson(p: float, n: float, level: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share p of n judgements, n not necessarily whole."""
    z = float(stats.norm.isf((1 - level) / 2))
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    return (0.0 if p == 0 else float(low)), (1.0 if p == 1 else float(high))


def _share(rows: pd.DataFrame, unit: int | None, label: str, kind: str, level: float) -> Share:
    counts = rows["answer"].value_counts()
    interval = precision_interval(
        (rows["answer"] == "yes").to_numpy(), rows["patient_id"].to_numpy(), level
    )
    yes, no, unsure = (int(counts.get(answer, 0)) for answer in ("yes", "no", "unsure"))
    return Share(
        unit=unit,
        label=label,
        kind=kind,
        yes=yes,
        no=no,
        unsure=unsure,
        patches=rows["item"].nunique(),
        patients=rows["patient_id"].nunique(),
        experts=rows["code"].nunique(),
        interval=interval,
    )


def _gap(rows: pd.DataFrame, level: float) -> Interval:
    top, random = rows[rows["kind"] == "top"], rows[rows["kind"] == "random"]
    gap = difference_of_shares(
        ((top["answer"] == "yes").to_numpy(), top["patient_id"].to_numpy()),
        ((random["answer"] == "yes").to_numpy(), random["patient_id"].to_numpy()),
        level,
    )
    # Where every patient says the same the bootstrap never varies: no interval, rather than one of
    # width 0.
    return (
        replace(gap, low=None, high=None, reason="every resample gives the same difference")
        if gap.low is not None and gap.low == gap.high
        else gap
    )


def _agreement(frame: pd.DataFrame) -> Agreement | None:
    """Krippendorff's alpha of yes, no, unsure (nominal) over the experts; None with a single
    expert.
    """
    if frame["code"].nunique() < 2:
        return None
    table = frame.assign(value=frame["answer"].map(_CODES)).pivot(
        index="code", columns="item", values="value"
    )
    return krippendorff_alpha(table.to_numpy(dtype=float), "nominal")
