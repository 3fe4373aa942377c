"""Readings that are not fully crossed, against enumeration of all pairs of comparisons."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from evaluation.mrmc import any_design
from evaluation.mrmc.any_design import _degrees_of_freedom, _Readings


def uncrossed_readings() -> pd.DataFrame:
    """Three readers, nine images of seven patients; a third of the readings is missing."""
    rng = np.random.default_rng(4)
    patient = np.array([0, 0, 1, 2, 3, 4, 5, 5, 6])
    truth = np.array([1, 1, 1, 0, 0, 1, 0, 0, 1])
    rows = [
        (f"R{reader}", f"c{case}", modality, truth[case], f"p{patient[case]}")
        for reader in range(3)
        for case in range(9)
        for modality in ("A", "B")
    ]
    table = pd.DataFrame(rows, columns=["reader", "case", "modality", "truth", "patient"])
    table["score"] = np.round(table["truth"] + rng.normal(size=len(table)), 1)
    return table[rng.random(len(table)) < 0.7]


def comparisons(table: pd.DataFrame, modality: str) -> list[tuple[str, str, str, float]]:
    """Return reader, both patients and outcome of every comparison."""
    found = []
    for reader, rows in table[table["modality"] == modality].groupby("reader"):
        for p in rows[rows["truth"] == 1].itertuples():
            for n in rows[rows["truth"] == 0].itertuples():
                won = float(p.score > n.score) + 0.5 * (p.score == n.score)
                found.append((reader, p.patient, n.patient, won))
    return found


def covariance(first, second, share) -> float:
    """Product of the AUCs less the mean product of comparisons that share nothing."""
    products = [a[3] * b[3] for a in first for b in second if not share(a, b)]
    return np.mean([a[3] for a in first]) * np.mean([b[3] for b in second]) - np.mean(products)


def shares_patient(a, b) -> bool:
    return bool({a[1], a[2]} & {b[1], b[2]})


@pytest.mark.parametrize(
    ("design", "share"),
    [
        ("rrrc", lambda a, b: a[0] == b[0] or shares_patient(a, b)),
        ("rrfc", lambda a, b: a[0] == b[0]),
    ],
)
def test_variance_by_enumeration(design, share):
    table = uncrossed_readings()
    a, b = comparisons(table, "A"), comparisons(table, "B")
    variance = covariance(a, a, share) + covariance(b, b, share) - 2 * covariance(a, b, share)
    result = any_design(table, design)
    assert [mean.estimate for mean in result.means] == pytest.approx(
        [np.mean([c[3] for c in own]) for own in (a, b)]
    )
    assert result.standard_error**2 == pytest.approx(variance, abs=1e-12)


def test_fixed_readers_by_enumeration():
    table = uncrossed_readings()
    own = {name: comparisons(table, name) for name in ("A", "B")}
    total = 0.0
    for first, second, sign in (("A", "A", 1), ("B", "B", 1), ("A", "B", -2)):
        x, y = own[first], own[second]
        expected = 0.0
        for r in ("R0", "R1", "R2"):
            for s in ("R0", "R1", "R2"):
                left, right = [c for c in x if c[0] == r], [c for c in y if c[0] == s]
                if left and right:
                    products = [
                        a[3] * b[3] for a in left for b in right if not shares_patient(a, b)
                    ]
                    expected += len(left) * len(right) * np.mean(products)
        product = np.mean([c[3] for c in x]) * np.mean([c[3] for c in y])
        total += sign * (product - expected / (len(x) * len(y)))
    result = any_design(table, "frrc")
    assert result.standard_error**2 == pytest.approx(total, abs=1e-12)


def test_different_readers_in_each_modality_have_no_covariance():
    table = uncrossed_readings()
    table = table[(table["reader"] == "R0") == (table["modality"] == "A")]
    result = any_design(table, "frrc")
    assert result.difference is not None
    assert "one reader" in any_design(table, "rrrc").reason


def test_bad_readings_are_refused_with_their_row():
    table = uncrossed_readings().reset_index(drop=True)
    for change, message in (
        ({"score": np.nan}, "row 3 of the readings has no score"),
        ({"truth": 2}, "row 3 of the readings has the truth"),
        ({"patient": "other"}, "2 values of patient"),
    ):
        bad = table.copy()
        for name, value in change.items():
            bad.loc[2, name] = value
        with pytest.raises(ValueError, match=message):
            any_design(bad)
    with pytest.raises(ValueError, match="second score of reader"):
        any_design(pd.concat([table, table.iloc[:1]]))
    with pytest.raises(ValueError, match="no column 'truth'"):
        any_design(table.drop(columns="truth"))
    with pytest.raises(ValueError, match="the design must be"):
        any_design(table, "both")
    with pytest.raises(ValueError, match="level"):
        any_design(table, level=1.0)
    three = table.assign(modality=["A", "B", "C"] * (len(table) // 3) + ["A"] * (len(table) % 3))
    with pytest.raises(ValueError, match="3 modalities"):
        any_design(three)


def test_reasons_instead_of_results():
    table = uncrossed_readings()
    assert any_design(table[table["truth"] == 1]).reason.startswith("no reader of modality A")
    assert any_design(table.iloc[:0]).reason == "there are no readings"
    one = any_design(table[table["modality"] == "A"])
    assert "one modality" in one.reason and len(one.means) == 1
    assert "not estimable" in one.sentence()


def test_patients_of_the_smaller_class_decide_about_the_degrees_of_freedom():
    pairs = np.zeros((2, 4, 5))
    pairs[0, :3, 1] = 0.2
    pairs[1, 2, 4] = 0.4
    readings = _Readings(wins=pairs, pairs=pairs)
    # Three patients have positives that were compared, two have negatives.
    assert readings.case_df == 1
    transposed = pairs.transpose(0, 2, 1)
    assert _Readings(wins=transposed, pairs=transposed).case_df == 1


@pytest.mark.parametrize(("own", "other", "df"), [(4, 9, 4), (9, 4, 4), (0, 9, 1)])
def test_the_modality_with_fewer_patients_decides_about_the_degrees_of_freedom(own, other, df):
    readings = [SimpleNamespace(readers=5, case_df=own), SimpleNamespace(readers=3, case_df=other)]
    assert _degrees_of_freedom(readings, 0.5, 0.2, "frrc") == df
    # Satterthwaite's combination, of the readers of the modality with fewer of them.
    expected = 0.5**2 / (0.3**2 / 2 + 0.2**2 / df)
    assert _degrees_of_freedom(readings, 0.5, 0.2, "rrrc") == pytest.approx(expected)
    # A part that is estimated as negative counts as 0.
    assert _degrees_of_freedom(readings, 0.5, -0.1, "rrrc") == pytest.approx(2)
    assert _degrees_of_freedom(readings, 0.5, 0.6, "rrrc") == pytest.approx(df)
