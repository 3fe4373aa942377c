"""What the commands of unit labels print, and what they pass on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from core.errors import UserError
from core.store.audit_table import Audit
from evaluation.intervals import Interval
from support.command_stub import ACTOR, STUDY, Commands

ON = ("--study", str(STUDY))
IMPORTED = {
    "run": "dissect-1",
    "answers": {"E1": 7, "E2": 5},
    "substantive": {"E1": 6, "E2": 3},
    "units": 8,
    "decided": 4,
    "traced": 2,
    "kept": ["unit_0001", "unit_0002"],
    "disputed": ["unit_0003", "unit_0004"],
    "flagged": ["unit_0005", "unit_0006"],
    "without": ["unit_0007", "unit_0008"],
    "proposed": 9,
}


def test_import(commands: Commands) -> None:
    exchange = "core.annotation.label_exchange.import_labels"
    commands.replace_at(exchange, SimpleNamespace(**IMPORTED))
    text = commands.text("labels", "import", "a.json", *ON, "--dissect", "dissect-1")
    assert commands.called("import_labels") == [
        ((STUDY, Path("a.json"), ACTOR, "dissect-1"), {}),
    ]
    assert text.splitlines() == [
        "E1: 6 of 7 answers name a finding.",
        "E2: 3 of 5 answers name a finding.",
        "4 consensus labels, 2 of them traced to raw answers.",
        "unit_0001, unit_0002: adjudicated or agreed in this study; that label stays in use, and"
        ' the imported one is in the label set "published".',
        "unit_0003, unit_0004: the imported answers differ from the agreed label, which is no"
        " longer used; decide on the Annotations page, Adjudication.",
        "Raw answers name no finding for unit_0005, unit_0006: no answer supports these labels.",
        "No raw answers are stored for unit_0007, unit_0008.",
        "8 distinct units have an answer that names a finding.",
        "The categories of 9 texts are proposed from their words; confirm them on the Annotations"
        " page or with `deepminer labels confirm`.",
    ]
    assert commands.result("labels", "import", "a.json") == {"file": "a.json", **IMPORTED}
    assert commands.called("import_labels")[0][0][3] is None
    nothing = {name: [] for name in ("kept", "disputed", "flagged", "without")}
    few = IMPORTED | nothing | {"decided": 0, "traced": 0, "proposed": 0}
    commands.replace_at(exchange, SimpleNamespace(**few))
    assert commands.text("labels", "import", "a.json").splitlines() == [
        "E1: 6 of 7 answers name a finding.",
        "E2: 3 of 5 answers name a finding.",
        "8 distinct units have an answer that names a finding.",
    ]


def test_export(commands: Commands) -> None:
    exported = {"rows": 12, "sets": {"E1": 7, "default": 5}}
    commands.replace(core__annotation__label_exchange__export_labels=exported)
    text = commands.text("labels", "export", "o.csv", *ON, "--dissect", "dissect-1")
    assert text == "o.csv: 12 rows; labelled units: E1 7, default 5."
    assert commands.called("export_labels") == [((STUDY, Path("o.csv"), "dissect-1"), {})]
    assert commands.result("labels", "export", "o.csv") == exported
    commands.replace(core__annotation__label_exchange__export_labels={"rows": 0, "sets": {}})
    assert commands.text("labels", "export", "o.csv") == "o.csv: 0 rows; labelled units: none."


def text_of(unit: str, categories: list[str], state: str) -> dict[str, object]:
    return {
        "unit": unit,
        "sets": ["E1", "E2"],
        "categories": categories,
        "state": state,
        "text": f"words of {unit}",
    }


def test_categories_confirm_and_undo(commands: Commands) -> None:
    first = text_of("unit_0002", ["mass", "normal"], "proposed")
    second = text_of("unit_0005", [], "confirmed")
    commands.replace(
        core__annotation__category_confirmation__list_texts=[first, second],
        core__annotation__category_confirmation__confirm_text=first,
        core__annotation__category_confirmation__undo_text=second,
    )
    assert commands.text("labels", "categories", "--dissect", "dissect-1").splitlines() == [
        "unit_0002 (E1, E2): mass, normal, proposed: words of unit_0002",
        "unit_0005 (E1, E2): none, confirmed: words of unit_0005",
    ]
    assert commands.called("list_texts") == [((STUDY, "dissect-1"), {})]
    assert commands.result("labels", "categories") == [first, second]
    confirm = ("labels", "confirm", "unit_0002")
    assert commands.text(*confirm) == "unit_0002: mass, normal, confirmed for: words of unit_0002"
    assert commands.called("confirm_text") == [((STUDY, "unit_0002", None, None, ACTOR, None), {})]
    options = ("--categories", "mass , normal", "--set", "E2", "--dissect", "dissect-1")
    assert commands.result(*confirm, *options) == first
    arguments = (STUDY, "unit_0002", ["mass", "normal"], "E2", ACTOR, "dissect-1")
    assert commands.called("confirm_text") == [(arguments, {})]
    undo = ("labels", "undo", "unit_0005", "--set", "E2", "--dissect", "dissect-1")
    assert commands.text(*undo) == "unit_0005: none, confirmed."
    arguments = (STUDY, "unit_0005", "E2", ACTOR, "dissect-1")
    assert commands.called("undo_text") == [(arguments, {})]
    assert commands.result(*undo) == second
    commands.replace(
        core__annotation__category_confirmation__list_texts=[],
        core__annotation__category_confirmation__undo_text=first,
    )
    assert commands.text("labels", "categories") == "No free text."
    assert commands.text(*undo) == "unit_0002: mass, normal, proposed."


def test_comments(commands: Commands, tmp_path: Path) -> None:
    table = pd.DataFrame({"unit": [3, 4], "comment": ["=first", "second"]})
    commands.replace(core__store__labels__comment_table__load_comments=table)
    file = tmp_path / "comments.csv"
    assert commands.text("labels", "comments", str(file)) == f"{file}: 2 comments."
    assert commands.called("load_comments") == [(("read connection",), {})]
    # A spreadsheet program would take the first one for a formula.
    assert file.read_text().splitlines() == ["unit,comment", "3,'=first", "4,second"]
    assert commands.result("labels", "comments", str(file)) == {"file": str(file), "comments": 2}


def test_assignments(commands: Commands) -> None:
    commands.replace(
        core__store__labels__assignment_table__assign_dissections=None,
        core__store__labels__assignment_table__assigned_titles="small, last and vgg16, last",
        core__store__labels__assignment_table__load_assignments={
            "A1": ["dissect-1"],
            "A2": ["dissect-1", "dissect-2"],
        },
        core__store__unit_table__list_dissections=[
            SimpleNamespace(run="dissect-1", title="small, last"),
            SimpleNamespace(run="dissect-2", title="vgg16, last"),
            SimpleNamespace(run="dissect-3", title="vgg16, first"),
        ],
    )
    assign = ("labels", "assign", "A1", "--dissect", "dissect-1", "--dissect", "dissect-2")
    assert commands.text(*assign) == "A1 names the units of small, last and vgg16, last."
    runs = ["dissect-1", "dissect-2"]
    assert commands.called("assign_dissections") == [(("write connection", "A1", runs, ACTOR), {})]
    assert commands.called("assigned_titles") == [(("write connection", "A1"), {})]
    assert commands.result(*assign) == {"code": "A1", "dissect": runs}
    assert commands.text("labels", "assignments").splitlines() == [
        "dissect-1 (small, last): A1, A2",
        "dissect-2 (vgg16, last): A2",
        "dissect-3 (vgg16, first): no annotator",
    ]
    assert commands.result("labels", "assignments")[1] == {
        "dissect": "dissect-2",
        "title": "vgg16, last",
        "annotators": ["A2"],
    }
    commands.replace(core__store__unit_table__list_dissections=[])
    assert commands.text("labels", "assignments") == "No network has been dissected yet."


def test_machine_names_and_embeddings(commands: Commands) -> None:
    agreement = SimpleNamespace(units=3, sentence=lambda: "They agree on 1 of 3 units.")
    named = SimpleNamespace(named=True, word="mass", score=0.7)
    unnamed = SimpleNamespace(named=False, word="line", score=0.2)
    commands.replace(
        evaluation__pipeline__machine_names__run_machine_names=SimpleNamespace(run="machine-1"),
        core__lineage__ancestor_run="dissect-1",
        core__store__labels__machine_names__load_machine_names={3: named, 8: unnamed, 9: named},
        evaluation__annotation__machine_names__machine_agreement=agreement,
        core__pipeline__embedding__open_clip_embeddings__embed_study=(
            Path("/o ut/patches.npz"),
            Path("/o ut/words.npz"),
        ),
    )
    machine = ("labels", "machine", "--images", "i.npz", "--words", "w.npz")
    assert commands.text(*machine, "--dissect", "dissect-1") == (
        '2 of 3 selected units have a name in the label set "machine". They agree on 1 of 3 units.'
    )
    arguments = (STUDY, Path("i.npz"), Path("w.npz"), "report of labels machine", "dissect-1")
    assert commands.called("run_machine_names") == [(arguments, {})]
    assert commands.called("ancestor_run") == [((STUDY, "machine-1", "dissect"), {})]
    assert commands.called("load_machine_names") == [(("read connection", "dissect-1"), {})]
    assert commands.called("machine_agreement") == [((STUDY, "dissect-1"), {})]
    result = commands.result(*machine)
    assert result["run"] == "machine-1" and list(result["names"]) == [
        "unit_0004",
        "unit_0009",
        "unit_0010",
    ]
    assert result["names"]["unit_0009"] == {"named": False, "word": "line", "score": 0.2}
    assert result["agreement"]["units"] == 3
    commands.replace(
        core__store__labels__machine_names__load_machine_names=None,
        evaluation__annotation__machine_names__machine_agreement=None,
    )
    assert commands.text(*machine) == (
        '0 of 0 selected units have a name in the label set "machine".'
    )
    assert commands.result(*machine) == {"run": "machine-1", "names": {}, "agreement": None}
    embed = ("labels", "embed", "model", "--words", "w.txt", "--out", "out")
    assert commands.text(*embed, "--dissect", "dissect-1") == (
        "Next: deepminer labels machine --images '/o ut/patches.npz' --words '/o ut/words.npz'"
    )
    paths = (Path("model"), Path("w.txt"), Path("out"))
    arguments = (STUDY, *paths, "report of labels embed", "dissect-1")
    assert commands.called("embed_study") == [(arguments, {})]
    assert commands.result(*embed) == {
        "images": "/o ut/patches.npz",
        "words": "/o ut/words.npz",
    }


AUDIT = Audit(
    audit="audit-7",
    run="dissect-1",
    seed=3,
    patches=6,
    simulated=False,
    who="T1",
    made=datetime(2026, 1, 2),
    ended=None,
)


def test_audits_begin_and_end(commands: Commands) -> None:
    workflow = "evaluation.annotation.audit_workflow"
    commands.replace_at(f"{workflow}.start_audit", AUDIT)
    commands.replace_at(f"{workflow}.end_audit", AUDIT)
    options = ("--patches", "4", "--seed", "9", "--dissect", "dissect-1", "--label-set", "E1")
    assert commands.text("labels", "audit-start", *options) == (
        "audit-7 is open; annotators reach it with the button Audit on their page. Results:"
        " deepminer labels audit"
    )
    assert commands.called("start_audit") == [((STUDY, 4, 9, ACTOR, "dissect-1", "E1"), {})]
    assert commands.result("labels", "audit-start")["seed"] == 3
    assert commands.text("labels", "audit-end") == "audit-7 is ended."
    assert commands.called("end_audit") == [((STUDY, ACTOR), {})]
    assert commands.result("labels", "audit-end")["audit"] == "audit-7"


def share(kind: str, estimate: float, yes: int) -> SimpleNamespace:
    """A proportion with bounds .1 below and .05 above, of 3 no and 2 unsure judgements."""
    interval = Interval(
        estimate=estimate, low=estimate - 0.1, high=estimate + 0.05, level=0.9, method="wilson"
    )
    return SimpleNamespace(kind=kind, interval=interval, yes=yes, no=3, unsure=2, patients=yes + 11)


def replace_audit(commands: Commands, audit_simulated: bool, simulated: bool) -> None:
    workflow = "evaluation.annotation.audit_workflow"
    gap = Interval.without_bounds(0.9, "patient bootstrap", "one patient")
    result = SimpleNamespace(
        simulated=simulated,
        pooled=(share("top", 0.7, 21), share("random", 0.2, 8)),
        difference_of=lambda unit: gap if unit is None else None,
        agreement={"estimate": 0.6},
    )
    audit = SimpleNamespace(audit="audit-7", simulated=audit_simulated)
    table = pd.DataFrame({"unit": ["unit_0003", "unit_0005"], "top": [0.7, None]})
    judged = pd.DataFrame({"code": ["A1"], "answer": ["yes"]})
    commands.replace_at(f"{workflow}.load_audit_result", (audit, result))
    commands.replace_at(f"{workflow}.outdated_labels", {4: "unit_0005: changed since."})
    commands.replace_at(f"{workflow}.audit_result_table", table)
    commands.replace_at(f"{workflow}.load_judgement_versions", judged)


def test_results_of_an_audit(commands: Commands, tmp_path: Path) -> None:
    replace_audit(commands, False, False)
    results, judgements = tmp_path / "r.csv", tmp_path / "j.csv"
    lines = commands.text(
        *("labels", "audit", "--audit", "audit-7"),
        *("--csv", str(results), "--judgements", str(judgements)),
    ).splitlines()
    assert commands.called("load_audit_result") == [((STUDY, "audit-7"), {})]
    assert commands.called("outdated_labels") == [((STUDY, "audit-7"), {})]
    assert results.read_text().splitlines() == ["unit,top", "unit_0003,0.7", "unit_0005,"]
    assert judgements.read_text().splitlines() == ["code,answer", "A1,yes"]
    assert lines == [
        "top: .700 (90 % CI .600 to .750; 21 yes, 3 no, 2 unsure, 32 patients)",
        "random: .200 (90 % CI .100 to .250; 8 yes, 3 no, 2 unsure, 19 patients)",
        "top minus random: – (90 % CI not estimable: one patient, patient bootstrap)",
        "unit_0005: changed since.",
    ]
    # A table may have been published.
    for option in ("--csv", "--judgements"):
        with pytest.raises(UserError, match=r"r\.csv exists already"):
            commands.text("labels", "audit", option, str(results))
    answer = commands.result("labels", "audit")
    assert commands.called("load_audit_result") == [((STUDY, None), {})]
    assert not commands.called("load_judgement_versions")
    assert answer["rows"] == [
        {"unit": "unit_0003", "top": 0.7},
        {"unit": "unit_0005", "top": None},
    ]
    assert answer["agreement"] == {"estimate": 0.6} and "audit-7" in answer["audit"]


@pytest.mark.parametrize("simulated", [(True, False), (False, True)])
def test_simulated_audits_say_so(commands: Commands, simulated: tuple[bool, bool]) -> None:
    replace_audit(commands, *simulated)
    first = commands.text("labels", "audit").splitlines()[0]
    assert first == "SIMULATED judgements or labels."
