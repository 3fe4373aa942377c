"""Leakage checks of the readers' orders, and of the pictures of every arm that shows one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import store
from core.sessions.case_order import assign_blocks, text_keys
from core.store.reading import reading_table
from evaluation.permutation import PatientPermutations
from evaluation.reading_study import Design, order_checks, workflow
from evaluation.reading_study.leakage_issues import ERROR, WARNING, LeakageIssue
from evaluation.reading_study.order_checks import position_by_category, reader_order_issues
from evaluation.reading_study.workflow import checks
from support import explained_study
from support.explained_study import NAME

Order = list[tuple[int, bool]]


def sealed_key(patients: int = 60) -> pd.DataFrame:
    """Return a key in which every third patient has a second case, in another arm."""
    generator = np.random.default_rng(8)
    rows = [(f"P{i}", "explanation") for i in range(patients)]
    rows += [(f"P{i}", "shuffled") for i in range(0, patients, 3)]
    rows = [rows[i] for i in generator.permutation(len(rows))]
    scores = generator.random(patients)
    malignant = generator.random(patients) < 0.4
    cases = pd.DataFrame(rows, columns=["patient_id", "arm"])
    number = cases["patient_id"].str[1:].astype(int)
    cases["case_number"] = np.arange(1, len(cases) + 1)
    cases["truth"] = np.where(malignant[number], "malignant", "benign")
    cases["network_score"] = scores[number]
    cases["texts"] = [(f"text {i % 9}",) for i in range(len(cases))]
    cases["block"] = assign_blocks(
        cases["arm"].tolist(), cases["patient_id"].tolist(), text_keys(cases["texts"].tolist()), 1
    )
    return cases


def issues_of(
    monkeypatch: pytest.MonkeyPatch,
    cases: pd.DataFrame,
    orders: Callable[[str], Order],
    codes: Sequence[str] = ("R1", "R2", "R3"),
) -> list[LeakageIssue]:
    monkeypatch.setattr(
        order_checks, "reader_order", lambda cases, design, code, rotation=0: orders(code)
    )
    return reader_order_issues(cases, Design(repeats=0), codes)


def in_order(cases: pd.DataFrame, by: pd.Series) -> Order:
    """Return the cases by a property; ties at random."""
    noise = np.random.default_rng(3).random(len(cases))
    ranked = cases.assign(by=by, noise=noise).sort_values(["by", "noise"])
    return [(int(number), False) for number in ranked["case_number"]]


def test_orders_of_the_rule_give_one_note() -> None:
    issues = reader_order_issues(sealed_key(), Design(repeats=8), ["R1", "R2", "R3"])
    assert [issue.severity for issue in issues] == ["note"]
    assert "3 planned readers (R1, R2, R3)" in issues[0].finding


@pytest.mark.parametrize(
    ("code", "by"),
    [
        ("order_truth", lambda c: c["truth"]),
        ("order_score", lambda c: c["network_score"]),
        ("order_arm", lambda c: c["arm"]),
        ("order_text", lambda c: c["texts"].map(lambda texts: texts[0] in ("text 1", "text 4"))),
    ],
    ids=["truth", "score", "arm", "text"],
)
def test_an_order_that_tells_is_an_error_of_its_reader(
    code: str, by: Callable[[pd.DataFrame], pd.Series], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, fair = sealed_key(), order_checks.reader_order
    telling = in_order(cases, by(cases))
    issues = issues_of(
        monkeypatch,
        cases,
        lambda reader: (
            telling if reader == "R2" else fair(cases, Design(repeats=0, seed=2), reader)
        ),
    )
    assert {issue.severity for issue in issues} == {ERROR}
    assert "order of R2" in {issue.field for issue in issues if issue.code.value == code}
    assert not {"order of R1", "order of R3"} & {issue.field for issue in issues}


def test_weak_preference_of_every_order_shows_over_all_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = sealed_key()
    truth = (cases["truth"] == "malignant").to_numpy()

    def order(code: str) -> Order:
        """Return a random order in which malignant cases are a little later."""
        noise = np.random.default_rng(int(code[1:])).random(len(cases))
        return [(int(i) + 1, False) for i in np.argsort(noise + 0.2 * truth)]

    codes = [f"R{i}" for i in range(1, 13)]
    issues = issues_of(monkeypatch, cases, order, codes)
    assert "order of all planned readers" in {issue.field for issue in issues}


@pytest.mark.parametrize("kind", ["place", "truth"])
def test_repeats_that_tell_are_errors(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = sealed_key()
    numbers = np.random.default_rng(5).permutation(cases["case_number"]).tolist()
    malignant = set(cases[cases["truth"] == "malignant"]["case_number"])
    if kind == "place":
        # All repeats at the very end.
        order = [(n, False) for n in numbers] + [(n, True) for n in numbers[:20]]
    else:
        repeated = [n for n in numbers if n in malignant]
        order = [(n, False) for n in numbers]
        for n in repeated:
            order.insert(len(numbers) // 2 + len(order) % 17, (n, True))
    issues = issues_of(monkeypatch, cases, lambda code: order, ["R1"])
    assert ("order_repeat", ERROR) in {(i.code.value, i.severity) for i in issues}


def test_position_by_category_equals_enumeration() -> None:
    patients = ["a", "b", "c", "d", "e", "f"]
    tests = PatientPermutations(patients, seed=2, permutations=4_000)
    categories = np.array([0, 0, 1, 0, 1, 1])
    # Sums of positions of the category 0 over all 20 choices: 0 + 1 + 3 = 4 against a mean of 7.5;
    # as far or farther are 3, 4, 4 and 11, 11, 12: the pairs 012, 013, 245, 345 give 3, 4, 11, 12.
    sums = [a + b + c for a in range(6) for b in range(a + 1, 6) for c in range(b + 1, 6)]
    exact = np.mean([abs(total - 7.5) >= 3.5 for total in sums])
    assert exact == 4 / 20
    assert abs(position_by_category(categories, tests).p - exact) < 0.03


@pytest.mark.parametrize("arm", ["class_map", "image"])
def test_outline_of_every_picture_arm_is_checked(arm: str, tmp_path: Path) -> None:
    study = explained_study.create_study(tmp_path / "study")
    with store.write(study) as con:
        # Malignant cases come from another scanner and have taller pictures.
        con.execute(
            "UPDATE mammograms SET scanner = 'A', height = 400 WHERE mammogram_id IN"
            " (SELECT mammogram_id FROM findings WHERE pathology = 'MALIGNANT')"
        )
    workflow.create_protocol(
        study, NAME, explained_study.small_design(arms=("explanation", arm)), "team"
    )
    with store.read(study) as con:
        cases = reading_table.load_reading_cases(con, NAME, 1)
    # Eight patients cannot reach the level of an error, so each mammogram is taken for a patient.
    cases["patient_id"] = cases["mammogram_id"]
    issues = order_checks_of_pictures(study, cases, arm)
    field = {"class_map": "class maps", "image": "images"}[arm]
    found = {(i.field, i.finding.split(" predicts ")[0].split("' ")[-1], i.auc) for i in issues}
    assert {(field, "height", 1.0), (field, "scanner", 1.0)} <= found
    brightness = [i for i in issues if "grey" in i.finding]
    assert bool(brightness) == (arm == "image")


def test_no_picture_is_read_where_no_arm_shows_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(checks, "_picture_properties")
    cases = pd.DataFrame({"arm": ["explanation", "shuffled"], "mammogram_id": ["a", "b"]})
    design = Design(arms=("explanation", "shuffled"))
    assert checks.image_arm_issues(tmp_path, cases, design) == []


def order_checks_of_pictures(study: Path, cases: pd.DataFrame, arm: str) -> list[LeakageIssue]:
    """Return the issues of the pictures of one arm, all of whose mammograms are shown."""
    shown = cases.drop_duplicates("mammogram_id").assign(arm=arm)
    issues = checks.image_arm_issues(study, shown, Design(arms=(arm,)))
    assert all(issue.severity in (WARNING, "note") for issue in issues)
    return issues
