"""Scores of a replayed study by each truth rule, by hand, where the rules differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from core.errors import UserError
from evaluation.clustered import clustered_proportion
from evaluation.replay import replay_scoring
from evaluation.replay.csv_import import (
    SCORE,
    TEXTS,
    ReplayCase,
    SheetRow,
    _folder_truth,
    _parse_score,
    _parse_texts,
    _report_truths,
    patient_code,
    read_unit_labels,
)
from evaluation.replay.replay_scoring import replay_study
from evaluation.roc import auc_interval

# Answer (cancer), folder, first abnormality, any malignant; m, b, u for the three truths.
ROWS = (
    *(("mmmm",) * 5),  # right by every rule
    *(("bbbb",) * 4),  # right by every rule
    *(("mbbb",) * 3),  # wrong by every rule
    "bmmm",  # wrong by every rule
    "mmum",  # unproven by the first abnormality; as benign it is answered wrongly
    "bmub",
    "bbbu",
    "mmmu",
    "mmbm",
)
TRUTHS = {"m": "malignant", "b": "benign", "u": "unproven"}


@pytest.fixture(scope="module")
def result():
    cases = [
        ReplayCase(
            case=str(100 + i),
            order=i + 1,
            texts=(f"text {i % 7}",),
            answer=row[0] == "m",
            image=f"image {i}",
            patient=f"P{i}",
            score=(37 * i % 20) / 20,
            folder=TRUTHS[row[1]],
            first_abnormality=TRUTHS[row[2]],
            any_malignant=TRUTHS[row[3]],
        )
        for i, row in enumerate(ROWS)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_scoring, "read_replay_cases", lambda *_: cases)
        return replay_study("cases.csv", "responses.csv", "key.csv")


def test_right_answers_by_each_rule(result):
    # 9 right and 4 wrong by every rule; the last five rows differ.
    scores = {name: (s.correct, s.n) for name, s in result.truth_rules.items()}
    assert scores == {
        "folder": (9 + 4, 18),
        "first_abnormality": (9 + 3, 18),
        "any_malignant": (9 + 4, 18),
    }
    assert result.n == 18 and result.clusters.n == 18


def test_cases_unproven_by_the_first_abnormality_are_left_out(result):
    # Without rows 14 and 15; of the last three, two are right by the first abnormality.
    assert (result.without_unproven.correct, result.without_unproven.n) == (9 + 2, 16)


def test_network_is_right_above_one_half(result):
    malignant = [row[1] == "m" for row in ROWS]
    right = sum(((37 * i % 20) > 10) == truth for i, truth in enumerate(malignant))
    assert any(37 * i % 20 == 10 for i in range(18))
    assert result.network.correct_at_half == right


def test_whole_result(result):
    """Counts by hand; P values by scipy; intervals by the functions of their own tests."""
    found = result.as_dict()
    answers = [row[0] == "m" for row in ROWS]
    for place, rule in enumerate(("folder", "first_abnormality", "any_malignant"), start=1):
        truth = [row[place] == "m" for row in ROWS]
        correct = sum(a == t for a, t in zip(answers, truth))
        critical = next(k for k in range(19) if stats.binom.sf(k - 1, 18, 0.5) <= 0.05)
        right = [a for a, t in zip(answers, truth) if t]
        wrong = [not a for a, t in zip(answers, truth) if not t]
        assert found["truth_rules"][rule] == {
            "n": 18,
            "correct": correct,
            "p_greater": pytest.approx(stats.binom.sf(correct - 1, 18, 0.5)),
            "p_two_sided": pytest.approx(stats.binomtest(correct, 18).pvalue),
            "sensitivity": sum(right) / len(right),
            "specificity": sum(wrong) / len(wrong),
            "critical_count": critical,
            "answers_to_flip": correct - critical + 1
            if correct >= critical
            else critical - correct,
        }
    names = ("case", "image", "response", "folder", "first_abnormality", "any_malignant")
    responses = {13: "malignant", 14: "benign", 15: "benign", 16: "malignant", 17: "malignant"}
    expected = [
        (str(i + 100), f"image {i}", responses[i], *(TRUTHS[row[k]] for k in (1, 2, 3)))
        for i, row in enumerate(ROWS)
        if i > 12
    ]
    assert [tuple(case.values()) for case in found["discrepant"]] == expected
    assert all(tuple(case) == names for case in found["discrepant"])
    right = [row[0] == row[1] for row in ROWS]
    clusters = clustered_proportion(right, [f"P{i}" for i in range(18)])
    keys = (
        *("icc", "design_effect", "gee_p_greater", "gee_p_two_sided", "sign_flip_p_greater"),
        "patient_weighted_p_greater",
    )
    assert found["clusters"] == {key: getattr(clusters, key) for key in keys} | {
        "patients": 18,
        "reason": "no patient has two answers: there is no intraclass correlation",
    }
    truth = [row[1] == "m" for row in ROWS]
    scores = [(37 * i % 20) / 20 for i in range(18)]
    area = auc_interval(truth, scores, [f"P{i}" for i in range(18)], "obuchowski")
    assert found["network"] == {
        "auc": pytest.approx(area.estimate),
        "low": pytest.approx(area.low),
        "high": pytest.approx(area.high),
        "correct_at_half": result.network.correct_at_half,
    }
    assert (found["n"], result.network.n, result.primary_rule) == (18, 18, "folder")
    assert found["texts"]["ordered"] == 7 and found["texts"]["pairs"] == 4 * 3 + 3 * 1
    assert [issue["finding"] for issue in found["lint"] if issue["field"] == "truth"] == [
        "5 cases with conflicting or unproven truth rules, not reviewed"
    ]
    assert {"field", "severity", "finding", "auc", "p"} == set(found["lint"][0])


def test_lines_of_text(result):
    lines = result.sentences()
    rules = result.truth_rules
    assert lines[:3] == [
        f"Truth by {name}: {score.sentence()}."
        for name, score in zip(("folder", "first abnormality", "any malignant"), rules.values())
    ]
    assert lines[3] == f"Without the 4 unproven: {result.without_unproven.sentence()}."
    assert lines[4] == (
        "5 cases where truth rules differ or are unproven: 113, 114, 115, 116, 117."
    )
    assert lines[5] == (
        "By the folder rule the one-sided test is significant from 13 correct answers; changing 1"
        " answer would change its conclusion."
    )
    assert lines[6:9] == [
        result.clusters.sentence(),
        result.texts.sentence(),
        result.information.sentence(),
    ]
    right = result.network.correct_at_half
    assert lines[9].startswith("The network alone: AUC .")
    assert lines[9].endswith(
        f", patients as clusters), right in {right} of 18 at a score above .5."
    )
    assert lines[10:-1] == [f"{issue.sentence()}." for issue in result.lint]
    assert lines[-1] == "One reader: the result does not generalise to readers."
    assert result.network.sentence().endswith(f"; right in {right} of 18 at a score above .5.")
    agreed = replace(result, discrepant=()).sentences()
    assert agreed[3] == "The truth rules agree on every case."
    few = replace(rules["folder"], critical_count=None, answers_to_flip=None, n=3, correct=2)
    assert few.flip_sentence("x") == (
        "By the x rule no number of correct answers would be significant."
    )
    assert replace(few, p_greater=0.5, p_two_sided=1.0).sentence() == (
        "2 of 3 correct (66.7 %), exact binomial test assuming independence, one-sided P = .500,"
        " two-sided P > .999"
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "2.5"], [10.0, 9.0, 2.5]),
        (["10", "9a", "3"], ["10", "9a", "3"]),
        (["1.2.3", "9", "3"], ["1.2.3", "9", "3"]),
    ],
)
def test_numbers_of_cases_are_compared_by_value(result, names, expected):
    case = ReplayCase(
        case="",
        order=4,
        texts=("a",),
        answer=True,
        image="i",
        patient="p",
        score=0.25,
        folder="benign",
        first_abnormality="benign",
        any_malignant="benign",
    )
    cases = [replace(case, case=name, order=k) for k, name in enumerate(names)]
    table = replay_scoring._leakage_table(cases, [True, False, True])
    assert table["case"].tolist() == expected and table["order"].tolist() == [0, 1, 2]
    assert (table["score"] == 0.25).all() and (table["patient"] == "p").all()
    assert table["truth"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("image", "patient"),
    [
        ("cancer_08-A_1403_1.RIGHT_MLO.LJPEG.1.jpg", "A_1403"),
        ("D_0004_1.LEFT_CC.jpg", "D_0004"),
        ("x-B_12_7.LEFT_MLO", "B_12"),
        ("x-E_12_7.LEFT_MLO", None),
        ("xB_12_7.LEFT_MLO", None),
        ("x-B_12_7.LEFT_LM", None),
        ("x-B_12_7.LEFT_CCX", None),
    ],
)
def test_patients_of_image_names(image, patient):
    row = SheetRow(Path("key.csv"), 3, {"Image Name": image})
    if patient is None:
        with pytest.raises(UserError, match="key.csv, line 3: .* does not contain the patient"):
            patient_code(row)
        return
    assert patient_code(row) == patient
    assert patient_code(SheetRow(Path("k"), 3, row.values | {"Patient": "own"})) == "own"


@pytest.mark.parametrize(
    ("report", "truths"),
    [
        ("PATHOLOGY BENIGN x PATHOLOGY  MALIGNANT", ("benign", "malignant")),
        ("PATHOLOGY UNPROVEN x PATHOLOGY BENIGN", ("unproven", "benign")),
        ("PATHOLOGY UNPROVEN PATHOLOGY UNPROVEN", ("unproven", "unproven")),
        ("PATHOLOGY BENIGN_WITHOUT_CALLBACK", ("benign", "benign")),
    ],
)
def test_truth_of_reports(report, truths):
    row = SheetRow(Path("key.csv"), 3, {"GT Report": report, "Case #": "1"})
    assert _report_truths(row) == truths


@pytest.mark.parametrize(
    ("image", "truth"), [("cancer_1", "malignant"), ("benign_1", "benign"), ("normal_1", "benign")]
)
def test_truth_of_folders(image, truth):
    assert _folder_truth(SheetRow(Path("key.csv"), 3, {"Image Name": image})) == truth


@pytest.mark.parametrize(
    ("text", "texts"),
    [("['a', 'b']", ("a", "b")), ("one, two", ("one, two",)), ("", ()), ("[]", ())],
)
def test_texts_of_a_sheet(text, texts):
    assert _parse_texts(SheetRow(Path("s.csv"), 2, {TEXTS: text})) == texts


def test_scores_and_texts_out_of_range():
    for score, value in (("0", 0.0), ("1", 1.0)):
        row = SheetRow(Path("k.csv"), 2, {SCORE: score})
        assert _parse_score(row) == value
    for score in ("-0.01", "1.01", "nan"):
        with pytest.raises(UserError, match="k.csv, line 2: the network's score is"):
            _parse_score(SheetRow(Path("k.csv"), 2, {SCORE: score}))
    with pytest.raises(UserError, match="holds an element that is not a text"):
        _parse_texts(SheetRow(Path("s.csv"), 2, {TEXTS: "['a', 1]"}))


def test_labels_of_units(tmp_path):
    file = tmp_path / "labels.json"
    file.write_text('{"unit_0001": "Mass", "unit_0002": " "}', encoding="utf-8")
    assert read_unit_labels(file) == {"unit_0001": "Mass"}
    file.write_text('{"unit_0001": 3}', encoding="utf-8")
    with pytest.raises(UserError, match="not an object of unit and label"):
        read_unit_labels(file)
