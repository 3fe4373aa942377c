"""What the commands of reading studies print, and what they pass on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from core.errors import UserError
from core.store.reading.protocol_states import next_command
from dashboard.commands import reading_study
from evaluation.power import StudyPower, study_power
from evaluation.reading_study import design_preset
from evaluation.reading_study.case_selection import CaseFlow
from evaluation.reading_study.leakage_issues import IssueCode, LeakageIssue
from support.command_stub import ACTOR, STUDY, Commands

WORKFLOW = "evaluation.reading_study.workflow"
ON_VERSION = ("--protocol", "Masses", "--version", "4")
PROTOCOL = SimpleNamespace(
    protocol="Masses", version=4, state="frozen", hash="ab" * 32, content_hash="cd" * 32
)
FLOW = CaseFlow((("explained", 50, 30), ("one image a patient", 30, 29)))
# Two patients of the primary arm share no case with the other arm's three.
CASES = pd.DataFrame(
    {
        "arm": ["explanation", "shuffled", "explanation", "shuffled", "shuffled"],
        "patient_id": ["P1", "P2", "P3", "P4", "P5"],
    }
)


def test_create_with_the_defaults(commands: Commands) -> None:
    created = SimpleNamespace(version=4, cases=CASES, flow=FLOW)
    commands.replace_at(f"{WORKFLOW}.create_protocol", created)
    commands.replace_at("evaluation.reading_study.planned_power", (0.4, 654))
    text = commands.text("reading", "create")
    [((study, name, design, actor), options)] = commands.called("create_protocol")
    assert (study, name, actor, options) == (STUDY, "Reading study", ACTOR, {})
    assert design == design_preset("Recommended", name="Reading study")
    primary = int((CASES["arm"] == design.arms[0]).sum())
    assert commands.called("planned_power") == [((design, primary), {})]
    assert text.startswith(
        f"Reading study, version 4: 5 cases, {primary} of them in the primary arm. explained: 50"
        " images of 30 patients; one image a patient: 30 images of 29 patients."
    )
    assert text.endswith(f" Next: {next_command('Reading study', 4, 'design')}")


@pytest.mark.parametrize("enough", [True, False])
def test_create_with_every_option(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, enough: bool
) -> None:
    created = SimpleNamespace(version=4, cases=CASES, flow=FLOW)
    plan = replace(study_power(StudyPower(endpoint="auc", expected=0.6)), power=0.456)
    commands.replace_at(f"{WORKFLOW}.create_protocol", created)
    commands.replace_at("evaluation.reading_study.planned_power", (0.4, 654))
    commands.replace_at("evaluation.reading_study.design_power", plan)
    # Two patients are in the primary arm.
    commands.replace_at("evaluation.reading_study.design.least_patients", 2 if enough else 3)
    commands.replace_at("evaluation.reading_study.design.power_assumption", "an AUC of .600")
    arguments = (
        *("reading", "create", "--protocol", "Masses", "--preset", "DeepMiner 2021"),
        *("--readers", "7", "--cases-per-class", "11", "--split", "holdout", "--seed", "13"),
        *("--arms", "explanation , shuffled", "--truth-rule", "any_malignant"),
        *("--set", "scale=6", "--tell-prevalence"),
    )
    result = commands.result(*arguments)
    assert result == {
        "protocol": "Masses",
        "version": 4,
        "cases": 5,
        "primary_cases": 2,
        "flow": {"steps": [["explained", 50, 30], ["one image a patient", 30, 29]]},
        "power": 0.456 if enough else None,
        "sample_size": 654,
    }
    [((_, name, design, _), _)] = commands.called("create_protocol")
    chosen = {
        field: getattr(design, field)
        for field in (
            *("readers", "cases_per_class", "split", "seed", "truth_rule", "prevalence_told"),
            *("arms", "scale", "name", "primary"),
        )
    }
    assert name == "Masses" and chosen == {
        "readers": 7,
        "cases_per_class": 11,
        "split": "holdout",
        "seed": 13,
        "truth_rule": "any_malignant",
        "prevalence_told": True,
        "arms": ("explanation", "shuffled"),
        "scale": 6,
        "name": "Masses",
        "primary": "exact_binomial",
    }
    power = (
        f"Power .46 of the {plan.side} test for an AUC of .600."
        if enough
        else "No power can be computed for 2 patients of the primary arm; it needs at least 3."
    )
    assert power in commands.text(*arguments)
    if enough:
        assert commands.called("design_power") == [((design, 2, 2), {})]


def issue(severity: str) -> LeakageIssue:
    return LeakageIssue(
        field="texts",
        severity=severity,
        finding=f"a {severity} of texts",
        code=next(iter(IssueCode)),
        auc=0.7,
    )


@pytest.mark.parametrize("severity", ["error", "warning"])
def test_lint(commands: Commands, severity: str) -> None:
    checked = SimpleNamespace(**(vars(PROTOCOL) | {"state": "checked"}))
    found = issue(severity)
    commands.replace_at(f"{WORKFLOW}.check_protocol", (checked, [found]))
    lines = commands.text("reading", "lint", *ON_VERSION, "--reviewed", "as it is").splitlines()
    arguments = (STUDY, "Masses", ACTOR, "as it is")
    assert commands.called("check_protocol") == [(arguments, {"version": 4})]
    ends = {
        "error": "Errors stop this study: change the design.",
        "warning": "Next: deepminer reading freeze --protocol 'Masses' --version 4",
    }
    assert lines == [found.sentence(), ends[severity]]
    assert commands.result("reading", "lint") == {
        "protocol": "Masses",
        "version": 4,
        "stops": severity == "error",
        "lint": [found.as_dict()],
    }
    assert commands.called("check_protocol") == [((STUDY, None, ACTOR, ""), {"version": None})]


def test_freeze(commands: Commands, tmp_path: Path) -> None:
    commands.replace_at(f"{WORKFLOW}.freeze_protocol", PROTOCOL)
    reasons = ("--reason", "texts = by design=so", "--reason", "order= checked ")
    text = commands.text("reading", "freeze", *ON_VERSION, *reasons)
    given = {"texts": "by design=so", "order": "checked"}
    assert commands.called("freeze_protocol") == [((STUDY, "Masses", ACTOR, given), {"version": 4})]
    assert text.splitlines() == [
        f"Masses, version 4, is frozen. Protocol hash (design and sealed key): {'ab' * 32}",
        f"Content hash (also what readers see, and the reasons): {'cd' * 32}",
    ]
    assert commands.result("reading", "freeze") == {
        "protocol": "Masses",
        "version": 4,
        "hash": "ab" * 32,
        "content_hash": "cd" * 32,
    }
    assert commands.called("freeze_protocol") == [((STUDY, None, ACTOR, {}), {"version": None})]
    with pytest.raises(UserError, match="--reason takes FIELD=why"):
        commands.text("reading", "freeze", *reasons, "--reason", "texts")
    with pytest.raises(UserError, match="given twice for order"):
        commands.text("reading", "freeze", *reasons, "--reason", "order=again")
    # A head that cannot be written stops the command before it acts.
    taken = tmp_path / "head.json"
    taken.write_text("{}")
    for command in ("freeze", "close"):
        with pytest.raises(UserError, match="exists already"):
            commands.text("reading", command, "--deposit", str(taken))
        with pytest.raises(UserError, match="is not a folder"):
            commands.text("reading", command, "--deposit", str(tmp_path / "no" / "head.json"))
        assert not commands.calls


def test_deposit_of_the_head(commands: Commands, tmp_path: Path) -> None:
    commands.replace_at(f"{WORKFLOW}.freeze_protocol", PROTOCOL)
    commands.replace(
        core__store__evidence__chain_head="the head", core__store__evidence__deposit_head=None
    )
    file = tmp_path / "head.json"
    commands.text("reading", "freeze", "--deposit", str(file))
    assert commands.called("chain_head") == [(("read connection",), {})]
    assert commands.called("deposit_head") == [((STUDY, "the head", file), {})]
    commands.text("reading", "freeze")
    assert not commands.called("deposit_head")


@pytest.mark.parametrize("stops", [True, False])
def test_look(commands: Commands, monkeypatch: pytest.MonkeyPatch, stops: bool) -> None:
    seen = SimpleNamespace(**(vars(PROTOCOL) | {"state": "closed" if stops else "frozen"}))
    decided = SimpleNamespace(number=2, information=0.525, boundary=0.01234, stops=stops)
    commands.replace_at(f"{WORKFLOW}.take_interim_look", (seen, decided))
    commands.replace_at(f"{WORKFLOW}.find_protocol", PROTOCOL)
    text = commands.text("reading", "look", *ON_VERSION, "--confirm", "Masses")
    assert commands.calls == [
        ("take_interim_look", (STUDY, "Masses", ACTOR), {"confirm": "Masses", "version": 4})
    ]
    end = (
        "stop. The study is closed. Next: deepminer reading score --protocol 'Masses' --version 4"
        if stops
        else "continue."
    )
    assert text == (
        "Masses, version 4: look 2 at 52.5 % of the planned answers, boundary P .0123: " + end
    )
    assert commands.result("reading", "look", "--confirm", "Masses") == {
        "protocol": "Masses",
        "version": 4,
        "look": 2,
        "information": 0.525,
        "boundary": 0.01234,
        "stop": stops,
    }
    consequence = (
        "An interim look at Masses, version 4, spends a part of alpha and can close the study"
    )
    with pytest.raises(UserError, match=f"{consequence}; confirm it with --confirm 'Masses'"):
        commands.text("reading", "look", *ON_VERSION)
    assert commands.calls == [("find_protocol", ("read connection", "Masses", 4), {})]
    asked: list[str] = []
    monkeypatch.setattr(reading_study, "_on_terminal", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda text, err: asked.append((text, err)) or "typed")
    commands.text("reading", "look")
    assert asked == [(f"{consequence}. Type the study's name", True)]
    assert commands.called("take_interim_look")[0][1] == {"confirm": "typed", "version": None}


def test_a_person_is_asked_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal in (True, False):
        stream = SimpleNamespace(isatty=lambda value=is_terminal: value)
        monkeypatch.setattr(reading_study.sys, "stdin", stream)
        assert reading_study._on_terminal() is is_terminal


@pytest.mark.parametrize(
    ("state", "warns"), [("design", False), ("frozen", True), ("reading", True), ("closed", False)]
)
def test_close(commands: Commands, state: str, warns: bool) -> None:
    current = SimpleNamespace(**(vars(PROTOCOL) | {"state": state}))
    closed = SimpleNamespace(**(vars(PROTOCOL) | {"state": "closed"}))
    commands.replace_at(f"{WORKFLOW}.find_protocol", current)
    commands.replace_at(f"{WORKFLOW}.unanswered_sentence", "R1 has not answered.")
    commands.replace_at(f"{WORKFLOW}.close_protocol", closed)
    text = commands.text("reading", "close", *ON_VERSION, "--confirm", "Masses")
    assert commands.called("find_protocol") == [(("read connection", "Masses", 4), {})]
    assert commands.called("close_protocol") == [
        ((STUDY, "Masses", ACTOR), {"confirm": "Masses", "version": 4})
    ]
    asked = [(("read connection", "Masses", 4), {})] if warns else []
    assert commands.called("unanswered_sentence") == asked
    assert text.endswith(
        "Masses, version 4, is closed. Next: deepminer reading score --protocol 'Masses'"
        " --version 4"
    )
    assert commands.result("reading", "close", "--confirm", "Masses") == {
        "protocol": "Masses",
        "version": 4,
        "warning": "R1 has not answered." if warns else "",
    }
    with pytest.raises(UserError, match="Closing Masses, version 4, opens its results for good;"):
        commands.text("reading", "close")
    assert not commands.called("close_protocol")


def test_score_and_status(commands: Commands) -> None:
    commands.replace_at(f"{WORKFLOW}.score_protocol", (PROTOCOL, {"auc": 0.7}))
    commands.replace_at(f"{WORKFLOW}.log_lookup", None)
    commands.replace(
        evaluation__reading_study__narrative__narrative="A paragraph.",
        evaluation__queries__provenance__evidence_head="the head",
    )
    assert commands.text("reading", "score", *ON_VERSION) == "A paragraph."
    assert [name for name, *_ in commands.calls] == [
        "score_protocol",
        "narrative",
        "evidence_head",
        "log_lookup",
    ]
    assert commands.called("score_protocol") == [((STUDY, "Masses", 4, ACTOR), {})]
    assert commands.called("narrative") == [(({"auc": 0.7},), {})]
    assert commands.called("log_lookup") == [((STUDY, PROTOCOL, ACTOR), {})]
    assert commands.result("reading", "score") == {
        "protocol": "Masses",
        "version": 4,
        "hash": "ab" * 32,
        "score": {"auc": 0.7},
        "paragraph": "A paragraph.",
        "evidence": "the head",
    }
    progress = pd.DataFrame({"code": ["R1", "R2"], "done": [3, 4]})
    commands.replace(
        core__store__reading__protocol_table__list_protocols=[PROTOCOL],
        core__store__reading__reading_table__reading_progress_by_reader=progress,
    )
    assert commands.text("reading", "status") == "Masses, version 4: frozen, 7 answers"
    arguments = ("read connection", "Masses", 4)
    assert commands.called("reading_progress_by_reader") == [(arguments, {})]
    assert commands.result("reading", "status") == {
        "protocols": [
            {
                "protocol": "Masses",
                "version": 4,
                "state": "frozen",
                "readers": [{"code": "R1", "done": 3}, {"code": "R2", "done": 4}],
            }
        ]
    }
    commands.replace(core__store__reading__protocol_table__list_protocols=[])
    assert commands.text("reading", "status") == "No reading study yet."


def test_replay(commands: Commands) -> None:
    replayed = SimpleNamespace(as_dict=lambda: {"n": 3}, sentences=lambda: ["One.", "Two."])
    commands.replace(evaluation__replay__replay_study=replayed)
    files = ("--cases", "c.csv", "--responses", "r.csv", "--key", "k.csv")
    assert commands.text("reading", "replay", *files, "--labels", "l.json") == "One.\nTwo."
    paths = tuple(map(Path, ("c.csv", "r.csv", "k.csv", "l.json")))
    assert commands.called("replay_study") == [(paths, {})]
    assert commands.result("reading", "replay", *files, study=None) == {"n": 3}


def test_bundles_and_answers(commands: Commands, tmp_path: Path) -> None:
    bundles = "evaluation.reading_study.site_bundles"
    bundle = SimpleNamespace(id="B2", cases=31, hash="0123456789abcdef", readers=["R4", "R5"])
    commands.replace_at(f"{bundles}.create_bundle", bundle)
    commands.replace_at(f"{bundles}.export_answers", {"R4": 3, "R5": 8})
    out = tmp_path / "away"
    options = ("--out", str(out), *ON_VERSION, "--readers", "2")
    assert commands.text("reading", "bundle", *options) == (
        f"Bundle B2 in {out}: 31 cases under 0123456789ab for R4, R5. At the other site: deepminer"
        " serve, invite reader, then reading export-answers FILE"
    )
    assert commands.called("create_bundle") == [
        ((STUDY, out, "Masses", ACTOR), {"version": 4, "readers": 2})
    ]
    assert commands.result("reading", "bundle", "--out", str(out)) == vars(bundle)
    sent = ". Send it to the site that made the bundle."
    assert commands.text("reading", "export-answers", "a.json") == (
        f"a.json: 11 answers of 2 readers{sent}"
    )
    assert commands.called("export_answers") == [((STUDY, Path("a.json"), ACTOR), {})]
    assert commands.result("reading", "export-answers", "a.json") == {
        "file": "a.json",
        "readers": {"R4": 3, "R5": 8},
    }
    commands.replace_at(f"{bundles}.export_answers", {"R4": 3})
    assert commands.text("reading", "export-answers", "a.json") == (
        f"a.json: 3 answers of 1 reader{sent}"
    )
    imported = {
        "id": "B2",
        "protocol": "Masses",
        "version": 4,
        "readers": {"R4": 3, "R5": 8},
        "added": 2,
    }
    commands.replace_at(f"{bundles}.import_answers", SimpleNamespace(**imported))
    assert commands.text("reading", "import-answers", "a.json").splitlines() == [
        "From bundle B2 for Masses, version 4:",
        "R4: 3 answers",
        "R5: 8 answers",
    ]
    assert commands.called("import_answers") == [((STUDY, Path("a.json"), ACTOR), {})]
    assert commands.result("reading", "import-answers", "a.json") == imported
    commands.replace_at(f"{bundles}.import_answers", SimpleNamespace(**(imported | {"added": 0})))
    assert commands.text("reading", "import-answers", "a.json") == (
        "Everything in a.json was imported from bundle B2 before; nothing changed."
    )


def test_answers_of_a_closed_study(commands: Commands, tmp_path: Path) -> None:
    exported = SimpleNamespace(
        rows=9, protocol="Masses", version=4, files=[Path("/x/a.csv"), Path("/x/a_key.csv")]
    )
    commands.replace(evaluation__reporting__answers__export_reading_answers=exported)
    out = tmp_path / "a.csv"
    options = ("--out", str(out), "--format", "imrmc", *ON_VERSION)
    assert commands.text("reading", "answers", *options) == (
        f"9 answers of Masses, version 4, in {tmp_path}: a.csv, a_key.csv"
    )
    arguments = (STUDY, out, "imrmc", ACTOR, "Masses", 4)
    assert commands.called("export_reading_answers") == [(arguments, {})]
    assert commands.result("reading", "answers", "--out", str(out)) == {
        "rows": 9,
        "protocol": "Masses",
        "version": 4,
        "files": ["/x/a.csv", "/x/a_key.csv"],
    }
    arguments = (STUDY, out, "csv", ACTOR, None, None)
    assert commands.called("export_reading_answers") == [(arguments, {})]
