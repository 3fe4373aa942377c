"""What the commands that export print and log, and what they pass on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import UserError
from support.command_stub import ACTOR, STUDY, Commands


@dataclass
class Record:
    """A provenance record of an export with its inputs."""

    name: str
    inputs: dict[str, str]


def exported(name: str, **inputs: str) -> SimpleNamespace:
    record = Record(name, inputs)
    return SimpleNamespace(name=name, record=record, step="", reason="", command="")


def skipped(name: str, command: str) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, record=None, step="Units", reason=f"{name} lacks units", command=command
    )


def exports(commands: Commands, *found: SimpleNamespace) -> None:
    stale = SimpleNamespace(
        name="old", changed=("labels",), command="repeat", sentence=lambda: "stale figure old"
    )
    commands.replace(
        evaluation__reporting__figures__export__export_figures=list(found),
        evaluation__reporting__tables__export__export_tables=list(found),
        evaluation__queries__provenance__stale_exports=[stale],
        evaluation__queries__provenance__log_exports=None,
        core__store__run_table__latest_run="evaluate-1",
        core__store__run_table__append_log=None,
    )


def test_figures(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    left_out = (skipped("units", "deepminer dissect"), skipped("roc", ""))
    exports(commands, exported("cohort", data="1"), *left_out, exported("flow", patches="2"))
    arguments = ("figures", "cohort", "flow", "--out", "o", "--width-mm", "85")
    lines = commands.text(*arguments, "--format", "pdf, png,", "--label-set", "E1").splitlines()
    assert lines == [
        "2 written to o: cohort, flow.",
        "skipped units: units lacks units (deepminer dissect)",
        "skipped roc: roc lacks units",
        "stale figure old",
    ]
    [(positional, options)] = commands.called("export_figures")
    names, report = ["cohort", "flow"], "report of figures"
    assert positional == (STUDY, names, Path("o"), 85.0, ["pdf", "png"], report, "E1")
    assert options == {"processes": 5}
    # No export contains numbers of the test split.
    assert not commands.called("append_log")
    records = [Record("cohort", {"data": "1"}), None, None, Record("flow", {"patches": "2"})]
    assert commands.called("log_exports") == [((STUDY, "T1 figures", records), {})]
    assert commands.called("stale_exports") == [((STUDY, Path("o").resolve()), {})]
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert commands.result("figures") == {
        "out": "exports",
        "written": [
            {"name": "cohort", "inputs": {"data": "1"}},
            {"name": "flow", "inputs": {"patches": "2"}},
        ],
        "skipped": [
            {
                "name": name,
                "step": "Units",
                "reason": f"{name} lacks units",
                "command": command,
            }
            for name, command in (("units", "deepminer dissect"), ("roc", ""))
        ],
        "stale": [{"name": "old", "changed": ["labels"], "command": "repeat"}],
    }
    [(positional, options)] = commands.called("export_figures")
    formats = ["pdf", "svg", "eps", "png", "tiff"]
    assert positional[1:5] == ([], Path("exports"), None, formats)
    assert (positional[6], options) == (None, {"processes": 1})


@pytest.mark.parametrize("command", ["figures", "tables"])
def test_exports_of_the_test_split_are_logged(commands: Commands, command: str) -> None:
    exports(commands, exported("cohort", data="1"), exported("roc", data="1", evaluate="e"))
    commands.text(command)
    arguments = ("write connection", f"T1 {command}", "test split opened", "evaluate-1")
    assert commands.called("append_log") == [(arguments, {})]
    assert commands.called("latest_run") == [(("write connection", "evaluate"), {})]
    # Before anything is evaluated there is nothing to open.
    commands.replace(core__store__run_table__latest_run=None)
    commands.text(command)
    assert not commands.called("append_log")
    exports(commands, skipped("roc", ""))
    assert commands.text(command).splitlines()[0] == "0 written to exports: none."
    assert not commands.called("append_log")


def test_tables(commands: Commands) -> None:
    exports(commands, exported("cohort", data="1"))
    assert commands.text("tables", "cohort", "--out", "o").startswith("1 written to o: cohort.")
    arguments = (STUDY, ["cohort"], Path("o"), "report of tables")
    assert commands.called("export_tables") == [(arguments, {})]
    records = [Record("cohort", {"data": "1"})]
    assert commands.called("log_exports") == [((STUDY, "T1 tables", records), {})]
    assert not commands.called("append_log")
    assert commands.result("tables")["out"] == "exports"
    assert commands.called("export_tables")[0][0][1] == []


def test_report(commands: Commands, tmp_path: Path) -> None:
    exports(commands)
    commands.replace(evaluation__reporting__report__write_report=Record("report", {}))
    out = tmp_path / "r.html"
    out.write_bytes(bytes(2_340_000))
    assert commands.text("report", "--out", str(out)) == f"Wrote the report to {out} (2.3 MB)."
    assert commands.called("write_report") == [((STUDY, out, "report of report"), {})]
    # A report always contains results of the test split.
    arguments = ("write connection", "T1 report", "test split opened", "evaluate-1")
    assert commands.called("append_log") == [(arguments, {})]
    arguments = (STUDY, "T1 report", [Record("report", {})])
    assert commands.called("log_exports") == [(arguments, {})]
    assert commands.result("report", "--out", str(out)) == {
        "file": str(out),
        "bytes": 2_340_000,
        "provenance": {"name": "report", "inputs": {}},
    }
    out.rename(out.with_suffix(".pdf"))
    assert "(2.3 MB)" in commands.text("report", "--out", str(out.with_suffix(".pdf")))
    with pytest.raises(UserError, match="ends in .html or .pdf"):
        commands.text("report", "--out", "r.txt")
    assert not commands.calls


def comparison(key: str, computed: float | None, reason: str) -> SimpleNamespace:
    return SimpleNamespace(
        published=SimpleNamespace(key=key, source=f"source of {key}", value="0.5"),
        computed=None if computed is None else SimpleNamespace(value=computed, origin="run 1"),
        reason=lambda: reason,
    )


def test_reproduction(commands: Commands) -> None:
    exports(commands)
    records = [exported("roc"), exported("units"), skipped("flow", "")]
    found = SimpleNamespace(
        comparisons=[
            comparison("a", 0.5, ""),
            comparison("b", 0.6, "rounded"),
            comparison("c", None, "missing"),
            comparison("d", 0.7, "other data"),
        ],
        gaps=[SimpleNamespace(part="films"), SimpleNamespace(part="texts")],
        studies=[
            SimpleNamespace(folder=STUDY, networks=[]),
            SimpleNamespace(
                folder=STUDY,
                networks=[SimpleNamespace(evaluate="e1"), SimpleNamespace(evaluate="e2")],
            ),
        ],
        exports=[(STUDY, records[0]), (Path("/other"), records[1]), (STUDY, records[2])],
    )
    commands.replace(evaluation__reproduction__reproduce_papers=found)
    options = ("--out", "o", "--format", "pdf, svg", "--workers", "4")
    assert commands.text("reproduce", "release", *options) == (
        "3 of 4 published values computed, 1 of them as printed; 2 parts of the material are"
        " missing or unused. o/reproduction.md lists values, reasons and missing parts."
    )
    [(arguments, keywords)] = commands.called("reproduce_papers")
    assert arguments[:3] == (Path("release"), Path("o").resolve(), ACTOR)
    assert keywords == {"formats": ("pdf", "svg"), "workers": 4}
    logged = [records[0].record, None]
    assert commands.called("log_exports") == [((STUDY, "T1 reproduce", logged), {})] * 2
    # Only the second study has networks; the last one is what was evaluated.
    arguments = ("write connection", "T1 reproduce", "test split opened", "e2")
    assert commands.called("append_log") == [(arguments, {})]
    result = commands.result("reproduce", "release", study=None)
    assert result["values"][1] == {
        "key": "b",
        "source": "source of b",
        "published": "0.5",
        "computed": 0.6,
        "origin": "run 1",
        "reason": "rounded",
    }
    assert [row["computed"] for row in result["values"]] == [0.5, 0.6, None, 0.7]
    assert result["values"][2]["origin"] is None
    assert result["missing"] == [{"part": "films"}, {"part": "texts"}]
    assert result["studies"] == [str(STUDY)] * 2 and result["exports"] == ["roc", "units"]
    assert result["out"] == "reproduction"
