"""What the Explanations page and the list of data problems render, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.errors import UserError
from core.interpretation.explanation import NamedUnit
from core.settings import Settings
from core.store import problem_table
from dashboard.server import image_routes
from dashboard.ui import theme
from dashboard.views import data_problems
from dashboard.views.explanations import attention_weights, details
from evaluation.intervals import Interval
from evaluation.queries.explanations import AttentionWeight, ExplainedMammogram
from support.page_transcript import STUDY, Transcript, expected_lines, render_into

RUN, DISSECT = "explain-1", "dissect-1"
FINDINGS = pd.DataFrame(
    {
        "outline": [[np.array([[1, 2]]), np.array([[3, 4]])], [np.array([[5, 6]])]],
        "report": ["MASS_ROUND", ""],
    }
)


def case(**changes: Any) -> ExplainedMammogram:
    units = tuple(
        NamedUnit(rank=rank, unit=unit, influence=influence, label=label, state=state)
        for rank, unit, influence, label, state in (
            (1, 4, 2.5, "<Mass>", "agreed"),
            (2, 8, 1.25, None, ""),
            (3, 9, 0.75, "Line", ""),
        )
    )
    values: dict[str, Any] = {
        "mammogram_id": "C1",
        "patient_id": "P<1>",
        "image_file": "f1",
        "width": 300,
        "height": 400,
        "view": "left <CC>",
        "split": "test",
        "predicted": "malignant",
        "truth": "benign",
        "scores": {"normal": 0.21, "benign": None, "malignant": 0.87},
        "units": units,
        "class_map": np.array([[0.0, 0.5]]),
        "unit_maps": np.array([[[1.0]], [[2.0]], [[0.5]]]),
        "scale": 4.0,
        "findings": FINDINGS,
        "simulated": False,
        "outside": 0.31,
        "classes": MAMMOGRAPHY,
        **changes,
    }
    return ExplainedMammogram(**values)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, details, theme, own=("show_mammograms",))
    page.replace(details, "render_sufficiency", "render_summary_lines")
    monkeypatch.setattr(details, "image_noun", lambda: "scan")
    monkeypatch.setattr(details, "image_nouns", lambda: "scans")
    monkeypatch.setattr(details, "shows_breasts", lambda: True)
    monkeypatch.setattr(
        image_routes, "image_url", lambda kind, audience, file: f"{kind} {audience} {file}"
    )
    monkeypatch.setattr(image_routes, "source_url", lambda file: f"source {file}")
    monkeypatch.setattr(
        details,
        "top_patch_urls",
        lambda run, units, number, size: {u: [f"{run} {u} {number} {size}"] for u in units},
    )
    monkeypatch.setattr(details, "load_order_of_experts", lambda _: ["E1"])
    monkeypatch.setattr(details, "load_settings", lambda _: Settings())
    page.queries |= {("ancestor_run", RUN, "dissect"): DISSECT, ("load_classes",): MAMMOGRAPHY}
    return page


def test_decision(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    details.render_decision(case())
    monkeypatch.setattr(details, "shows_breasts", lambda: False)
    other = ClassDefinition(("other", "malignant"), "malignant", "")
    details.render_decision(case(predicted=None, truth=None, classes=other))
    assert page.take() == expected_lines("explanations", "decision")


def test_response_outside_the_breast(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = details.OUTSIDE_WARNING
    for share in (None, limit, limit + 0.0051):
        details.render_outside_warning(case(outside=share))
        details.render_notes(case(outside=share))
    monkeypatch.setattr(details, "shows_breasts", lambda: False)
    details.render_outside_warning(case())
    details.render_notes(case())
    assert page.take() == expected_lines("explanations", "outside")


def test_maps(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    details.render_maps(case(), 5)
    monkeypatch.setattr(details, "shows_breasts", lambda: False)
    details.render_maps(case(predicted="normal", findings=FINDINGS.iloc[1:]), 1)
    details.render_maps(case(predicted=None, scores={}, findings=FINDINGS.iloc[:0]), 1)
    assert page.take() == expected_lines("explanations", "maps")


def test_strip_of_units(page: Transcript) -> None:
    def unit_state(label: str, state: str, counts: bool, disputed: bool) -> SimpleNamespace:
        return SimpleNamespace(label=label, state=state, counts=counts, disputed=disputed)

    page.queries["unit_states", DISSECT, ("E1",)] = {
        4: unit_state("Mass", "agreed", True, False),
        8: unit_state("Skin", "provisional", False, False),
        9: unit_state("", "", False, True),
        10: unit_state("", "nothing", False, False),
    }
    details.render_unit_strip(RUN, case())
    details.render_unit_strip(RUN, case(label_set="E1", predicted=None))
    assert page.take() == expected_lines("explanations", "strip")
    assert details._pending_labels(DISSECT) == {8: "provisional", 9: "experts differ"}


def test_faithfulness_of_the_class(page: Transcript) -> None:
    page.queries |= {
        ("summary_lines", DISSECT, 2): ["lines of malignant"],
        ("summary_lines", DISSECT, 0): [],
        ("latest_ablation", DISSECT): "ablate-1",
    }
    details.render_class_faithfulness(RUN, case())
    details.render_class_faithfulness(RUN, case(predicted=None))
    details.render_class_faithfulness(RUN, case(predicted="normal"))
    page.queries["latest_ablation", DISSECT] = None
    details.render_class_faithfulness(RUN, case(predicted="normal"))
    assert page.take() == expected_lines("explanations", "faithfulness")


def test_similarity_to_reports(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    mean = Interval(estimate=0.412, low=0.387, high=0.443, level=0.95, method="bootstrap")
    rows = [
        SimpleNamespace(
            selection="top words",
            measure="F1",
            published=0.627,
            vectors="v.txt",
            result=SimpleNamespace(
                pairs=57,
                mean=mean,
                baseline=0.356,
                p_greater=p,
                undefined=3,
                oov_reference=0.123,
                oov_hypothesis=0.234,
            ),
        )
        for p in (0.0213, 0.0003)
    ]
    asked: list[Any] = []
    answers: list[Any] = [rows, [], UserError("No vectors.")]

    def measure(function: Any, *arguments: Any, files: Any) -> Any:
        asked.append((function.__name__, *arguments, files))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(details, "cached_result", measure)
    details.render_report_similarity(RUN, "E1")
    settings = Settings()
    settings = settings.with_changes("evaluation", word_vectors="w/v.txt")
    monkeypatch.setattr(details, "load_settings", lambda _: settings)
    details.render_report_similarity(RUN, "E1")
    details.render_report_similarity(RUN, "E1")
    assert page.take() == expected_lines("explanations", "similarity")
    name = "measure_report_similarity"
    vectors = [STUDY / "w/v.txt"]
    assert asked == [(name, RUN, "E1", [])] + [(name, RUN, "E1", vectors)] * 2


def test_attention_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, attention_weights)
    attention_weights.render_attention_weights(())
    weights = (
        AttentionWeight(name="image", value="", weight=0.625, missing=False),
        AttentionWeight(name="<age>", value="5<0", weight=0.25, missing=False),
        AttentionWeight(name="density", value=None, weight=0.125, missing=True),
    )
    attention_weights.render_attention_weights(weights)
    assert page.take() == expected_lines("explanations", "attention")


PROBLEMS = pd.DataFrame(
    [
        ("p1", "C1, finding 1", "=cause 1", "outside_breast", "C1", None, None),
        ("p2", "file x", "cause *2*", "", None, "accepted", "T3"),
        ("p3", "C2", "cause 3", "outside_breast", "C2", "left_out", "T4"),
        ("p4", "C1, finding 2", "cause 4", "too_small", "C1", None, None),
        ("p5", "C9", "cause 5", "too_small", "C9", None, None),
    ],
    columns=["problem_id", "item", "cause", "code", "mammogram_id", "resolution", "resolved_by"],
).assign(action="look")
MAMMOGRAMS = pd.DataFrame(
    {"mammogram_id": ["C2", "C1"], "file": ["f2", "f1"], "width": [30, 31], "height": [40, 41]}
)
OWN_FINDINGS = pd.DataFrame(
    {
        "mammogram_id": ["C1", "C2", "C1"],
        "outline": [[np.array([[1, 2]])], [np.array([[9, 9]])], [np.array([[5, 6]])]],
    }
)


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, data_problems, own=("show_mammograms", "flash"))
    monkeypatch.setattr(data_problems, "image_noun", lambda: "scan")
    monkeypatch.setattr(data_problems, "image_nouns", lambda: "scans")
    monkeypatch.setattr(
        image_routes, "image_url", lambda kind, audience, file: f"{kind} {audience} {file}"
    )
    monkeypatch.setattr(image_routes, "source_url", lambda file: f"source {file}")
    page.queries = {
        ("_sheet_jpeg", ("C1", "C2")): b"jpeg",
        ("_sheet_jpeg", ("C1",)): b"jpeg 1",
    }
    return page


def select(page: Transcript, rows: list[int]) -> None:
    selection = SimpleNamespace(selection=SimpleNamespace(rows=rows))
    page.replace(data_problems.elements, "data_table", result=selection)


def test_problems(problems: Transcript) -> None:
    data_problems.render_problems(PROBLEMS.iloc[:0], MAMMOGRAMS, OWN_FINDINGS)
    select(problems, [])
    data_problems.render_problems(PROBLEMS, MAMMOGRAMS, OWN_FINDINGS)
    # The first problem of a file without a mammogram cannot be decided; row 9 is gone.
    select(problems, [1, 3, 9])
    data_problems.render_problems(PROBLEMS, MAMMOGRAMS, OWN_FINDINGS)
    select(problems, [1])
    data_problems.render_problems(PROBLEMS, MAMMOGRAMS, OWN_FINDINGS)
    assert problems.take() == expected_lines("problems", "list")


@pytest.mark.parametrize(
    ("kind", "open_only", "ids"),
    [
        ("Any kind", False, ["p1", "p2", "p3", "p4", "p5"]),
        ("outside_breast", False, ["p1", "p3"]),
        ("outside_breast", True, ["p1"]),
        ("other", False, ["p2"]),
        ("Any kind", True, ["p1", "p4", "p5"]),
    ],
)
def test_filters(problems: Transcript, kind: str, open_only: bool, ids: list[str]) -> None:
    problems.answers |= {"Kind": kind, "Only without a decision": open_only}
    table = data_problems._filtered(PROBLEMS)
    assert table["problem_id"].tolist() == ids and table.index.tolist() == list(range(len(ids)))


def test_contact_sheet(problems: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    data_problems._render_sheet(PROBLEMS, {"C1", "C2"})
    data_problems._render_sheet(PROBLEMS, set())
    many = pd.DataFrame({"mammogram_id": [f"C{n}" for n in range(30)]})
    names = tuple(f"C{n}" for n in range(24))
    problems.queries["_sheet_jpeg", names] = b""
    data_problems._render_sheet(many, set(many["mammogram_id"]))
    assert problems.take() == expected_lines("problems", "sheet")
    drawn: list[Any] = []

    class Sheet:
        """A drawing that can be saved."""

        def save(self, buffer: Any, kind: str, quality: int) -> None:
            drawn.append((kind, quality))
            buffer.write(b"x")

    monkeypatch.setattr(
        data_problems, "draw_study_sheet", lambda *arguments: drawn.append(arguments) or Sheet()
    )
    assert data_problems._sheet_jpeg(STUDY, ("C1",)) == b"x"
    assert drawn == [(STUDY, ("C1",), 3), ("JPEG", 85)]


def test_decisions(problems: Transcript) -> None:
    problems.replace(problem_table, "resolve_problems")
    for resolution in (problem_table.ACCEPTED, problem_table.LEFT_OUT, None):
        data_problems._decide(("p1", "p4"), resolution)
    problems.raise_from(problem_table, "resolve_problems", "Gone.")
    data_problems._decide(("p1",), None)
    assert problems.take() == expected_lines("problems", "decisions")
