"""Shared parts of the commands: JSON values, the envelope, processes, and exit codes."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from core import distributed, runs, study_folder
from core.errors import UserError
from dashboard import cli
from dashboard.commands import common


@dataclass
class Values:
    """Values of each kind."""

    inner: Any
    path: Path = Path("/a/b")


def test_json_values() -> None:
    assert common.to_jsonable(Values([Values(None)])) == {
        "inner": [{"inner": None, "path": "/a/b"}],
        "path": "/a/b",
    }
    assert common.to_jsonable({1: (2, {3}), "a": np.array([[1.5, math.nan]])}) == {
        "1": [2, [3]],
        "a": [[1.5, None]],
    }
    assert common.to_jsonable([math.inf, -math.inf, 0.0, np.float64(2.5), np.int64(3)]) == [
        None,
        None,
        0.0,
        2.5,
        3,
    ]
    assert common.to_jsonable([True, None, "x", 7]) == [True, None, "x", 7]
    assert common.to_jsonable(datetime(2026, 1, 2, 3, 4)) == "2026-01-02 03:04:00"
    # A class is not one of its values.
    assert common.to_jsonable(Values) == str(Values)


@pytest.mark.parametrize("study", [Path("/s"), None])
def test_envelope(capsys: pytest.CaptureFixture[str], study: Path | None) -> None:
    common.emit_result("c", study, {"a": 1}, True, "the text")
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "command": "c",
        "study": study and "/s",
        "result": {"a": 1},
    }
    common.emit_result("c", study, {"a": 1}, False, "the text")
    assert capsys.readouterr().out == "the text\n"


def test_processes_of_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(study_folder, "require_study", lambda path: path / "absolute")
    monkeypatch.setattr(
        distributed,
        "all_gather_call",
        lambda work: calls.append("gather") or ["other", work(), "third"],
    )
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "check_same_launch", lambda study: calls.append(study))
    monkeypatch.setattr(distributed, "run_on_rank_zero", lambda work: work())
    monkeypatch.setattr(runs, "register_orphans", lambda study: calls.append(("orphans", study)))
    folder = tmp_path / "absolute"
    for size, step in ((1, False), (2, True)):
        monkeypatch.setattr(distributed, "world_size", lambda size=size: size)
        assert common.resolve_study(tmp_path, step) == folder
    assert calls == ["gather", folder, ("orphans", folder)] * 2
    with pytest.raises(UserError, match="This command runs in one process"):
        common.resolve_study(tmp_path)
    monkeypatch.setattr(distributed, "world_size", lambda: 1)
    assert common.resolve_study(tmp_path) == folder
    calls.clear()
    monkeypatch.setattr(distributed, "shutdown", lambda: calls.append("shutdown"))
    for is_zero in (True, False):
        monkeypatch.setattr(distributed, "is_rank_zero", lambda value=is_zero: value)
        if is_zero:
            common.exit_worker_ranks()
        else:
            with pytest.raises(typer.Exit):
                common.exit_worker_ranks()
    assert calls == ["shutdown"] * 2


def ended(monkeypatch: pytest.MonkeyPatch, error: Callable[[], Any]) -> Any:
    """Return the status with which the command line ends."""
    monkeypatch.setattr(cli, "app", error)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> Callable[[], Any]:
        def run() -> None:
            raise error

        return run

    monkeypatch.setattr(distributed, "already_reported", lambda _: False)
    assert ended(monkeypatch, fail(UserError("It is wrong."))) == 1
    assert capsys.readouterr().err == "It is wrong.\n"
    # Of many processes one reports the error.
    monkeypatch.setattr(distributed, "already_reported", lambda _: True)
    assert ended(monkeypatch, fail(UserError("It is wrong."))) == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(runs, "format_error", lambda error, folder: f"disk of {folder.name}")
    here = Path.cwd().name
    full, named = OSError(errno.ENOSPC, "full"), OSError(errno.EACCES, "denied", "a file")
    for error in (full, named):
        assert ended(monkeypatch, fail(error)) == 1
        assert capsys.readouterr() == ("", f"disk of {here}\n")
    # Any other error is a mistake of the program.
    monkeypatch.setattr(cli, "app", fail(OSError(errno.EPIPE, "broken")))
    with pytest.raises(OSError, match="broken"):
        cli.main()
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2 of {name}")
    with pytest.raises(typer.Exit):
        cli._print_version(True)
    assert capsys.readouterr().out == "deepminer 1.2 of deepminer\n"
    cli._print_version(False)
    assert capsys.readouterr().out == ""


def test_help_lists_the_commands_that_are_shown() -> None:
    written: list[Any] = []

    class Formatter:
        """Takes sections of a help text."""

        def section(self, title: str) -> Any:
            """Begin a section."""
            written.append(title)
            return pytest.MonkeyPatch.context()

        def write_dl(self, rows: Any) -> None:
            """Take the rows."""
            written.extend(rows)

    limits: list[int] = []

    def command(name: str, hidden: bool) -> SimpleNamespace:
        return SimpleNamespace(
            hidden=hidden,
            get_short_help_str=lambda limit: limits.append(limit) or f"help of {name}",
        )

    listed = {"a": command("a", False), "b": command("b", True), "c": None}
    group: Any = SimpleNamespace(
        list_commands=lambda ctx: list(listed), get_command=lambda ctx, name: listed[name]
    )
    common.CommandGroup.format_commands(group, None, Formatter())
    assert written == ["Commands", ("a", "help of a")] and limits == [1000]
