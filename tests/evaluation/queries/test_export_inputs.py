"""Inputs of exports, the status of a study and similarity to reports, from a recorded store."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.store.reading.protocol_states import CLOSED, DESIGN, FROZEN
from evaluation.queries import provenance, report_similarity, study_status
from evaluation.queries.provenance import RECORD_SUFFIX, StaleExport
from evaluation.reading_study import workflow

STUDY = Path("study")
CON: Any = STUDY


@pytest.fixture(autouse=True)
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study itself stands for its connection."""
    monkeypatch.setattr(provenance.store, "read", lambda study: nullcontext(study))


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def protocol(name: str, state: str, simulated: bool = False, **design: Any) -> Any:
    return SimpleNamespace(
        protocol=name, version=2, state=state, simulated=simulated, hash=f"h{name}", design=design
    )


class Recorded:
    """What the tables of a study hold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: dict[str, str] = {}
        self.labels: dict[int, Any] = {}
        self.confirmed: dict[int, Any] = {}
        self.protocols: list[Any] = []
        self.annotations = pd.DataFrame({"unit": [], "simulated": []})
        self.progress = pd.DataFrame({"simulated": [False, False]})
        self.simulated_source = False
        self.asked: list[Any] = []
        module = provenance
        for owner, name, function in (
            (module.run_table, "latest_run", lambda con, kind: self.runs.get(kind)),
            (module.dataset_table, "get_meta", lambda con, name: self.runs.get(name)),
            (module.dataset_table, "any_simulated_source", lambda con: self.simulated_source),
            (module, "load_order_of_experts", lambda study: f"order of {study}"),
            (module.label_sets, "load_label_set", self.load_labels),
            (module.category_table, "confirmed_categories", lambda con, run: self.confirmed),
            (module.annotation_table, "load_annotations", lambda con, run: self.annotations),
            (module.unit_table, "load_figure_picks", lambda con, run: f"picks of {run}"),
            (module.protocol_table, "list_protocols", lambda con: self.protocols),
            (module.reading_table, "reading_progress_by_reader", self.load_progress),
        ):
            monkeypatch.setattr(owner, name, function)

    def load_labels(self, *named: Any) -> dict[int, Any]:
        self.asked.append(named)
        return self.labels

    def load_progress(self, *named: Any) -> pd.DataFrame:
        self.asked.append(named)
        return self.progress


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(monkeypatch)


def label(text: str, simulated: bool = False) -> Any:
    return SimpleNamespace(text=text, simulated=simulated)


def test_versions_of_inputs(recorded: Recorded) -> None:
    names = ("data", "evaluate", "labels", "annotations", "picks", "protocol", "screenshot")
    assert provenance.current_inputs(STUDY, names) == dict.fromkeys(names, "")
    with pytest.raises(ValueError, match="'x' is not an input of an export"):
        provenance.current_inputs(STUDY, ["x"])
    recorded.runs = {"data_hash": "d", "evaluate": "e-1", "dissect": "u-1", "explain": "x-1"}
    recorded.labels = {4: label("Mass"), 2: label("Skin", True)}
    recorded.annotations = pd.DataFrame({"unit": [1], "simulated": [False]})
    recorded.protocols = [protocol("A", CLOSED), protocol("B", CLOSED), protocol("C", FROZEN)]
    found = provenance.current_inputs(STUDY, names)
    of_labels = digest({4: ("Mass", False), 2: ("Skin", True)})
    assert found == {
        "data": "d",
        "evaluate": "e-1",
        "labels": of_labels,
        "annotations": digest([{"unit": 1, "simulated": False}]),
        "picks": digest("picks of x-1"),
        "protocol": "hB",
        "screenshot": "",
    }
    assert recorded.asked[-1] == (CON, "u-1", "default", "order of study")
    recorded.confirmed = {7: "mass", 3: "skin"}
    found = provenance.current_inputs(STUDY, ["labels"])["labels"]
    assert found == digest([of_labels, [(3, "skin"), (7, "mass")]])
    recorded.protocols = [protocol("C", FROZEN), protocol("D", DESIGN)]
    assert provenance.closed_protocol(CON) is None


def test_simulated_parts(recorded: Recorded) -> None:
    names = ("data", "labels", "annotations", "protocol")

    def parts(*used: str, **named: Any) -> str:
        return provenance.simulated_parts(STUDY, used, **named)

    assert parts(*names) == ""
    recorded.simulated_source = True
    assert parts() == parts(*names) == "images"
    recorded.runs = {"dissect": "u-1"}
    recorded.labels = {1: label("a"), 2: label("b", True)}
    recorded.annotations = pd.DataFrame({"simulated": [False, True]})
    recorded.protocols = [protocol("A", CLOSED, simulated=True)]
    assert parts(*names) == "images, unit labels, annotations, answers"
    assert parts("data", "evaluate") == "images"
    assert parts("labels") == "images, unit labels"
    assert parts("protocol", label_set="A1") == "images, unit labels, answers"
    assert (CON, "u-1", "A1", "order of study") in recorded.asked
    recorded.labels = {1: label("a")}
    recorded.annotations = pd.DataFrame({"simulated": [False]})
    recorded.protocols = [protocol("A", CLOSED)]
    assert parts(*names) == "images"
    recorded.progress = pd.DataFrame({"simulated": [False, True]})
    assert parts(*names) == "images, answers" and recorded.asked[-1] == (CON, "A", 2)
    recorded.progress = pd.DataFrame({"simulated": [False]})
    other = protocol("Z", CLOSED, simulated=True)
    assert parts("protocol", protocol=other) == "images, answers"


def test_commands_that_repeat_stale_exports(recorded: Recorded, tmp_path: Path) -> None:
    folder = tmp_path / "my exports"
    assert provenance.stale_exports(STUDY, folder) == []
    folder.mkdir()
    recorded.runs = {"data_hash": "d", "evaluate": "e-2"}
    command = "deepminer figures roc --study STUDY --out DIR"
    for name, inputs in (
        ("roc", {"data": "d", "evaluate": "e-1"}),
        ("flow", {"data": "d"}),
        ("units", {"data": "c", "dissect": "u"}),
    ):
        text = {"name": name, "kind": "figure", "inputs": inputs, "command": command}
        (folder / f"{name}{RECORD_SUFFIX}").write_text(json.dumps(text))
    made = f"deepminer figures roc --study study --out '{folder}'"
    assert provenance.stale_exports(STUDY, folder) == [
        StaleExport("roc", "figure", ("evaluate",), made),
        StaleExport("units", "figure", ("data", "dissect"), made),
    ]


def test_log_of_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    log = []

    @contextmanager
    def write(study: Path) -> Any:
        yield study

    monkeypatch.setattr(provenance.store, "write", write)
    monkeypatch.setattr(provenance.run_table, "append_log", lambda *named: log.append(named))
    records: list[Any] = [
        SimpleNamespace(name="roc", data_hash="0123456789abcdefghi"),
        None,
        SimpleNamespace(name="flow", data_hash="f" * 64),
    ]
    provenance.log_exports(STUDY, "T1", records)
    assert log == [(CON, "T1", "export", f"roc 0123456789abcdef, flow {'f' * 16}")]
    provenance.log_exports(STUDY, "T1", [None])
    assert len(log) == 1


READ = pd.DataFrame({"arm": ["image", "image", "shuffled", "image"]})


def test_status_of_a_reading_study_before_and_after_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No correct answer and no P is known while the study is open."""
    protocols: list[Any] = []
    answered = [9]
    counted = []
    monkeypatch.setattr(study_status.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(study_status.protocol_table, "list_protocols", lambda con: protocols)
    monkeypatch.setattr(
        study_status.reading_table,
        "load_reading_cases",
        lambda con, name, version: READ if (name, version) == ("A", 2) else READ[:0],
    )
    monkeypatch.setattr(
        study_status.reading_table, "count_answered", lambda con, name, version, arm: answered[0]
    )
    monkeypatch.setattr(workflow, "count_correct", lambda *named: counted.append(named) or (6, 8))
    assert study_status._reading(STUDY) is None
    protocols[:] = [protocol("D", DESIGN)]
    assert study_status._reading(STUDY) is None
    protocols[:] = [protocol("B", FROZEN), protocol("A", FROZEN, arms=["image", "shuffled"])]
    hidden = {"cases": 3, "answered": 9, "correct": None, "p_greater": None}
    assert study_status._reading(STUDY) == hidden and counted == []
    protocols[:] = [protocol("A", CLOSED, arms=["image"]), protocol("B", FROZEN)]
    found = study_status._reading(STUDY)
    # P of 6 or more of 8: 28 + 8 + 1 of 256.
    assert found == {"cases": 3, "answered": 9, "correct": 6, "p_greater": 37 / 256}
    assert counted == [(STUDY, "A", 2)]
    answered[0] = 0
    assert study_status._reading(STUDY) == hidden | {"answered": 0} and len(counted) == 1


def test_numbers_of_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = pd.DataFrame(
        [
            ("patch", "auc", "malignant", 0.75),
            ("image", "auc", "malignant", 0.85),
            ("patch", "brier", "malignant", 0.25),
            ("patch", "auc", "normal", 0.65),
        ],
        columns=["level", "name", "class", "estimate"],
    )
    covered = pd.DataFrame(
        [("selected", 2, 0.5), ("interval", 2, 0.4), ("selected", 0, 0.3)],
        columns=["name", "class", "estimate"],
    )
    names = SimpleNamespace(names=("normal", "benign", "malignant"))
    runs: dict[str, str | None] = {"coverage": "c-1", "dissect": "u-1"}
    tables = {"e-1": metrics}
    module = study_status
    result = SimpleNamespace(auc=0.7, random_low=0.4, random_high=0.6)
    for owner, name, function in (
        (module.run_table, "load_metrics", lambda con, run, split: tables[run]),
        (module.run_table, "run_classes", lambda con, run: names),
        (module.run_table, "latest_run", lambda con, kind: runs[kind]),
        (module.unit_table, "load_coverage", lambda con, run: {"c-1": covered}[run]),
        (module.unit_table, "current_dissection", lambda con: runs["dissect"]),
        (module, "read_sufficiency", lambda con, run: {"u-1": result, "u-2": None}[run]),
    ):
        monkeypatch.setattr(owner, name, function)
    of_classes = {"normal": 0.65, "benign": None, "malignant": 0.75}
    assert module._auc(CON, "e-1") == of_classes
    tables["e-1"] = metrics[1:3]
    assert module._auc(CON, "e-1") is None
    assert module._coverage(CON) == {"normal": 0.3, "benign": None, "malignant": 0.5}
    assert module._sufficiency(CON) == {"auc": 0.7, "random_low": 0.4, "random_high": 0.6}
    runs["dissect"] = "u-2"
    assert module._sufficiency(CON) is None
    runs |= {"dissect": None, "coverage": None}
    assert module._sufficiency(CON) is module._coverage(CON) is module._label_states(CON) is None
    assert module._annotations(CON, STUDY) is None


def test_similarity_to_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    module, asked = report_similarity, []
    explained = pd.DataFrame(
        {
            "mammogram_id": ["m1", "m2", "m3", "m4"],
            "patient_id": ["p1", "p2", "p3", "p4"],
            "predicted": [1, -1, 2, 2],
        }
    )
    # Units of the class 2 stand for a mammogram without a decision; m4 has no report.
    influences = pd.DataFrame(
        [("m1", 1, 5), ("m1", 1, 9), ("m1", 1, 3), ("m1", 2, 3), ("m2", 2, 3), ("m4", 2, 3)],
        columns=["mammogram_id", "class", "unit"],
    )
    reports = pd.DataFrame(
        {
            "mammogram_id": ["m1", "m1", "m2", "m3"],
            "report": ["MASS ROUND ASSESSMENT 4", "CALC", "ASSESSMENT 5", "SKIN"],
        }
    )
    labels = {5: label("Mass a"), 3: label("Skin b")}
    shown = [labels]
    con = STUDY
    for owner, name, function in (
        (module.lineage, "run_label_set", lambda study, run: f"set of {run}"),
        (module.lineage, "ancestor_run", lambda study, run, kind: f"{kind} of {run}"),
        (module.unit_table, "load_explanations", lambda con, run: explained),
        (
            module.unit_table,
            "load_top_influences",
            lambda con, run, depth: asked.append(depth) or influences,
        ),
        (module.dataset_table, "load_report_lines", lambda con: reports),
        (module, "load_order_of_experts", lambda study: "order"),
        (module.label_sets, "load_label_set", lambda *named: asked.append(named) or shown[0]),
        (module, "report_tokens", lambda text: text.split()),
        (module, "study_vectors", lambda study, texts: asked.append(texts) or ("vectors", "own")),
        (
            module,
            "corpus_similarity",
            lambda references, hypotheses, patients, vectors: SimpleNamespace(
                measure=f"by {vectors}",
                given=(references, hypotheses, list(patients)),
                sentence=lambda: "is similar.",
            ),
        ),
    ):
        monkeypatch.setattr(owner, name, function)
    found = module.measure_report_similarity(STUDY, "x-1")
    references = [["MASS", "ROUND", "CALC"], [], ["SKIN"]]
    assert asked == [
        8,
        (con, "dissect of x-1", "set of x-1", "order"),
        [*references, ["Mass", "a"], ["Skin", "b"]],
    ]
    first = [["Mass", "a"], ["Skin", "b"], []]
    every = [["Mass", "a", "Skin", "b"], ["Skin", "b"], []]
    expected = [
        ("top unit", "by vectors", first, 0.627, "own"),
        ("top unit", "by None", first, None, ""),
        ("top eight", "by vectors", every, 0.533, "own"),
        ("top eight", "by None", every, None, ""),
    ]
    rows = [(r.selection, r.measure, r.result.given[1], r.published, r.vectors) for r in found]
    assert rows == expected
    assert all(r.result.given[::2] == (references, ["p1", "p2", "p3"]) for r in found)
    assert found[0].sentence() == "Top unit: is similar. Word vectors: own."
    assert replace(found[0], vectors="").sentence() == "Top unit: is similar."
    module.measure_report_similarity(STUDY, "x-1", "A1")
    assert asked[4] == (con, "dissect of x-1", "A1", "order")
    shown[0] = {}
    assert module.measure_report_similarity(STUDY, "x-1") == []
    shown[0] = labels
    reports["mammogram_id"] = "another"
    assert module.measure_report_similarity(STUDY, "x-1") == []
    assert module.descriptive_part("MASS assessment 4 ASSESSMENT 5") == "MASS "
    assert module.descriptive_part("REASSESSMENTS") == "REASSESSMENTS"
