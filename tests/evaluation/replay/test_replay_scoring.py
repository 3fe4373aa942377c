"""Scores of a replayed study by each truth rule, by hand, where the rules differ."""

from __future__ import annotations

import pytest

from evaluation.replay import replay_scoring
from evaluation.replay.csv_import import ReplayCase
from evaluation.replay.replay_scoring import replay_study

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


@pytest.fixture
def result(monkeypatch):
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
    monkeypatch.setattr(replay_scoring, "read_replay_cases", lambda *_: cases)
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
