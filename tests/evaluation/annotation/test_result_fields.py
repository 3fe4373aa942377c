"""Every field and sentence of results about labels, on small tables counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy

from core.store.audit_table import Audit
from evaluation.agreement import cohen_kappa, krippendorff_alpha
from evaluation.annotation.audit_workflow import audit_result_table
from evaluation.annotation.descriptor_association import (
    LabelCheck,
    adjusted_p_values,
    check_label,
    descriptor_aucs,
)
from evaluation.annotation.efficiency import AnnotationEfficiency
from evaluation.annotation.group_measures import (
    GroupMeasures,
    MinutesToCoverage,
    TextVariety,
    minutes_to_coverage,
)
from evaluation.annotation.label_audit import compute_audit_result, precision_interval
from evaluation.annotation.machine_names import MachineName, agreement_of_pairs, name_units
from evaluation.annotation.stability import NameStability, Stability, _name_stability
from evaluation.intervals import Interval
from evaluation.proportion import proportion_interval
from evaluation.reading_study.text_information import TextBaselines

JUDGED = [
    # Expert, item, unit, kind, patient, answer.
    ("A1", 1, 4, "top", "p1", "yes"),
    ("A1", 2, 4, "top", "p1", "yes"),
    ("A1", 3, 4, "top", "p2", "unsure"),
    ("A1", 4, 4, "middle", "p3", "no"),
    ("A1", 5, 4, "random", "p4", "no"),
    ("A1", 6, 4, "random", "p5", "yes"),
    ("A1", 7, 4, "random", "p6", "no"),
    ("A2", 1, 4, "top", "p1", "yes"),
    ("A2", 3, 4, "top", "p2", "no"),
    ("A1", 8, 2, "top", "p1", "yes"),
    ("A1", 9, 2, "top", "p7", "no"),
    ("A1", 10, 2, "random", "p8", "no"),
    ("A1", 11, 2, "random", "p9", "unsure"),
]


def test_fields_and_table_of_an_audit() -> None:
    names = ["code", "item", "unit", "kind", "patient_id", "answer"]
    judgements = pd.DataFrame(JUDGED, columns=names)
    judgements["label"] = np.where(judgements["unit"] == 4, "Mass", "Skin")
    result = compute_audit_result(judgements.assign(simulated=[True] + [False] * 12), 0.9)
    counted = [
        (p.unit, p.label, p.kind, p.yes, p.no, p.unsure, p.patches, p.patients, p.experts)
        for p in (*result.units, *result.pooled)
    ]
    assert counted == [
        (2, "Skin", "top", 1, 1, 0, 2, 2, 1),
        (2, "Skin", "middle", 0, 0, 0, 0, 0, 0),
        (2, "Skin", "random", 0, 1, 1, 2, 2, 1),
        (4, "Mass", "top", 3, 1, 1, 3, 2, 2),
        (4, "Mass", "middle", 0, 1, 0, 1, 1, 1),
        (4, "Mass", "random", 1, 2, 0, 3, 3, 1),
        (None, "", "top", 4, 2, 1, 5, 3, 2),
        (None, "", "middle", 0, 1, 0, 1, 1, 1),
        (None, "", "random", 1, 3, 1, 5, 5, 1),
    ]
    assert result.simulated and {p.interval.level for p in result.units} == {0.9}
    assert result.difference_of(4).estimate == pytest.approx(3 / 5 - 1 / 3)
    assert result.difference_of(None).estimate == pytest.approx(4 / 7 - 1 / 5)
    # The items 1 and 3 have two experts; unsure is a category of its own.
    assert result.agreement.estimate == pytest.approx(krippendorff_alpha([[2, 1], [2, 0]]).estimate)
    top = result.units[3]
    assert top.text() == f"3 of 5, {top.interval.short()}"
    assert result.units[1].text() == "–"
    assert result.units[4].text() == "0 of 1, .00; all patches come from one patient"
    audit = Audit(**dict.fromkeys(Audit.__dataclass_fields__) | {"audit": "a", "simulated": False})
    table = audit_result_table(audit, result, {4: "Outdated: x"})
    interval, difference = top.interval, result.difference_of(4)
    assert table.iloc[3].to_dict() == {
        "unit": "unit_0005",
        "label": "Mass",
        "outdated": "Outdated: x",
        "kind": "top",
        "yes": 3,
        "no": 1,
        "unsure": 1,
        "patches": 3,
        "patients": 2,
        "experts": 2,
        "precision": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "reason": "",
        "top_minus_random": difference.estimate,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "difference_reason": "",
        "simulated_judgements": True,
        "simulated_labels": False,
    }
    assert table["unit"].tolist()[:3] == ["unit_0003"] * 3 and table["unit"][8] == "all units"
    assert table["outdated"].tolist() == [""] * 3 + ["Outdated: x"] * 3 + [""] * 3
    assert table["top_minus_random"].notna().tolist() == [True, False, False] * 3
    assert table["reason"][4] == "all patches come from one patient"


def test_precision_of_clustered_judgements() -> None:
    yes = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0], bool)
    patients = np.array([1, 1, 2, 2, 2, 3, 3, 4, 5, 5])
    result = precision_interval(yes, patients, 0.9)
    # The variance of a ratio over m = 5 patients, m / (m - 1) sum (y - p n)^2 / n^2, against
    # p (1 - p) / n, gives the effective number; a larger one than n does not count.
    p = 0.6
    residuals = [yes[patients == k].sum() - p * (patients == k).sum() for k in range(1, 6)]
    variance = 5 / 4 * sum(r**2 for r in residuals) / 100
    n = min(10, p * (1 - p) / variance)
    z = scipy.stats.norm.isf(0.05)
    center, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(center - half) / (1 + z**2 / n), (center + half) / (1 + z**2 / n)]
    assert [result.low, result.high] == pytest.approx(expected)
    assert (result.level, result.unit) == (0.9, "patient")
    assert result.method == "Wilson on the effective number of judgements, clustered by patient"
    assert precision_interval(yes, patients).level == 0.95
    # Between patients less than by chance: the number of judgements is the limit.
    even = precision_interval(np.array([1, 0] * 5 + [1, 1], bool), np.repeat(np.arange(6), 2))
    wilson = proportion_interval(7, 12, "wilson")
    assert (even.low, even.high) == pytest.approx((wilson.low, wilson.high))


def test_associations_with_a_descriptor() -> None:
    activations = np.array([[5.0, 3, 4, 1, 2, 3.5], [1.0, 1, 1, 1, 1, 1], [3.0, 2, 1, 6, 5, 4]])
    positive = np.array([1, 1, 1, 0, 0, 0], bool)
    table = descriptor_aucs(activations, positive, np.arange(6))
    # Placements of the positives 3, 2, 3 of 3 and of the negatives 3, 3, 2 of 3.
    places = ((1, 2 / 3, 1), (1, 1, 2 / 3))
    error = np.sqrt(sum(np.var(place, ddof=1) / 3 for place in places))
    auc = 8 / 9
    assert table.iloc[0].tolist() == pytest.approx(
        [auc, auc - 1.959964 * error, 1, 2 * scipy.stats.norm.sf((auc - 0.5) / error)]
    )
    assert table["auc"].tolist() == pytest.approx([auc, 0.5, 0])
    assert table[["low", "high", "p"]].isna().all(axis=1).tolist() == [False, True, True]
    # Two patients on one side are too few, three are enough.
    few = descriptor_aucs(activations, positive, [1, 2, 2, 4, 5, 6])
    assert list(few.columns) == ["auc", "low", "high", "p"] and few.isna().all().all()
    adjusted = adjusted_p_values(pd.DataFrame({"p": [0.01, 0.04, 0.03]}, index=[5, 7, 6]))
    assert adjusted.to_dict() == pytest.approx({5: 0.03, 7: 0.04, 6: 0.04})


@pytest.mark.parametrize(
    ("auc", "high", "p", "verdict"),
    [
        (0.51, 0.6, 0.049, "holds"),
        (0.51, 0.6, 0.05, "not shown"),
        (0.5, 0.6, 0.01, "not shown"),
        (0.4, 0.499, 0.01, "contradicted"),
        (0.4, 0.5, 0.01, "not shown"),
        (0.7, None, None, "not shown"),
        (None, None, None, "not checked"),
    ],
)
def test_verdicts_about_a_descriptor(
    auc: float | None, high: float | None, p: float | None, verdict: str
) -> None:
    row = {"unit": 3, "descriptor": "mass", "auc": auc, "low": 0.3, "high": high, "p_adjusted": p}
    other = row | {"unit": 4, "auc": 0.9, "high": 0.95, "p_adjusted": 0.001}
    table = pd.DataFrame([other, row | {"iou": 0.25}]).astype({"auc": float, "high": float})
    answer = {"phenomena": [{"category": "mass", "terms": {}}]}
    (check,) = check_label(table, 3, "Mass", answer)
    known = auc is not None
    assert check == LabelCheck(
        unit=3,
        label="Mass",
        descriptor="mass",
        auc=auc,
        low=0.3 if known else None,
        high=high,
        p_adjusted=p,
        iou=0.25 if known else None,
        verdict=verdict,
    )
    if verdict == "holds":
        assert check.sentence() == (
            "“mass” holds: AUC .51 (.30 to .60) among findings, adjusted P = .049."
        )
    if not known:
        assert check.sentence() == "“mass” is in too few reports, so it cannot be checked."


def test_names_of_units_by_a_model() -> None:
    rng = np.random.default_rng(3)
    similarity = rng.normal(0.2, [0.1, 0.3, 0.2], (120, 3))
    similarity[:8, 1] += 0.9
    patients = np.arange(120) // 2
    top = np.array([range(8), range(40, 48)])
    found = name_units(similarity, patients, top, ["a", "b", "c"])
    standard = (similarity - similarity.mean(0)) / similarity.std(0)
    for name, rows in zip(found, top):
        means = standard[rows].mean(0)
        assert name.word == "abc"[means.argmax()] and name.score == pytest.approx(means.max())
    assert found[0].p == 1 / 1000 and found[0].p_adjusted == pytest.approx(2 / 1000)
    assert found[1].p == found[1].p_adjusted > 0.05
    assert found == name_units(similarity, patients, top, ["a", "b", "c"], seed=1)
    assert found != name_units(similarity, patients, top, ["a", "b", "c"], seed=2)
    limit = MachineName(word="a", score=1.0, p=0.05, p_adjusted=0.05)
    assert not limit.named and replace(limit, p_adjusted=0.0499).named
    # A word with one similarity for all patches tells nothing apart.
    constant = np.column_stack([similarity[:, 1], np.full(120, 0.4)])
    assert name_units(constant, patients, top[:1], ["b", "z"])[0].word == "b"


def test_agreement_of_machine_names() -> None:
    pairs = [("a", "a")] * 5 + [("b", "b")] * 3 + [("a", "b")] * 2 + [("b", "c")]
    result = agreement_of_pairs(pairs)
    kappa = cohen_kappa([[5, 2, 0], [0, 3, 1], [0, 0, 0]])
    assert (result.units, result.observed, result.kappa) == (11, 8 / 11, kappa.estimate)
    assert (result.low, result.high, result.reason) == (kappa.low, kappa.high, None)
    shown = replace(result, kappa=0.512, low=0.101, high=0.909)
    assert shown.sentence() == (
        "Machine names and experts' labels have the same first category in 73 % of 11 units (one of"
        " each group of similar units); corrected for chance, Cohen's kappa .51 (95 % CI .101 to"
        " .909; 0: chance)."
    )
    none = agreement_of_pairs([], simulated=True)
    assert (none.units, none.observed, none.simulated) == (0, None, True)
    assert none.sentence() == (
        "SIMULATED experts. Agreement of machine names with experts is not estimable: no unit has"
        " both a label that counts and a machine answer."
    )


def test_stability_of_names() -> None:
    best = np.array([[0.2, 0.9], [0.5, 0.3], [0.45, 0.1], [0.7, 0.69]])
    assert _name_stability("Mass", best, 0.5) == NameStability(
        name="Mass", units=2, returned=3, similarity=pytest.approx(0.6)
    )
    names = tuple(
        NameStability(name=f"N{k}", units=1, returned=r, similarity=0.1)
        for k, r in enumerate((3, 3, 1, 0, 0, 0, 0, 0, 0, 0))
    )
    result = Stability(trainings=3, threshold=0.45, names=names, accuracies=(), simulated=True)
    assert result.sentence() == (
        "SIMULATED names. Stability: of 10 names, 2 came back in every one of 3 repeated trainings"
        " with other seeds and 7 in none (a unit of the repeated network has a similarity of at"
        " least .45). Never: N3; N4; N5; N6; N7; N8 and 1 more."
    )
    six = replace(result, names=names[1:9], simulated=False, trainings=1)
    assert six.sentence().startswith(
        "Stability: of 8 names, 1 came back in every one of 1 repeated"
    )
    assert six.sentence().endswith("Never: N3; N4; N5; N6; N7; N8.")
    assert replace(result, names=names[:3]).sentence().endswith("at least .45).")
    empty = replace(result, names=(), trainings=1)
    assert empty.sentence() == "Stability: 1 repeated training, and no unit has a name yet."


def test_sentence_of_the_efficiency() -> None:
    result = AnnotationEfficiency(
        minutes=12.34,
        answers=9,
        timed=7,
        units=5,
        median_seconds=31.27,
        coverage={"normal": 0.1, "malignant": 0.456},
        curve=pd.DataFrame(),
        images=1230,
        simulated=False,
    )
    assert result.sentence() == (
        "Expert time: 12.3 min (7 timed answers of 9, median 31.3 s). Labelled units: 5, with a"
        " labelled coverage of malignant 45.6 %, normal 10.0 %. For comparison, HDSR 2021 states 30"
        " min for 60 units at 30 s, against 166 h for 10,000 images at one minute each; at that"
        " rate the 1,230 mammograms here would take 20.5 h."
    )


def between(estimate: float | None, low: float | None, high: float | None) -> Interval:
    reason = None if low is not None else "one patient"
    return Interval(estimate=estimate, low=low, high=high, level=0.95, method="m", reason=reason)


def test_sentences_about_groups() -> None:
    row = MinutesToCoverage(
        coverage=0.256,
        units=8,
        groups=5,
        minutes_units=4.12,
        minutes_groups=2.58,
        ratio=between(0.625, 0.512, 0.754),
    )
    never = replace(row, groups=None, minutes_groups=None)
    unknown = replace(row, minutes_groups=1.5, ratio=between(0.4, None, None))
    base = {"leave_one_patient_out_correct": 20, "in_sample_ceiling": 33, "ceiling_null_p": 0.1}
    before = TextBaselines(**base, keyword_correct=1.0, ceiling_null_mean=28.4, n=41)
    after = replace(before, in_sample_ceiling=36, leave_one_patient_out_correct=23)
    after = replace(after, ceiling_null_mean=30.6)
    by_unit = TextVariety(per_case=between(2.5, 2.1, 2.9), distinct=17, cases=45, baselines=before)
    by_group = TextVariety(per_case=between(3.75, 3.5, 4.0), distinct=29, cases=45, baselines=after)
    measures = GroupMeasures(
        units=64,
        groups=38,
        seconds=23.4,
        recorded=True,
        images=120,
        patients=31,
        selected=(row, never),
        whole=(unknown, row),
        by_unit=by_unit,
        by_group=by_group,
        ratio=1.5,
        simulated=False,
    )
    minutes = (
        "26 % coverage after 4.1 min unit by unit, 2.6 min (.62 of it; 95 % CI .512 to .754) by"
        " their groups, and 1.5 min (.40 of it; 95 % CI not estimable: one patient) by groups"
        " selected as wholes; 26 % coverage after 4.1 min unit by unit, never by their groups, and"
        " 2.6 min (.62 of it; 95 % CI .512 to .754) by groups selected as wholes"
    )
    assert measures.sentences() == [
        "The 64 selected units form 38 groups of units that respond to the same thing. At 23.4 s an"
        f" answer (median of the answers): {minutes} (top slots of 120 hold-out mammograms of 31"
        " patients, which also chose the units).",
        "Distinct texts in an explanation of 5: 2.50 (95 % CI 2.100 to 2.900) with every unit"
        " printed, 3.75 (95 % CI 3.500 to 4.000) with each phenomenon printed once (1.50 times as"
        " many), from the same labels. Distinct explanations: 17 and 29 of 45. Any rule on these"
        " texts is correct in at most 33 and 36 of 41 cases with a finding (by chance 28 and 31),"
        " and a classifier tested on patients left out in 20 and 23.",
    ]
    bare = replace(measures, by_group=None, recorded=False, simulated=True)
    (only,) = bare.sentences()
    assert only.startswith("SIMULATED answers. The 64") and "(published time of a unit)" in only
    half = replace(measures, by_unit=replace(by_unit, baselines=None))
    assert half.sentences()[1].endswith("Distinct explanations: 17 and 29 of 45.")


def test_bounds_of_the_ratio_of_answers() -> None:
    """The unit 0 has most slots in patient a, the unit 1 in patient b."""
    tops = np.array([[[0, 1], [0, 2], [1, 3], [1, 2], [0, 3]]])
    units, groups = [[0], [1], [2], [3]], [[0, 3], [1], [2]]
    rows = minutes_to_coverage(tops, list("aabbc"), units, groups, seconds=45)
    # Slots: 3, 3, 2, 2 by units and 5, 3, 2 by groups, of ten.
    assert [(r.coverage, r.units, r.groups) for r in rows] == [(0.5, 2, 1), (0.8, 3, 2), (1, 4, 3)]
    assert [(r.minutes_units, r.minutes_groups) for r in rows] == [
        (1.5, 0.75),
        (2.25, 1.5),
        (3.0, 2.25),
    ]
    assert [r.ratio.estimate for r in rows] == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    for ratio in (row.ratio for row in rows):
        assert (ratio.method, ratio.unit, ratio.level) == (
            *("patient bootstrap, 2000 resamples", "patient"),
            0.95,
        )
