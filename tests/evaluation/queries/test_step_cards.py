"""The card of each step, from what the store would return, word for word."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.store.reading.protocol_states import CHECKED, CLOSED, DESIGN, FROZEN
from evaluation.queries import study_overview as overview
from evaluation.queries.study_overview import StepCard, StudyWarning, first_command

MADE, STUDY = datetime(2026, 2, 3, 4, 5), Path("/a/study")
CON: Any = "connection"


def replace_modules(patch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> None:
    """Replace modules of the overview by ones that hold only these functions."""
    for name, functions in modules.items():
        patch.setattr(overview, name, SimpleNamespace(**functions))


def of_run(**values: Any) -> Any:
    """Return a function that returns the value of a run, whatever else it is asked with."""
    return lambda con, run, *more: values[run]


def card(kind: str, **fields: Any) -> StepCard:
    titles = overview.RUN_STEPS | {"source": "Source", "annotate": "Annotation"}
    titles |= {"reading": "Reading", "report": "Report"}
    return StepCard(**({"kind": kind, "title": titles[kind], "headline": ""} | fields))


@pytest.mark.parametrize(
    ("skipped", "line"), [([0, 0], "3 findings"), ([2, 1], "3 skipped"), ([0, 1], "1 skipped")]
)
def test_source(monkeypatch: pytest.MonkeyPatch, skipped: list[int], line: str) -> None:
    sources = pd.DataFrame({"skipped": skipped, "made": [datetime(2025, 1, 1), MADE]})
    counts = {"patients": 1, "mammograms": 5, "findings": 3}
    replace_modules(
        monkeypatch,
        dataset_table={"load_sources": lambda con: sources, "dataset_counts": lambda con: counts},
    )
    assert overview._source_card(CON) == card(
        "source", state="done", headline="1 patient", lines=("5 mammograms", line), made=MADE
    )
    monkeypatch.setattr(overview.dataset_table, "load_sources", lambda con: sources[:0])
    assert overview._source_card(CON) == card(
        "source",
        state="missing",
        headline="no mammograms yet",
        command="deepminer ingest phantom",
    )


@pytest.mark.parametrize("state", ["running", "failed", "interrupted"])
@pytest.mark.parametrize("finished", [None, "train-1"])
@pytest.mark.parametrize("reason", ["", "patches is newer"])
def test_run(
    monkeypatch: pytest.MonkeyPatch, state: str, finished: str | None, reason: str
) -> None:
    row = {"run": "train-1", "made": pd.Timestamp(MADE)}
    attempt = {
        "state": state,
        "done": 1234,
        "total": 5678,
        "unit": "batches",
        "seen": 86_400.0,
        "message": "disk full",
    }
    replace_modules(
        monkeypatch,
        run_table={
            "latest_run": lambda con, kind: finished,
            "load_run": of_run(**{"train-1": row}),
        },
        timestamps={"from_epoch": lambda seconds: datetime.fromtimestamp(seconds)},
    )
    monkeypatch.setattr(overview, "_stale_reason", lambda con, run, stale, current: reason)
    monkeypatch.setattr(overview, "_run_facts", lambda con, run: (run["run"], ("a", "b")))
    settings: Any = None
    begun = card(
        "train",
        state=state,
        headline="1,234 of 5,678 batches",
        made=datetime.fromtimestamp(86_400.0),
        command="deepminer train",
        note="disk full",
    )
    complete = card(
        "train",
        state="stale" if reason else "done",
        headline="train-1",
        lines=("a", "b"),
        made=MADE,
        command="deepminer train" if reason else "",
        note=reason,
    )
    absent = card("train", state="missing", headline="no run yet", command="deepminer train")
    found = overview._run_card(CON, "train", attempt, set(), settings)
    assert found == (complete if finished and state != "running" else begun)
    without = overview._run_card(CON, "train", None, set(), settings)
    assert without == (complete if finished else absent)


def test_stale_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    def section(value: int) -> Any:
        return SimpleNamespace(model_dump=lambda: {"value": value})

    current: Any = SimpleNamespace(
        patches=section(1), splits=section(2), study=SimpleNamespace(seed=3)
    )
    used = {"patches": {"value": 1}, "splits": {"value": 2}, "seed": 3, "input_side": 64}
    row = {"kind": "patches", "manifest": {"inputs": "h"}, "settings": used, "parents": []}
    replace_modules(
        monkeypatch, dataset_table={"get_meta": lambda con, name: {"data_hash": "h"}[name]}
    )
    assert overview._stale_reason(CON, row, set(), current) == ""
    added = row | {"manifest": {"inputs": "other"}}
    assert overview._stale_reason(CON, added, set(), current) == "images were added since"
    for name in ("patches", "splits", "seed"):
        other = row | {"settings": used | {name: 9}}
        assert overview._stale_reason(CON, other, set(), current) == "study.toml changed since"
        less = {key: value for key, value in used.items() if key != name}
        assert overview._stale_reason(CON, row | {"settings": less}, set(), current)


def test_stale_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {("patches-2", "patches-1"), ("train-1", "train-1")}
    replace_modules(
        monkeypatch,
        run_table={
            "load_run": lambda con, run: {"kind": run.split("-")[0]},
            "latest_run": lambda con, kind: {"patches": "patches-2", "train": "train-1"}[kind],
            "is_same_patches": lambda con, latest, parent: (latest, parent) in same,
        },
    )
    settings: Any = None

    def reason(parents: list[str], stale: set[str]) -> str:
        row = {"kind": "evaluate", "parents": parents}
        return overview._stale_reason(CON, row, stale, settings)

    assert reason(["patches-1", "train-1"], {"explain"}) == ""
    assert reason(["patches-1", "train-1"], {"train"}) == "train is newer"
    assert reason(["train-0", "patches-1"], set()) == "train is newer"
    assert reason(["patches-0"], set()) == "patches is newer"


RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], str, tuple[str, ...]]] = {
    "patches": (
        {"patches": 4321},
        {"patches": {"min_overlap": 0.125}, "seed": 7},
        "4,321 patches",
        ("12.5 % rule", "split seed 7"),
    ),
    "train": (
        {"architecture": "resnet18", "best_epoch": 4},
        {"training": {"epochs": 1}},
        "resnet18",
        ("1 epoch", "best: epoch 5"),
    ),
    "dissect": (
        {"units": 2048, "dead_units": [3, 9, 11]},
        {},
        "2,048 units",
        ("2 selected", "3 dead"),
    ),
    "explain": ({}, {}, "5 mammograms", ("2 malign", "hold-out and test")),
}


def test_facts_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    explained = pd.DataFrame({"predicted": [2, 1, 0, 2, -1]})
    classes = SimpleNamespace(positive="malign", positive_code=2)
    metrics = pd.DataFrame(
        [
            ("patch", "benign", "auc", 11, 12),
            ("image", "malign", "auc", 13, 14),
            ("patch", "malign", "brier", 15, 16),
            ("patch", "malign", "auc", 1789, 1),
        ],
        columns=["level", "class", "name", "n", "patients"],
    )
    replace_modules(
        monkeypatch,
        unit_table={
            "selected_unit_ids": of_run(dissect=[4, 5]),
            "load_explanations": of_run(explain=explained),
        },
        run_table={
            "run_classes": of_run(explain=classes, evaluate=classes),
            "load_metrics": lambda con, run, split: {("evaluate", "holdout"): metrics}[run, split],
        },
    )
    for kind, (manifest, used, headline, lines) in RUNS.items():
        row = {"kind": kind, "run": kind, "manifest": manifest, "settings": used}
        assert overview._run_facts(CON, row) == (headline, lines)
    network = {"architecture": "own", "imported": {"file": "net.pt"}}
    row = {"kind": "train", "run": "train", "manifest": network, "settings": {}}
    assert overview._run_facts(CON, row) == ("own", ("imported", "net.pt"))
    row = {"kind": "evaluate", "run": "evaluate", "manifest": {}, "settings": {}}
    assert overview._run_facts(CON, row) == ("1,789 patches", ("hold-out", "1 patient"))
    assert overview._evaluation_facts(metrics[:3], "malign") == ("no patches", ("hold-out", ""))


def test_annotation(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"experts": 2, "units_annotated": 17, "units_selected": 23}
    times = pd.DataFrame({"last": [pd.Timestamp(MADE), pd.Timestamp("2025-05-06")]})
    replace_modules(
        monkeypatch,
        unit_table={"current_dissection": lambda con: "dissect-1"},
        label_states={"annotation_counts": lambda con, run, order: {"o": counts}[order]},
        annotation_table={"annotation_progress_by_expert": of_run(**{"dissect-1": times})},
    )
    monkeypatch.setattr(overview, "load_order_of_experts", lambda study: "o")
    assert overview._annotation_card(CON, STUDY) == card(
        "annotate", state="done", headline="17 / 23 units", lines=("2 experts",), made=MADE
    )
    counts |= {"experts": 0, "units_annotated": 0}
    nobody = of_run(**{"dissect-1": times[:0]})
    monkeypatch.setattr(overview.annotation_table, "annotation_progress_by_expert", nobody)
    assert overview._annotation_card(CON, STUDY) == card(
        "annotate",
        state="missing",
        headline="0 / 23 units",
        lines=("0 experts",),
        command="deepminer invite annotator",
    )
    monkeypatch.setattr(overview.unit_table, "current_dissection", lambda con: None)
    assert overview._annotation_card(CON, STUDY) == card(
        "annotate", state="missing", headline="no units yet", command="deepminer dissect"
    )


def reading(state: str, **fields: Any) -> Any:
    known = {"protocol": "Study", "version": 3, "state": state, "made": MADE}
    return SimpleNamespace(**(known | {"done": 1, "total": 8, "readers": 2} | fields))


def test_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(*states: Any) -> StepCard:
        monkeypatch.setattr(overview, "load_reading_states", lambda con: list(states))
        return overview._reading_card(CON)

    assert shown() == card(
        "reading",
        state="missing",
        headline="not designed",
        command="deepminer reading create",
    )
    assert shown(reading(FROZEN), reading(CLOSED), reading(CLOSED)) == card(
        "reading",
        state="running",
        headline="1 / 8 answers",
        lines=("frozen, 2 readers", "2 other finished"),
        made=MADE,
        command=overview.next_command("Study", 3, FROZEN),
    )
    assert shown(reading(FROZEN), reading(DESIGN)).lines == ("frozen, 2 readers", "")
    assert shown(reading(CLOSED, readers=1), reading(CLOSED)) == card(
        "reading",
        state="done",
        headline="1 / 8 answers",
        lines=("closed, 1 reader", ""),
        made=MADE,
    )
    for state, task in (
        (DESIGN, "Check the reading study for leakage."),
        (CHECKED, "Freeze the reading study."),
    ):
        found = shown(reading(state, done=0, total=0))
        assert (found.state, found.headline, found.task) == ("missing", "no answers yet", task)
        assert found.command == overview.next_command("Study", 3, state)
    commands = {overview.next_command("Study", 3, state) for state in (DESIGN, CHECKED, FROZEN)}
    assert len(commands) == 3 and all("Study" in command for command in commands)


def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    command, stale = "deepminer figures all --out exports", [SimpleNamespace(name="roc")]
    replace_modules(
        monkeypatch,
        provenance={
            "export_records": lambda study: ["older", "newer"],
            "stale_exports": lambda study, folder: {(STUDY, STUDY / "exports"): stale}[
                study, folder
            ],
        },
        timestamps={"modified_at": lambda file: f"time of {file}"},
    )
    assert overview._report_card(STUDY) == card(
        "report",
        state="stale",
        headline="2 exports",
        lines=("1 stale",),
        made="time of newer",
        command=command,
        note="exports out of date: roc",
    )
    stale.append(SimpleNamespace(name="units"))
    found = overview._report_card(STUDY)
    assert (found.lines, found.note) == (("2 stale",), "exports out of date: roc, units")
    stale.clear()
    assert overview._report_card(STUDY) == card(
        "report", state="done", headline="2 exports", made="time of newer"
    )
    monkeypatch.setattr(overview.provenance, "export_records", lambda study: [])
    assert overview._report_card(STUDY) == card(
        "report", state="missing", headline="no figures yet", command=command
    )


def test_times() -> None:
    assert overview._to_datetime(None) is None and overview._to_datetime(pd.NaT) is None
    assert overview._to_datetime(MADE) is MADE
    found = overview._to_datetime(pd.Timestamp(MADE))
    assert found == MADE and type(found) is datetime


def test_words_of_another_kind_of_image() -> None:
    found = overview._in_words(
        card("source", state="done", headline="5 mammograms", lines=("1 mammogram", "b")), "image"
    )
    assert (found.headline, found.lines) == ("5 images", ("1 image", "b"))


def test_first_command_without_a_result() -> None:
    def cards(*states: str) -> list[StepCard]:
        kinds = ("source", "patches", "train", "evaluate", "annotate", "report")
        return [
            card(kind, state=state, command=f"make {kind}") for kind, state in zip(kinds, states)
        ]

    done = cards("done", "stale", "running", "done", "missing", "missing")
    # Where every earlier step has a result or is at work, the step itself.
    assert first_command(done, "evaluate") == "make evaluate"
    for state in ("missing", "failed", "interrupted"):
        assert (
            first_command(cards("done", state, "missing", "missing"), "evaluate") == "make patches"
        )
    assert first_command(cards("missing", "missing", "missing"), "train") == "make source"
    assert first_command(cards("done", "done", "done", "missing"), "train") == "make train"


def test_few_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    units = pd.DataFrame({"unit": range(12), "top_patients": [7, 8, 3, 1, 2, 4, 5, 6, 7, 1, 2, 7]})
    selected = [0, 1, 2]
    replace_modules(
        monkeypatch,
        unit_table={"load_units": of_run(d=units), "selected_unit_ids": of_run(d=selected)},
    )
    monkeypatch.setattr(overview, "unit_name", lambda unit: f"u{unit}")
    text = "The 32 top patches of {} come from fewer than 8 patients: {}."
    sort = (("sort", "Fewest patients"),)
    # Eight patients are enough.
    names = "u0 (7), u2 (3)"
    assert overview._few_patient_warnings(CON, "d") == [
        StudyWarning(text.format("2 selected units", names), "units", sort)
    ]
    selected += [3, 4, 5, 6, 7]
    names = "u0 (7), u2 (3), u3 (1), u4 (2), u5 (4), u6 (5) and 1 more"
    assert overview._few_patient_warnings(CON, "d") == [
        StudyWarning(text.format("7 selected units", names), "units", sort)
    ]
    selected[:] = [1]
    assert overview._few_patient_warnings(CON, "d") == []
    assert overview._listed([str(n) for n in range(6)]) == "0, 1, 2, 3, 4, 5"


def test_units_that_nobody_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assigned: dict[str, list[str]] = {}
    runs = [SimpleNamespace(run="other", title="Other"), SimpleNamespace(run="d", title="Latest")]
    replace_modules(
        monkeypatch,
        assignment_table={"load_assignments": lambda con: assigned},
        unit_table={"list_dissections": lambda con: runs},
    )
    assert overview._assignment_warnings(CON, "d") == []
    assigned |= {"A1": ["other"], "A2": []}
    text = (
        "No annotator names the units of Latest, the latest dissection; the Participants page"
        " assigns it."
    )
    assert overview._assignment_warnings(CON, "d") == [StudyWarning(text, "participants")]
    assigned["A2"] = ["other", "d"]
    assert overview._assignment_warnings(CON, "d") == []


def test_units_on_which_experts_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    disputed, note = [4, 9], {"o": ""}
    replace_modules(
        monkeypatch,
        label_states={
            "disputed_units": of_run(d=disputed),
            "single_expert_note": lambda con, run, order: {("d", "o"): note["o"]}[run, order],
        },
    )
    monkeypatch.setattr(overview, "unit_name", lambda unit: f"u{unit}")
    text = (
        "Experts differ on 2 units, which have no label until a person decides (Annotations page,"
        " Adjudication): u4, u9."
    )
    differ = StudyWarning(text, "annotations", (("section", "Adjudication"),))
    assert overview._label_warnings(CON, "d", "o") == [differ]
    note["o"] = "One expert."
    single = StudyWarning("One expert.", "annotations")
    assert overview._label_warnings(CON, "d", "o") == [differ, single]
    disputed.clear()
    assert overview._label_warnings(CON, "d", "o") == [single]
