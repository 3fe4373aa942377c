"""The replay reproduces the published study; damaged sheets are rejected with file and line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from evaluation.reading_study.text_information import (
    leave_one_patient_out,
    text_baselines,
    text_repeats,
)
from evaluation.replay import replay_study

NAMES = (
    "explanations-benchmark.csv",
    "explanations-benchmark-responses.csv",
    "explanations-benchmark-answer-key.csv",
)


@pytest.fixture(scope="module")
def result(published_folder, unit_labels_file):
    return replay_study(*(published_folder / name for name in NAMES), unit_labels_file)


def test_scores(result):
    rules = result.as_dict()["truth_rules"]
    assert (
        rules["folder"]["correct"],
        round(rules["folder"]["p_greater"], 4),
        rules["folder"]["critical_count"],
    ) == (182, 0.0346, 181)
    assert [round(rules["folder"][name], 3) for name in ("sensitivity", "specificity")] == [
        0.582,
        0.521,
    ] and rules["folder"]["answers_to_flip"] == 2
    for name in ("first_abnormality", "any_malignant"):
        assert (rules[name]["correct"], rules[name]["n"], round(rules[name]["p_greater"], 4)) == (
            181,
            330,
            0.0439,
        )
    assert (
        result.without_unproven.correct,
        result.without_unproven.n,
        round(result.without_unproven.p_greater, 4),
    ) == (181, 329, 0.0388)


def test_discrepant(result):
    cases = {row["case"]: row for row in result.as_dict()["discrepant"]}
    assert set(cases) == {"522", "364", "497", "223", "333", "204", "276", "323", "92", "515"}
    assert [case for case, row in cases.items() if "unproven" in row.values()] == ["515"]
    assert (
        sum(
            row["folder"] != row["first_abnormality"]
            for row in cases.values()
            if row["first_abnormality"] != "unproven"
        )
        == 9
    )


def test_clusters_texts_network(result):
    clusters, texts, network = (result.as_dict()[name] for name in ("clusters", "texts", "network"))
    assert (
        clusters["patients"] == 185
        and round(clusters["design_effect"], 2) == 1.10
        and round(clusters["gee_p_greater"], 3) == 0.051
    )
    assert (texts["ordered"], texts["unordered"], texts["labels_used"]) == (
        114,
        49,
        9,
    ) and 0 < texts["same_answer_pairs"] < texts["pairs"]
    assert (
        round(network["auc"], 3) == 0.697
        and network["low"] < network["auc"] < network["high"]
        and network["correct_at_half"] == 209
    )


def test_lint(result):
    findings = result.as_dict()["lint"]
    leak = next(
        f
        for f in findings
        if f["field"] == "case" and f["severity"] == "error" and "truth" in f["finding"]
    )
    assert round(leak["auc"], 2) == 0.70 and leak["p"] < 0.001
    text = " ".join(f["finding"] for f in findings)
    for phrase in (
        "the network's score",
        "46 labelled units",
        "49 distinct texts",
        "conflicting",
        "185 patients",
        "verdict words",
        "dominates",
    ):
        assert phrase in text, phrase
    assert "in cases 253, 726" in text  # as the sheet names them, not 253.0


def test_json_keys(result):
    data = json.loads(json.dumps(result.as_dict()))
    assert list(data) == [
        "n",
        "truth_rules",
        "discrepant",
        "clusters",
        "lint",
        "texts",
        "information",
        "network",
    ]
    assert set(data["truth_rules"]["folder"]) == {
        "n",
        "correct",
        "p_greater",
        "p_two_sided",
        "sensitivity",
        "specificity",
        "critical_count",
        "answers_to_flip",
    }
    assert set(data["clusters"]) == {
        "patients",
        "icc",
        "design_effect",
        "gee_p_greater",
        "gee_p_two_sided",
        "sign_flip_p_greater",
        "patient_weighted_p_greater",
    }
    assert set(data["information"]) == {
        "leave_one_patient_out_correct",
        "in_sample_ceiling",
        "ceiling_null_p",
    }
    assert set(data["lint"][0]) == {"field", "severity", "finding", "auc", "p"}
    assert not [
        value
        for part in ("clusters", "texts", "information", "network")
        for value in data[part].values()
        if value is None
    ]
    text = "\n".join(result.sentences())
    assert "182 of 330" in text and "181 of 329" in text and "does not generalise" in text


def write(folder: Path, sheet, answers, key) -> list[Path]:
    heads = (["Case #", "DeepMiner Explanation", "Cancer or Benign (C/B)?"],) * 2 + (
        [
            "Case #",
            "Image Name",
            "GT Report",
            "DeepMiner Cancer Likelihood Prediction",
            "GT Diagnosis",
        ],
    )
    for name, head, rows in zip(NAMES, heads, (sheet, answers, key)):
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([head, *rows])
    return [folder / name for name in NAMES]


def small():
    truth = ["MALIGNANT", "BENIGN", "MALIGNANT", "BENIGN_WITHOUT_CALLBACK"]
    texts = ["['Mass', 'Vessels']", "['Vessels']", "['Mass']", "['Vessels', 'Mass']"]
    sheet = [[i, text, ""] for i, text in enumerate(texts)]
    answers = [[i, text, answer] for i, (text, answer) in enumerate(zip(texts, "CBCC"))]
    key = [
        [
            i,
            f"{'cancer' if t == 'MALIGNANT' else 'benign'}_01-A_100{i}_1.LEFT_CC.LJPEG.1.jpg",
            f"[['PATHOLOGY {t}', 'x']]",
            0.5 + 0.1 * (i % 2),
            t,
        ]
        for i, t in enumerate(truth)
    ]
    return sheet, answers, key


def test_small_study_scores(tmp_path):
    result = replay_study(*write(tmp_path, *small()))
    assert (
        result.n == 4
        and result.truth_rules["folder"].correct == 3
        and not result.discrepant
        and result.clusters.clusters == 4
    )


def test_network_without_interval_has_a_reason(tmp_path):
    for score, message in ((0.5, "tied"), (None, "separate the classes perfectly")):
        sheet, answers, key = small()
        for row in key:
            row[3] = score or (0.9 if row[4] == "MALIGNANT" else 0.1)
        assert (
            message
            in replay_study(*write(tmp_path, sheet, answers, key)).as_dict()["network"]["reason"]
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, a, k: a.pop(), "line 5: case '3' has no answer"),
        (lambda s, a, k: a.append(a[0]), "line 6: case '0' occurs a second time"),
        (lambda s, a, k: s.append(s[1]), "line 6: case '1' occurs a second time"),
        (lambda s, a, k: s.pop(), "case '3' is answered but not in the sheet"),
        (lambda s, a, k: k.pop(2), "case '2' is not in the key"),
        (lambda s, a, k: a[1].__setitem__(2, "maybe"), "line 3: the answer to case '1' is 'maybe'"),
        (lambda s, a, k: a[1].__setitem__(2, ""), "line 3: the answer to case '1' is ''"),
        (
            lambda s, a, k: a[1].__setitem__(1, "['Other']"),
            "the text of case '1' is not the one in the sheet",
        ),
        (lambda s, a, k: s[1].__setitem__(1, "['Other'"), "line 3: the explanation is not a list"),
        (
            lambda s, a, k: k[1].__setitem__(1, "cancer.jpg"),
            "line 3: the image name 'cancer.jpg' does not contain the patient",
        ),
        (
            lambda s, a, k: k[1].__setitem__(1, "x_01-A_1001_1.LEFT_CC.LJPEG.1.jpg"),
            "begins with none of",
        ),
        (lambda s, a, k: k[1].__setitem__(2, "nothing"), "states no PATHOLOGY"),
        (lambda s, a, k: k[1].__setitem__(2, "PATHOLOGY GOOD"), "'GOOD' is unknown"),
        (
            lambda s, a, k: k[1].__setitem__(3, "high"),
            "line 3: the network's score 'high' is not a number",
        ),
        (lambda s, a, k: k[1].__setitem__(3, "7"), "the network's score is 7"),
        (lambda s, a, k: a[1].append("x"), "another number of fields"),
        (lambda s, a, k: s.clear(), "holds no case"),
    ],
)
def test_damaged_sheets_are_rejected(tmp_path, change, message):
    tables = small()
    change(*tables)
    with pytest.raises(UserError) as error:
        replay_study(*write(tmp_path, *tables))
    assert message in str(error.value) and "explanations-benchmark" in str(error.value)


def test_patient_column_in_key(tmp_path):
    files = write(tmp_path, *small())
    lines = files[2].read_text().replace("-A_100", "-study").splitlines()
    files[2].write_text(
        "\n".join(
            [lines[0] + ",Patient", *(f"{line},p{i // 2}" for i, line in enumerate(lines[1:]))]
        )
    )
    assert replay_study(*files).clusters.clusters == 2


def test_missing_column_file_and_labels(tmp_path):
    files = write(tmp_path, *small())
    with pytest.raises(UserError, match="cannot be read"):
        replay_study(files[0], files[1], tmp_path / "absent.csv")
    files[2].write_text(files[2].read_text().replace("GT Report", "Report"))
    with pytest.raises(UserError, match="line 1: the column 'GT Report' is missing"):
        replay_study(*files)
    files[2].write_bytes(b"Case #\xff")
    with pytest.raises(UserError, match="not UTF-8"):
        replay_study(*files)
    files = write(tmp_path, *small())
    for text, message in (("[1]", "not an object"), ("{", "not JSON")):
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(UserError, match=message):
            replay_study(*files, tmp_path / "labels.json")


def test_information_by_hand():
    texts, truth = [("a",), ("a",), ("b",), ("b",), ("a", "b")], [True, True, False, True, False]
    got = text_baselines(texts, truth, range(5))
    assert got.in_sample_ceiling == 2 + 1 + 1 and 0 < got.ceiling_null_p <= 1
    repeats = text_repeats(texts, [1, 0, 1, 1, 0])
    assert (repeats.ordered, repeats.labels_used, repeats.pairs, repeats.same_answer_pairs) == (
        3,
        2,
        2,
        1,
    )


def test_the_seed_of_the_permutations_is_1():
    rng = np.random.default_rng(0)
    texts = [tuple(rng.choice(["a", "b", "c", "d"], 2)) for _ in range(20)]
    truth = rng.random(20) < 0.5
    usual, first, second = (text_baselines(texts, truth, range(20), *s) for s in ((), (1,), (2,)))
    assert usual == first != second


def test_left_out_classifier_uses_other_patients_only():
    rng = np.random.default_rng(0)
    truth = rng.random(80) < 0.5
    informative = [("mass",) if t else ("vessel",) for t in truth]
    assert leave_one_patient_out(informative, truth, np.arange(80)).all()
    # Each patient has a unique label, which is informative within that patient only.
    patient = np.repeat(np.arange(20), 4)
    own = [(f"label {p}",) for p in patient]
    whole = np.repeat(rng.random(20) < 0.5, 4)
    right = leave_one_patient_out(own, whole, patient)
    assert right.sum() <= (~whole).sum()
