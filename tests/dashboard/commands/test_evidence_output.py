"""What verify, problems, withdraw and the planner print, and what they pass on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from core.store import problem_table
from support.command_stub import ACTOR, STUDY, Commands

MADE = datetime(2026, 2, 3, 4, 5, 6)


@dataclass
class Fault:
    """A contradiction of the evidence."""

    number: int

    def sentence(self) -> str:
        """Return it in words."""
        return f"fault {self.number}"


@dataclass
class Head:
    """A head of the evidence."""

    number: int
    made: str = "today"

    def sentence(self) -> str:
        """Return it in words."""
        return f"record {self.number}"


def verification(faults: int, removed: int = 0, counts: dict[str, int] | None = None) -> Any:
    found = [Fault(n) for n in range(1, faults + 1)]
    record = SimpleNamespace(number=7, made=MADE, kind="log", subject="looked up")
    restored = datetime(2026, 3, 4, 5, 6, 7)
    return SimpleNamespace(
        valid=not found,
        records=1234,
        rows=5678,
        removed=removed,
        counts={"log": 1000, "orders": 3} if counts is None else counts,
        head=Head(9),
        faults=found,
        replaced=[SimpleNamespace(restored_at=restored, record=record)] if removed else [],
        first_broken=found[0] if found else None,
        reason="fault 1" if found else "",
    )


def evidence(commands: Commands, result: Any, contradiction: str = "") -> None:
    commands.replace(
        core__store__evidence__verify_chain=result,
        core__store__evidence__read_deposit=Head(4, "2026-01-01"),
        core__store__evidence__compare_with_deposit=contradiction,
        core__store__evidence__deposit_head=None,
    )


def test_verify(commands: Commands, tmp_path: Path) -> None:
    evidence(commands, verification(0))
    lines = [
        "1,234 records, compared with 5,678 rows (log 1,000, orders 3).",
        "Head: record 9",
    ]
    assert commands.text("verify").splitlines() == lines
    assert commands.called("verify_chain") == [(("read connection",), {})]
    assert not commands.called("compare_with_deposit")
    head, new = tmp_path / "head.json", tmp_path / "new.json"
    text = commands.text("verify", "--head", str(head), "--deposit", str(new))
    assert commands.called("read_deposit") == [((head,), {})]
    assert commands.called("compare_with_deposit") == [
        (("read connection", Head(4, "2026-01-01")), {})
    ]
    assert commands.called("deposit_head") == [((STUDY, Head(9), new), {})]
    matches = "The head deposited on 2026-01-01, record 4, matches this evidence."
    assert text.splitlines()[:3] == [*lines, matches]
    assert commands.result("verify", "--head", str(head)) == {
        "valid": True,
        "records": 1234,
        "rows": 5678,
        "removed": 0,
        "counts": {"log": 1000, "orders": 3},
        "head": {"number": 9, "made": "today"},
        "faults": [],
        "deposit": {"number": 4, "made": "2026-01-01", "contradiction": ""},
        "replaced": [],
    }
    assert commands.result("verify")["deposit"] is None
    evidence(commands, verification(0, removed=1500, counts={}))
    assert commands.text("verify").splitlines() == [
        "1,234 records, compared with 5,678 rows.",
        "Head: record 9",
        "1,500 orders or answers were removed by a recorded withdrawal.",
        "replaced by the restore of 2026-03-04 05:06:07 UTC: record 7 of 2026-02-03 04:05:06 UTC"
        " (log), looked up",
    ]


def test_broken_evidence(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    from dashboard.commands.verify import verify_command

    evidence(commands, verification(1))
    with pytest.raises(UserError, match=r"does not hold: fault 1\. Keep the study as it is"):
        verify_command(STUDY, deposit=Path("x"))
    # A head that does not hold is not deposited.
    assert not commands.called("deposit_head")
    evidence(commands, verification(22))
    capsys.readouterr()
    with pytest.raises(UserError, match=r"fault 1\. There are 21 further contradictions\. Keep"):
        verify_command(STUDY)
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BROKEN")]
    assert listed == [f"BROKEN fault {n}" for n in range(1, 21)]
    evidence(commands, verification(0), "record 4 differs")
    with pytest.raises(UserError, match="not the deposited one: record 4 differs"):
        verify_command(STUDY, head=Path("h"), deposit=Path("x"))
    assert "matches this evidence" not in capsys.readouterr().out
    assert not commands.called("deposit_head")


def problem(number: str, code: str, resolution: Any) -> tuple[Any, ...]:
    return number, f"item {number}", f"cause {number}", f"act {number}", "s1", code, resolution


def test_problems(commands: Commands, tmp_path: Path) -> None:
    columns = ["problem_id", "item", "cause", "action", "source_id", "code", "resolution"]
    rows = [problem("p1", "small", None), problem("p2", "dark", "left_out")]
    table = pd.DataFrame(rows, columns=columns)
    commands.replace(
        core__store__problem_table__list_problems=table,
        core__store__problem_table__ids_of_kind=["p1", "p9"],
        core__store__problem_table__resolve_problems=None,
        core__pipeline__ingestion__source_check__draw_study_sheets=["a.png", "b.png"],
    )
    lines = [
        "p1  item p1: cause p1 (act p1)",
        "p2  item p2: cause p2 (act p2) [left out]",
    ]
    assert commands.text("problems", "--kind", "small").splitlines() == lines
    # Nothing is decided without being asked for.
    assert [name for name, *_ in commands.calls] == ["list_problems"]
    assert commands.called("list_problems") == [(("read connection",), {"code": "small"})]
    out, sheet = tmp_path / "p.CSV", tmp_path / "s.PNG"
    options = ("--accept", "a", "--leave-out", "b", "--leave-out", "c", "--reopen", "d")
    text = commands.text("problems", *options, "--out", str(out), "--sheet", str(sheet))
    assert text.splitlines() == [*lines, "2 contact sheets: a.png"]
    con, ids = "write connection", ["p1", "p9"]
    assert [args for args, _ in commands.called("ids_of_kind")] == [(con, n) for n in "abcd"]
    assert [args for args, _ in commands.called("resolve_problems")] == [
        (con, ids, problem_table.ACCEPTED, ACTOR),
        (con, ids * 2, problem_table.LEFT_OUT, ACTOR),
        (con, ids, None, ACTOR),
    ]
    assert commands.called("draw_study_sheets") == [((STUDY, sheet), {})]
    assert out.read_text().splitlines()[1] == "p1,item p1,cause p1,act p1,s1,small,"
    assert commands.result("problems")[1] == {
        "id": "p2",
        "item": "item p2",
        "cause": "cause p2",
        "action": "act p2",
        "source": "s1",
        "kind": "dark",
        "decision": "left_out",
    }
    for option in ("--sheet", "--out"):
        with pytest.raises(UserError, match="must end with"):
            commands.text("problems", option, "x.txt")
    commands.replace(
        core__store__problem_table__list_problems=table.iloc[:0],
        core__pipeline__ingestion__source_check__draw_study_sheets=["a.png"],
    )
    text = commands.text("problems", "--sheet", str(sheet))
    assert text.splitlines() == ["No problem is listed.", "1 contact sheet: a.png"]


@pytest.mark.parametrize("kind", ["patient", "participant"])
def test_withdrawal(commands: Commands, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    done = SimpleNamespace(
        removed={"answers": 3, "orders": 8},
        runs=("patches-1", "train-2"),
        studies=("Masses, version 1", "Lines, version 2"),
        files=("f1",),
    )
    for name in ("patient", "participant"):
        commands.replace_at(f"core.store.withdrawal.withdraw_{name}", done)
    commands.replace_at("core.images.working_images.remove_working_images", None)
    assert commands.text("withdraw", kind, "X1", "--confirm", "X1") == (
        f"The {kind} X1 was withdrawn: 3 answers, 8 orders. Out of date, because they were made"
        " with these data: patches-1, train-2. Repeat them and delete their folders. Reading"
        " studies concerned: Masses, version 1; Lines, version 2."
    )
    # The files go after the rows.
    assert [(name, args) for name, args, _ in commands.calls] == [
        (f"withdraw_{kind}", ("write connection", "X1", ACTOR)),
        ("remove_working_images", (STUDY, ("f1",))),
    ]
    result = commands.result("withdraw", kind, "X1", "--confirm", "X1")
    assert result["removed"] == {"answers": 3, "orders": 8} and result["files"] == ["f1"]
    for confirm in ((), ("--confirm", "x1")):
        with pytest.raises(UserError, match=f"--confirm X1 to remove this {kind}"):
            commands.text("withdraw", kind, "X1", *confirm)
        assert not commands.calls
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("typer.get_text_stream", lambda name: terminal)
    asked: list[str] = []
    answer: Callable[[str], str] = lambda text: asked.append(text) or "X1"  # noqa: E731
    monkeypatch.setattr("typer.prompt", answer)
    nothing = SimpleNamespace(removed={}, runs=(), studies=(), files=())
    commands.replace_at(f"core.store.withdrawal.withdraw_{kind}", nothing)
    assert commands.text("withdraw", kind, "X1") == f"The {kind} X1 was withdrawn: no row."
    assert asked == [f"Type X1 to remove this {kind} for good"]


def test_planner(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def table(plan: Any, patients: Any, readers: Any, images: Any) -> pd.DataFrame:
        asked.append((plan, patients, readers, images))
        rows = [(20, 3, 0.254), (20, 5, 0.356), (40, 3, 0.458), (40, 5, 0.557)]
        return pd.DataFrame(rows, columns=["patients", "readers", "power"])

    monkeypatch.setattr("evaluation.power.power_table", table)
    arguments = ("reading", "plan", "--study", str(STUDY), "--endpoint", "auc_difference")
    lines = commands.text(
        *(*arguments, "--expected", "0.08", "--auc", "0.7", "--alpha", "0.025", "--two-sided"),
        *("--same-image", "0.35", "--same-patient", "0.15", "--readers", "4", "--cases", "9"),
        *("--images-per-patient", "2"),
    ).splitlines()
    [(plan, *sizes)] = asked
    assert sizes == [(4,), (4,), (2,)]
    assert (plan.endpoint, plan.expected, plan.auc, plan.alpha) == (
        "auc_difference",
        0.08,
        0.7,
        0.025,
    )
    assert (plan.correlations.same_image, plan.correlations.same_patient) == (0.35, 0.15)
    assert plan.side == "two-sided"
    assert lines[0].endswith("expected 0.08 around a mean AUC of 0.7, two-sided, alpha 0.025:")
    assert lines[1:] == [
        "patients    3 readers    5 readers",
        "      20         0.25         0.36",
        "      40         0.46         0.56",
    ]
    asked.clear()
    result = commands.result(*arguments)
    from evaluation.power import DEFAULT_PATIENTS, DEFAULT_READERS

    [(plan, *sizes)] = asked
    assert sizes == [DEFAULT_PATIENTS, DEFAULT_READERS, (1,)]
    # A difference of two arms is tested on both sides by default.
    assert (plan.expected, plan.side, plan.alpha) == (0.05, "two-sided", 0.05)
    assert result["assumptions"]["expected"] == 0.05 and result["table"][3]["power"] == 0.557
    commands.text("reading", "plan", "--study", str(STUDY), "--cases", "4")
    plan, patients, *_ = asked[-1]
    assert (plan.endpoint, plan.expected, plan.side) == ("auc", 0.6, "greater")
    assert patients == (4,)
    commands.text(*arguments, "--cases", "4", "--images-per-patient", "4")
    # A comparison needs two patients at least.
    assert asked[-1][1] == (2,)

    def refuse(*_: Any) -> None:
        raise ValueError("one reader")

    monkeypatch.setattr("evaluation.power.power_table", refuse)
    with pytest.raises(UserError, match="The study cannot be planned: one reader\\."):
        commands.text(*arguments)


def test_planner_from_a_pilot(commands: Commands) -> None:
    from evaluation.power import StudyPower

    closed = SimpleNamespace(
        answers="answers", key="key", design=SimpleNamespace(arms=("explanation", "shuffled"))
    )
    pilot = StudyPower(endpoint="auc", expected=0.66, power=0.9)
    commands.replace(
        evaluation__reading_study__workflow__scores__load_closed_study=closed,
        evaluation__reading_study__joined_answers__join_answers="joined",
        evaluation__power__pilot_plan=pilot,
        evaluation__power__power_table=pd.DataFrame(
            [(20, 3, 0.25)], columns=["patients", "readers", "power"]
        ),
    )
    options = ("--pilot", "Masses", "--pilot-version", "2")
    text = commands.text("reading", "plan", "--study", str(STUDY), *options)
    assert "expected 0.66, greater" in text
    assert commands.called("load_closed_study") == [((STUDY, "Masses", 2), {})]
    assert commands.called("join_answers") == [(("answers", "key", closed.design), {})]
    assert commands.called("pilot_plan") == [(("joined", "auc", closed.design.arms), {})]
