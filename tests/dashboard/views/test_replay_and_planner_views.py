"""What replay, leakage issues and the planner render, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from dashboard.views import reading_planner, reading_replay
from dashboard.views.reading_conduct import render_issue_table
from evaluation.power import StudyPower
from support.page_transcript import expected_lines, render_into


class Upload:
    """A file as Streamlit's uploader returns it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def getvalue(self) -> bytes:
        """Return the content."""
        return self.name.encode()


def replayed() -> SimpleNamespace:
    issue = SimpleNamespace(sentence=lambda: "The order leaks")
    rule = {
        "correct": 182,
        "n": 330,
        "p_greater": 0.0346,
        "p_two_sided": 0.0692,
        "sensitivity": 0.412,
        "specificity": 0.691,
        "critical_count": 181,
        "answers_to_flip": 2,
    }
    values = {
        "truth_rules": {"folder": rule, "any_malignant": rule | {"n": 329, "correct": 180}},
        "clusters": {
            "patients": 211,
            "icc": 0.0456,
            "design_effect": 1.123,
            "gee_p_greater": 0.041,
            "sign_flip_p_greater": 0.052,
        },
        "network": {"auc": 0.893},
        "texts": {"ordered": 77, "unordered": 66},
        "lint": [{"severity": "warning", "field": "<order>", "finding": "it <leaks>"}],
        "discrepant": [
            {"case": 3, "image": "i", "response": 2, "folder": "b", "any_malignant": "m"}
        ],
    }
    sentences = ["First.", "The order leaks.", "Last."]
    return SimpleNamespace(as_dict=lambda: values, sentences=lambda: sentences, lint=[issue])


def test_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, reading_replay)
    reading_replay.render_replay()
    files = {label: Upload(f"own {label}") for label, _ in reading_replay._UPLOADS.values()}
    # Labels are optional, the others are not.
    page.answers = dict(list(files.items())[:2])
    reading_replay.render_replay()
    assert page.take() == expected_lines("results", "uploads")
    page.answers = dict(list(files.items())[:3])
    contents: list[Any] = []

    def score_files(*paths: Any) -> SimpleNamespace:
        contents.extend((p.name, p.read_text()) if p else None for p in paths)
        return replayed()

    monkeypatch.setattr(reading_replay, "replay_study", score_files)
    reading_replay.render_replay()
    assert page.take() == expected_lines("results", "replay")
    assert contents == [
        ("sheet.csv", "own Displayed sheet (CSV)"),
        ("answers.csv", "own Answers (CSV)"),
        ("key.csv", "own Key (CSV)"),
        None,
    ]
    nothing = replayed()
    nothing.as_dict()["discrepant"] = []
    reading_replay._render_result(nothing)  # type: ignore[arg-type]
    assert not any("Discrepant" in line for line in page.take())

    def refuse(sheet: Any, answers: Any, *_: Any) -> None:
        raise UserError(f"{answers} has fewer rows than {sheet}")

    monkeypatch.setattr(reading_replay, "replay_study", refuse)
    reading_replay.render_replay()
    message = "Answers (own Answers (CSV)) has fewer rows than Sheet (own Displayed sheet (CSV))"
    assert page.take()[-2] == f"error: {message!r}"


def test_issues_are_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, reading_replay)
    render_issue_table(
        [
            {"severity": severity, "field": f"<{severity}>", "finding": f"{severity} & more"}
            for severity in ("error", "warning", "note")
        ]
    )
    assert page.take() == expected_lines("results", "issues")


def test_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, reading_planner)
    page.replace(reading_planner, "power_figure", result="figure")
    plans: list[Any] = []

    def table(plan: StudyPower, patients: list[int], readers: list[int], images: tuple[int]) -> Any:
        plans.append((plan.images_per_patient, plan.correlations, patients, readers, images))
        return pd.DataFrame(
            [(50, 1, 0.1234), (50, 3, 0.2345), (80, 1, 0.3456), (80, 3, 0.4567)],
            columns=["patients", "readers", "power"],
        )

    monkeypatch.setattr(reading_planner, "power_table", table)
    monkeypatch.setattr(reading_planner, "study_power", lambda plan: "the design")
    page.answers |= {
        "Images a patient": 2.0,
        "Correlation, same image": 0.35,
        "Correlation, same patient": 0.15,
    }
    plan = StudyPower(endpoint="auc", expected=0.6, readers=7, patients=123)
    reading_planner.render_planner(plan)
    assert page.take() == expected_lines("results", "planner")
    [(images, correlations, patients, readers, shown)] = plans
    assert (images, shown) == (2, (2,))
    assert (correlations.same_image, correlations.same_patient) == (0.35, 0.15)
    assert readers == sorted({*reading_planner.DEFAULT_READERS, 7}) and 7 in readers
    assert patients == sorted({*reading_planner.DEFAULT_PATIENTS, 123}) and 123 in patients


def test_figure_of_the_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, reading_planner)
    table = pd.DataFrame(
        [(80, 3, 0.4), (50, 1, 0.1), (50, 3, 0.2), (80, 1, 0.3)],
        columns=["patients", "readers", "power"],
    )
    chosen = SimpleNamespace(patients=60, power=0.256)
    page.record("figure", reading_planner.power_figure(table, chosen))  # type: ignore[arg-type]
    one = table[table["readers"] == 1]
    page.record("one line", reading_planner.power_figure(one, chosen).data[0].line.width)  # type: ignore[arg-type]
    assert page.take() == expected_lines("results", "figure of the planner")
