"""Commands run with stand-ins for what they call: only the command itself is tested.

A stand-in records its arguments and returns what a test gives it, so that a test compares the whole
text, the whole JSON object and every argument that is passed on, without a study.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from core import store
from core.errors import UserError
from dashboard.cli import app

STUDY, ACTOR = Path("/the study"), "T1"
_MODULES = (
    *("common", "dataset", "demo", "exports", "labels", "pipeline", "problems", "reading_answers"),
    *("reading_plan", "reading_study", "study", "verify", "withdraw"),
)


@cache
def _command_tree() -> Any:
    return typer.main.get_command(app)


class Commands:
    """Runs commands on a study that is not there.

    calls: (name, positional arguments, keywords) of every stand-in, in order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.calls: list[tuple[Any, ...]] = []
        self.distributed = False
        for name in _MODULES:
            module = importlib.import_module(f"dashboard.commands.{name}")
            for attribute, stand_in in (
                ("resolve_study", self._resolve),
                ("command_actor", lambda command="": f"{ACTOR} {command}".strip()),
                ("progress_bar", self._progress),
                ("exit_worker_ranks", lambda: self.calls.append(("exit_worker_ranks", (), {}))),
            ):
                if name != "common" and hasattr(module, attribute):
                    monkeypatch.setattr(module, attribute, stand_in)
        # The tree of commands is built once; each invocation of the application would build it.
        monkeypatch.setattr("typer.testing._get_command", lambda _: _command_tree())
        monkeypatch.setattr("core.progress.progress_bar", self._progress)
        monkeypatch.setattr(store, "read", lambda path: self._connection("read", path))
        monkeypatch.setattr(store, "write", lambda path: self._connection("write", path))

    def _resolve(self, path: Path, distributed_step: bool = False) -> Path:
        assert path in (Path("."), STUDY)
        self.distributed = distributed_step
        return STUDY

    @contextmanager
    def _progress(self, title: str) -> Iterator[str]:
        yield f"report of {title}"

    @contextmanager
    def _connection(self, kind: str, path: Path) -> Iterator[str]:
        assert path == STUDY
        yield f"{kind} connection"

    def replace(self, **results: Any) -> None:
        """Replace functions, named as module__function, by recording stand-ins.

        The module's dots are written as two underscores; an exception is raised.
        """
        for name, result in results.items():
            self.replace_at(name.replace("__", "."), result)

    def replace_at(self, path: str, result: Any) -> None:
        """Replace one function by a recording stand-in."""
        short = path.rsplit(".", 1)[1]

        def stand_in(*args: Any, **options: Any) -> Any:
            self.calls.append((short, args, options))
            if isinstance(result, Exception):
                raise result
            return result

        self._monkeypatch.setattr(path, stand_in)

    def text(self, *arguments: str) -> str:
        """Run a command and return what it prints."""
        self.calls.clear()
        done = CliRunner().invoke(app, list(arguments))
        if isinstance(done.exception, UserError):
            raise done.exception
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout.removesuffix("\n")

    def result(self, *arguments: str, study: Path | None = STUDY) -> Any:
        """Run a command with --json and return its result, after checking the envelope."""
        envelope = json.loads(self.text(*arguments, "--json"))
        names = arguments[:2] if arguments[0] in ("labels", "reading") else arguments[:1]
        result = envelope.pop("result")
        assert envelope == {
            "schema": 1,
            "command": " ".join(names),
            "study": None if study is None else str(study),
        }
        return result

    def called(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Return positional arguments and keywords of the calls of a stand-in."""
        return [(args, options) for called, args, options in self.calls if called == name]
