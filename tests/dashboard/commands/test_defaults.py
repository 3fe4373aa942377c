"""Defaults of all commands, and the arguments that they pass on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from typer.testing import CliRunner

from core import store
from core.errors import UserError
from core.store import participant_table
from core.store.labels import assignment_table
from dashboard import application
from dashboard.cli import app
from dashboard.commands import study as study_commands
from dashboard.commands.dataset import _parse_shard
from support import synthetic_study

# All defaults except the folder of the study, ".", and options that are off or not given.
DEFAULTS = {
    "download": {"out": Path("cbis-ddsm")},
    "evaluate": {"split": "holdout"},
    "explain": {"label_set": "default"},
    "figures": {"out": Path("exports"), "formats": "pdf,svg,eps,png,tiff"},
    "ingest": {"workers": 2, "patients": 200, "seed": 1},
    "labels audit-start": {"patches": 6, "seed": 1, "label_set": "default"},
    "patches": {"workers": 2},
    "reading answers": {"format": "csv"},
    "reading create": {"name": "Reading study", "design": "Recommended"},
    "reading lint": {"reviewed": ""},
    "reading plan": {"endpoint": "auc", "images_per_patient": 1, "alpha": 0.05},
    "report": {"out": Path("report.html")},
    "reproduce": {
        "out": Path("reproduction"),
        "formats": "pdf,svg,eps,png,tiff",
        "workers": 2,
    },
    "serve": {"port": 8501, "host": "127.0.0.1"},
    "stability": {"seeds": 3},
    "tables": {"out": Path("exports")},
}


def commands(
    command: Any = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    command = typer.main.get_command(app) if command is None else command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


def test_defaults() -> None:
    found = {
        name: {
            parameter.name: parameter.default
            for parameter in command.params
            if not parameter.required
            and parameter.default not in (None, False, (), [])
            and parameter.name != "study"
        }
        for name, command in commands()
    }
    assert {name: values for name, values in found.items() if values} == DEFAULTS
    for name, command in commands():
        for parameter in command.params:
            if parameter.name == "study" and not parameter.required:
                assert parameter.default == Path("."), name


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_assignments_as_text_and_json(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.add_dissection(con, "dissect-000000000009", "vgg16", "features.28", 1)
        for code in ("A1", "A2"):
            participant_table.add_participant(con, code, "annotator")
        assignment_table.assign_dissections(con, "A1", ["dissect-000000000009"], "team")
        assignment_table.assign_dissections(con, "A2", [synthetic_study.DISSECT], "team")
    answer = json.loads(run("labels", "assignments", "--study", str(study), "--json"))
    assert answer["command"] == "labels assignments" and answer["study"] == str(study)
    annotators = {row["dissect"]: row["annotators"] for row in answer["result"]}
    assert annotators == {"dissect-000000000009": ["A1"], synthetic_study.DISSECT: ["A2"]}
    text = run("labels", "assignments", "--study", str(study))
    assert "A1" in text and "{" not in text


def test_serve_prints_each_line_at_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that starts the server reads the link from a pipe."""
    served: list[tuple[Any, ...]] = []
    printed: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def serve(path: Path, host: str, port: int, announce: Any) -> None:
        served.append((path, host, port))
        announce("the link")

    monkeypatch.setattr(application, "serve_study", serve)
    monkeypatch.setattr(
        study_commands, "print", lambda *a, **o: printed.append((a, o)), raising=False
    )
    run("serve", "--study", str(study), "--port", "8600", "--host", "::1")
    assert served == [(study.resolve(), "::1", 8600)]
    assert printed == [(("the link",), {"flush": True})]


def test_shards() -> None:
    assert _parse_shard(None) == (1, 1)
    assert [_parse_shard(text) for text in ("1/1", "2/8", "8/8")] == [(1, 1), (2, 8), (8, 8)]
    for wrong in ("", "2", "0/8", "9/8", "x/8", "2/x", "/8", "2/", "1/2/3", "-1/8", "1.0/8"):
        with pytest.raises(UserError, match="give I/N such as 2/8"):
            _parse_shard(wrong)


def test_restoring_says_until_when_the_answers_reach(study: Path, tmp_path: Path) -> None:
    """A store without any answer has no last one."""
    backup = tmp_path / "saved.duckdb"
    store.create_backup(study, backup)
    text = run("restore", str(backup), "--study", str(study))
    assert text.startswith("0 annotations and 0 answers are restored. ")
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 3, synthetic_study.mass_answer())
        con.execute("UPDATE annotations SET made = TIMESTAMP '2026-02-03 04:05:06'")
    backup.unlink()
    store.create_backup(study, backup)
    text = run("restore", str(backup), "--study", str(study))
    assert text.startswith("1 annotations and 0 answers are restored") and "2026-02-03" in text
