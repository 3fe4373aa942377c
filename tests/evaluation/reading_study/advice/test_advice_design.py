"""Designs with advice: settings, protocol hash, cases and arms, leakage checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.sessions.arms import ARM_TITLES
from core.sessions.reading.crossover import PERIOD_BLOCKS
from evaluation.reading_study import (
    Design,
    choose_cases,
    design_from_dict,
    design_power,
    design_preset,
    protocol_hash,
    reader_order,
)
from evaluation.reading_study.advice.advice_checks import advice_issues
from evaluation.reading_study.design import (
    Question,
    least_patients,
    parse_design_settings,
    questions_from_lines,
)
from evaluation.reading_study.leakage_issues import ERROR, NOTE, WARNING, IssueCode
from evaluation.reading_study.sealed_key import KEY_COLUMNS

ADVICE = "Reading with advice"
CROSSOVER = {"washout_days": 28, "duration_days": 90}
# Of designs as the version before advice hashed them, on the key below.
EARLIER_HASHES = {
    "6ccc48364d326d031e01978715b40d45e73544be8cedd00f8e0fa4d1cb3cdf4c": Design(),
    "b93cf22546076413d3ba18290b1a966fc81c603f512622159fb2c6d6a9921740": design_preset(
        "Recommended"
    ),
    "81a46d9c7b1eced1f4acc4d8684f9a8225e4f77f2587a1570dd9054542f9a78a": design_preset(
        "DeepMiner 2021"
    ),
    "344290b28e2258bfde2adadfb60517be471f7340ccc9f9b73f110b1cddfd6ed9": design_preset(
        "Recommended", arms=("image", "class_map"), looks=2
    ),
}
KEY_ROWS = [
    [1, "m1", "p1", "explanation", ("Skin",), "benign", 0.25, "benign"],
    [2, "m2", "p2", "shuffled", ("Mass", "Lymph node"), "malignant", 0.75, "benign"],
    [3, "m3", "p3", "image", (), "malignant", None, "malignant"],
]


def candidates(patients: int = 120, wrong: float = 0.3) -> pd.DataFrame:
    """Return one image per patient; half are malignant, and a share of decisions is wrong."""
    rng = np.random.default_rng(3)
    truth = np.where(np.arange(patients) % 2, "malignant", "benign")
    is_wrong = rng.permutation(np.arange(patients) < wrong * patients)
    positive = (truth == "malignant") ^ is_wrong
    return pd.DataFrame(
        {
            "mammogram_id": [f"m{i:03d}" for i in range(patients)],
            "patient_id": [f"p{i:03d}" for i in range(patients)],
            "split": "test",
            "any_malignant": truth,
            "network_score": rng.random(patients),
            "predicted": np.where(positive, "malignant", "benign"),
            "advice_probability": np.where(positive, 0.8, 0.2),
            "texts": [(f"sign {i}",) for i in range(patients)],
        }
    )


@pytest.mark.parametrize("earlier", EARLIER_HASHES)
def test_hash_of_a_design_without_advice_is_unchanged(earlier: str) -> None:
    key = pd.DataFrame(KEY_ROWS, columns=list(KEY_COLUMNS))
    assert protocol_hash(EARLIER_HASHES[earlier], key) == earlier
    # The column that the store has gained does not count without advice.
    assert protocol_hash(EARLIER_HASHES[earlier], key.assign(advice=None)) == earlier


def test_hash_covers_what_advice_states() -> None:
    key = pd.DataFrame(KEY_ROWS, columns=list(KEY_COLUMNS)).assign(advice=["benign", None, None])
    design = design_preset(ADVICE)
    hashes = {
        protocol_hash(design, key),
        protocol_hash(design, key.assign(advice=["malignant", None, None])),
        protocol_hash(design_preset(ADVICE, predict_network=True), key),
        protocol_hash(design_preset(ADVICE, questions=[{"text": "a", "kind": "text"}]), key),
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": ("advice", "advice_units")}, "without a control"),
        ({"arms": ("no_advice", "advice")}, "is a control"),
        ({"arms": ("advice", "no_advice", "image")}, "has a single answer"),
        ({"advice": "none"}, "belongs to a study with advice"),
        ({"wrong_advice": 0}, "strictly between 0 and 1"),
        ({"wrong_advice": 1.0}, "strictly between 0 and 1"),
        ({"wrong_advice": float("nan")}, "strictly between 0 and 1"),
        ({"wrong_advice_told": True}, "does not fix it"),
        ({"repeats": 2}, "hidden repeats"),
        ({"washout_days": 30, "duration_days": 60}, "takes 60 days, but the whole study takes 60"),
        ({"washout_days": 30}, "needs both"),
        ({"washout_days": 0, "duration_days": 60}, "whole number of days"),
        ({"washout_days": 10**9, "duration_days": 3650}, "washout_days is .* from 1 to 3,650"),
        ({"washout_days": 30, "duration_days": 3651}, "duration_days is .* from 1 to 3,650"),
        ({"primary": "auc_difference"}, "plan a crossover"),
        ({"looks": 2}, "no interim looks"),
        ({"missing_answers": "counted_wrong"}, "without both answers"),
        ({"expected_first_share": 0.9}, "must lie between 0 and expected_share"),
        ({"questions": [{"text": "How sure?"}]}, "has no options"),
        ({"questions": [{"text": "How sure?", "options": ["one"]}]}, "has 1 option;"),
        ({"questions": [{"text": "How sure?", "options": ["a", "a"]}]}, "repeated option"),
        ({"questions": [{"text": "", "kind": "text"}]}, "needs a text"),
        ({"questions": [{"text": "a", "kind": "slider"}]}, "must be one of"),
        ({"questions": [{"text": "a", "kind": "text", "options": ["x"]}]}, "remove them"),
        ({"questions": [{"text": "a", "options": "ab"}]}, "no list of texts"),
        ({"questions": [{"text": "a", "options": None}]}, "no list of texts"),
        ({"questions": [{"text": "a", "options": ["b", None]}]}, "no list of texts"),
        (
            {"questions": [{"text": "a", "kind": "text"}] * 2},
            "'a' is twice in the design's questions",
        ),
        ({"questions": [{"question": "a"}]}, "is not a question"),
        ({"questions": [{"text": str(i), "kind": "text"} for i in range(3)]}, "at most 2"),
    ],
)
def test_settings_that_contradict_each_other(changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        design_preset(ADVICE, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"washout_days": 9, "duration_days": 20}, {"wrong_advice": 0.3}, {"predict_network": True}],
)
def test_settings_of_advice_need_advice(changes: dict) -> None:
    with pytest.raises(UserError, match="gives no advice"):
        design_preset("Recommended", **changes)


def test_stored_design_reads_back() -> None:
    design = design_preset(
        ADVICE, questions=questions_from_lines("scale: Sure? | no | yes"), **CROSSOVER
    )
    assert design_from_dict(design.as_dict()) == design
    assert design.questions == (Question(text="Sure?", kind="scale", options=("no", "yes")),)
    for line, sentence in (("Sure? | no", "has no kind"), ("scale: Sure?", "Line 1.*no options")):
        with pytest.raises(UserError, match=sentence):
            questions_from_lines(line)
    parsed = parse_design_settings(['questionnaire=[{"text": "Age", "kind": "text"}]'])
    assert design_preset(ADVICE, **parsed).questionnaire[0].text == "Age"
    with pytest.raises(UserError, match="JSON list"):
        parse_design_settings(["questions=Age"])
    with pytest.raises(UserError, match="wrong_advice is set twice"):
        parse_design_settings(["wrong_advice=0.3", "wrong_advice=0.4"])


def test_remainders_of_both_classes_do_not_meet_in_one_arm() -> None:
    """Of 24 cases 8 decisions are wrong, 4 of each class, in three arms."""
    patients = candidates(24, wrong=0)
    patients.loc[:7, "predicted"] = patients.loc[:7, "any_malignant"].map(
        {"malignant": "benign", "benign": "malignant"}
    )
    for seed in range(5):
        cases, _ = choose_cases(patients, design_preset(ADVICE, seed=seed))
        wrong = cases[cases["predicted"] != cases["truth"]]
        assert sorted(wrong.groupby("arm").size()) == [2, 3, 3]
        assert cases.groupby(["arm", "truth"]).size().tolist() == [4] * 6


def test_each_case_is_in_one_balanced_arm() -> None:
    design = design_preset(ADVICE)
    cases, _ = choose_cases(candidates(), design)
    assert not cases["mammogram_id"].duplicated().any() and len(cases) == 120
    wrong = cases["predicted"] != cases["truth"]
    by = {"stratum": ["truth", wrong], "decision": [wrong], "class": ["truth"]}
    for name, columns in by.items():
        counts = cases.groupby(["arm", *columns]).size().unstack("arm")
        assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all(), name
    shown = cases.set_index("arm")
    assert shown.loc["no_advice", "advice"].isna().all()
    assert (shown.loc["no_advice", "texts"].map(len) == 0).all()
    for arm in ("advice_units", "advice_shuffled"):
        assert (shown.loc[arm, "advice"] == shown.loc[arm, "predicted"]).all()
    # A sham text is that of another patient, and the decision stays that of the case.
    own = {f"m{i:03d}": (f"sign {i}",) for i in range(120)}
    for row in cases.to_dict("records"):
        if row["arm"] != "no_advice":
            assert (row["texts"] == own[row["mammogram_id"]]) == (row["arm"] == "advice_units")


def test_bands_follow_the_decision() -> None:
    cases, _ = choose_cases(candidates(), design_preset(ADVICE, advice="probability_band"))
    shown = cases[cases["arm"] != "no_advice"]
    expected = np.where(shown["predicted"] == "malignant", "70-90", "10-30")
    assert (shown["advice"] == expected).all()


def test_share_of_wrong_advice_is_sampled_in_each_class() -> None:
    design = design_preset(ADVICE, wrong_advice=0.4, cases_per_class=30)
    cases, _ = choose_cases(candidates(), design)
    wrong = cases["predicted"] != cases["truth"]
    assert wrong.groupby(cases["truth"]).sum().to_dict() == {"benign": 12, "malignant": 12}
    most = choose_cases(candidates(), design_preset(ADVICE, wrong_advice=0.4))[0]
    assert len(most) > 60
    with pytest.raises(UserError, match="cannot be sampled with 50 cases.*lie between 2 and"):
        choose_cases(candidates(), design_preset(ADVICE, wrong_advice=0.5, cases_per_class=50))
    with pytest.raises(UserError, match="whatever the number of cases.*Change wrong_advice, or"):
        choose_cases(candidates(wrong=0.0), design_preset(ADVICE, wrong_advice=0.4))
    with pytest.raises(UserError, match="at least two for each arm"):
        choose_cases(candidates(), design_preset(ADVICE, cases_per_class=2))


def test_crossover_gives_each_reader_each_case_once_in_each_period() -> None:
    design = design_preset(ADVICE, cases_per_class=12, **CROSSOVER)
    cases, _ = choose_cases(candidates(), design)
    assert len(cases) == 72 and (cases.groupby("mammogram_id")["arm"].nunique() == 3).all()
    assert set(cases["block"] // PERIOD_BLOCKS) == {0, 1, 2}
    key = cases.set_index("case_number")
    first_arms = []
    for rotation, code in enumerate(("R1", "R2", "R3")):
        order = [number for number, _ in reader_order(cases, design, code, rotation)]
        assert sorted(order) == list(range(1, 73))
        for period in range(3):
            read = key.loc[order[24 * period : 24 * (period + 1)]]
            assert read["mammogram_id"].is_unique
            assert read["arm"].value_counts().to_dict() == dict.fromkeys(design.arms, 8)
        first_arms.append(key.loc[order[:24]].set_index("mammogram_id")["arm"])
    first, second = (reader_order(cases, design, "R1", rotation) for rotation in (0, 1))
    assert reader_order(cases, design, "R1") == first != second
    # The arms of one image in the first period are those of a Latin square.
    assert (pd.concat(first_arms, axis=1).nunique(axis=1) == 3).all()


def issues_of(cases: pd.DataFrame, design: Design, orders=((),)) -> dict[IssueCode, str]:
    named = {
        f"R{number}": list(order) or cases["case_number"].tolist()
        for number, order in enumerate(orders, start=1)
    }
    found = advice_issues(cases, design, named)
    return {issue.code: issue.severity for issue in found if issue.severity in (ERROR, WARNING)}


def test_a_sampled_study_leaks_nothing() -> None:
    design = design_preset(ADVICE, wrong_advice=0.4, wrong_advice_told=True, cases_per_class=30)
    cases, _ = choose_cases(candidates(), design)
    orders = [[number for number, _ in reader_order(cases, design, code)] for code in ("R1", "R2")]
    assert issues_of(cases, design, orders) == {}
    assert advice_issues(cases, design_preset("Recommended"), {"R1": orders[0]}) == []


def test_shuffled_units_are_a_sham_of_named_units_alone() -> None:
    controls = ("advice_shuffled", "no_advice")
    for advised, severity in (
        (("advice_units",), None),
        (("advice_units_map",), WARNING),
        (("advice_units", "advice_map"), NOTE),
        (("advice",), WARNING),
    ):
        design = design_preset(ADVICE, arms=(*advised, *controls))
        cases, _ = choose_cases(candidates(), design)
        found = advice_issues(cases, design, {"R1": cases["case_number"].tolist()})
        shams = [issue for issue in found if issue.code is IssueCode.ADVICE_SHAM]
        assert [issue.severity for issue in shams] == ([severity] if severity else [])
        if severity:
            assert ARM_TITLES[advised[-1]] in shams[0].finding


def test_notes_state_every_order_the_decisions_and_the_limits() -> None:
    design = design_preset(ADVICE)
    cases, _ = choose_cases(candidates(), design)
    numbers = cases["case_number"].tolist()
    found = advice_issues(cases, design, {"R1": numbers, "R5": numbers[::-1]}, threshold=0.5)
    fields = [issue.field for issue in found if issue.code is IssueCode.ADVICE_ORDER]
    assert fields == ["advice, order of R1", "advice, order of R5"]
    assert all("limit .001" in i.finding for i in found if i.code is IssueCode.ADVICE_ORDER)
    differing = int(((cases["network_score"] >= 0.5) != (cases["predicted"] == "malignant")).sum())
    notes = [issue.finding for issue in found if issue.code is IssueCode.ADVICE_DECISION]
    assert len(notes) == 1 and f"for {differing} of {len(cases)} cases it differs" in notes[0]
    assert not [i for i in advice_issues(cases, design, {}) if i.code is IssueCode.ADVICE_DECISION]


def test_control_after_advice_on_the_same_image_is_an_error() -> None:
    design = design_preset(ADVICE)
    cases, _ = choose_cases(candidates(), design)
    by_arm = {arm: rows.index.tolist() for arm, rows in cases.groupby("arm")}
    control, advised = by_arm["no_advice"][0], by_arm["advice_units"][0]
    cases.loc[control, "mammogram_id"] = cases.loc[advised, "mammogram_id"]
    numbers = cases["case_number"]
    first, last = numbers[advised], numbers[control]
    rest = [number for number in numbers if number not in (first, last)]
    after = issues_of(cases, design, [[first, *rest, last]])
    assert after[IssueCode.ADVICE_REPEATED_CASE] == ERROR
    before = issues_of(cases, design, [[last, *rest, first]])
    assert IssueCode.ADVICE_REPEATED_CASE not in before


def test_short_washout_is_a_warning() -> None:
    for days, codes in ((14, {IssueCode.ADVICE_WASHOUT}), (28, set())):
        design = design_preset(ADVICE, washout_days=days, duration_days=100)
        cases, _ = choose_cases(candidates(), design)
        assert set(issues_of(cases, design)) & {IssueCode.ADVICE_WASHOUT} == codes


def test_imbalance_and_base_rates() -> None:
    design = design_preset(ADVICE)
    cases, _ = choose_cases(candidates(), design)
    units = cases["arm"] == "advice_units"
    right = cases.assign(
        predicted=cases["predicted"].where(~units, cases["truth"]),
    )
    right["advice"] = right["advice"].where(~units, right["predicted"])
    found = issues_of(right, design)
    assert found[IssueCode.ADVICE_BALANCE] == ERROR
    assert found[IssueCode.ADVICE_BASE_RATE] == WARNING
    always = cases.assign(predicted="malignant")
    always["advice"] = always["advice"].where(always["advice"].isna(), "malignant")
    assert issues_of(always, design)[IssueCode.ADVICE_BASE_RATE] == WARNING
    # The network is wrong in 30 % of these cases.
    stated = design_preset(ADVICE, wrong_advice=0.2, wrong_advice_told=True)
    assert issues_of(cases, stated)[IssueCode.ADVICE_TOLD_SHARE] == ERROR


def test_order_that_shows_wrong_advice_is_an_error() -> None:
    design = design_preset(ADVICE)
    cases, _ = choose_cases(candidates(), design)
    wrong = cases["predicted"] != cases["truth"]
    order = [*cases.loc[wrong, "case_number"], *cases.loc[~wrong, "case_number"]]
    assert issues_of(cases, design, [order])[IssueCode.ADVICE_ORDER] == ERROR


def test_altered_advice_is_an_error() -> None:
    design = design_preset(ADVICE)
    cases, _ = choose_cases(candidates(), design)
    row = cases.index[cases["arm"] == "no_advice"][0]
    cases.loc[row, "advice"] = "benign"
    assert issues_of(cases, design)[IssueCode.ADVICE_STATEMENT] == ERROR


def test_power_is_that_of_the_change_from_first_to_final_answers() -> None:
    small, large = (
        design_power(design_preset(ADVICE, expected_first_share=share), 60, 60)
        for share in (0.78, 0.70)
    )
    assert small.endpoint == "advice_change" and 0 < small.expected < large.expected
    assert small.power < large.power
    # The form and the command plan nothing below this number.
    assert least_patients(design_preset(ADVICE)) == 4
    with pytest.raises(ValueError, match="number of patients"):
        design_power(design_preset(ADVICE), 3, 3)
