"""Failed questions of the pages are cached for a time, and conditions of the moment are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import MissingRunError, UserError
from core.store import run_table
from core.store.connection import Connection
from dashboard.server.context import STUDY_VARIABLE
from dashboard.ui import cached_queries

calls: list[str] = []
error: Exception = UserError("no unit is labelled")


def failing_query(_con: Connection, name: str) -> None:
    calls.append(name)
    raise error


def failing_result(_study: Path, name: str) -> None:
    calls.append(name)
    raise error


@pytest.fixture(autouse=True)
def served(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A served study, and no calls before the test."""
    monkeypatch.setenv(STUDY_VARIABLE, str(study))
    calls.clear()
    return study


def ask(function: object, asked: object, kind: type[Exception], name: str) -> None:
    with pytest.raises(kind) as caught:
        function(asked, name)  # type: ignore[operator]
    assert type(caught.value) is kind and str(caught.value) == str(error)


@pytest.mark.parametrize("kind", [UserError, MissingRunError])
@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (cached_queries.cached_query, failing_query),
        (cached_queries.cached_result, failing_result),
    ],
)
def test_failure_is_asked_once(
    served: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: object,
    asked: object,
    kind: type[Exception],
) -> None:
    monkeypatch.setitem(globals(), "error", kind("no unit is labelled"))
    for _ in range(3):
        ask(function, asked, kind, "a")
    assert calls == ["a"]
    ask(function, asked, kind, "b")
    assert calls == ["a", "b"]
    # A commit may have removed the cause.
    with store.write(served) as con:
        run_table.append_log(con, "test", "changed")
    ask(function, asked, kind, "a")
    assert calls == ["a", "b", "a"]
    # So may a repaired file, of which the store knows nothing.
    monkeypatch.setattr(cached_queries, "FAILURE_LIFETIME_S", -1.0)
    ask(function, asked, kind, "a")
    assert calls == ["a", "b", "a", "a"]


def test_locked_store_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "error", store.StoreLockedError("in use"))
    for _ in range(2):
        ask(cached_queries.cached_result, failing_result, store.StoreLockedError, "a")
    assert calls == ["a", "a"]
