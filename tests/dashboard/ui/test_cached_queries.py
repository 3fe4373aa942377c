"""Results of pages are cached until their tables or files change, and failures for a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import MissingRunError, UserError
from core.settings import SETTINGS_NAME
from core.store import run_table
from core.store.connection import Connection
from core.store.labels import comment_table
from dashboard.server.context import STUDY_VARIABLE
from dashboard.ui import cached_queries

FILM = "mammogram_1"
calls: list[str] = []
error: Exception = UserError("no unit is labelled")


def failing_query(con: Connection, name: str) -> None:
    calls.append(name)
    comment_table.load_case_comments(con, FILM)
    raise error


def failing_result(study: Path, name: str) -> None:
    calls.append(name)
    comments_of(study)
    raise error


def comments_of(study: Path) -> int:
    with store.read(study) as con:
        return len(comment_table.load_case_comments(con, FILM))


def counting_query(con: Connection) -> int:
    calls.append("counted")
    return len(comment_table.load_case_comments(con, FILM))


def counting_result(study: Path) -> int:
    calls.append("counted")
    return comments_of(study)


def log_event(study: Path) -> None:
    with store.write(study) as con:
        run_table.append_log(con, "test", "changed")


def comment(study: Path, text: str = "see the margin") -> None:
    with store.write(study) as con:
        comment_table.add_case_comment(con, FILM, text, "T1")


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
    # A commit to a table that was read may have removed the cause.
    log_event(served)
    ask(function, asked, kind, "a")
    assert calls == ["a", "b"]
    comment(served)
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


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (cached_queries.cached_query, counting_query),
        (cached_queries.cached_result, counting_result),
    ],
)
def test_result_is_computed_anew_when_a_table_that_it_read_changes(
    served: Path, function: object, asked: object
) -> None:
    def value() -> int:
        return function(asked)  # type: ignore[operator]

    assert (value(), value(), calls) == (0, 0, ["counted"])
    log_event(served)
    assert (value(), calls) == (0, ["counted"])
    comment(served)
    assert (value(), value(), calls) == (1, 1, ["counted"] * 2)
    # Settings are no table.
    settings = served / SETTINGS_NAME
    settings.write_text(settings.read_text() + "\n")
    assert (value(), calls) == (1, ["counted"] * 3)


def test_file_beside_the_store_is_watched_where_it_is_named(served: Path) -> None:
    file = served / "vectors.txt"
    for text in (None, "a", "bc"):
        if text:
            file.write_text(text)
        for _ in range(2):
            cached_queries.cached_result(counting_result, files=[file])
    assert calls == ["counted"] * 3


def commenting_result(study: Path) -> int:
    """Meet the commit of another person between reading and returning."""
    before = counting_result(study)
    if before == 0:
        comment(study)
    return before


def test_commit_during_the_computation_is_seen_at_the_next_request(served: Path) -> None:
    assert cached_queries.cached_result(commenting_result) == 0
    assert cached_queries.cached_result(commenting_result) == 1


def test_each_page_gets_a_copy_of_its_own(served: Path) -> None:
    comment(served)
    for _ in range(2):
        comments = cached_queries.cached_query(comment_table.load_case_comments, FILM)
        assert list(comments["comment"]) == ["see the margin"]
        comments["comment"] = ""


def test_oldest_result_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_queries, "MAX_RESULTS", 2)
    monkeypatch.setitem(globals(), "error", UserError("no unit is labelled"))
    for name in ("a", "b", "a", "c", "a", "b"):
        ask(cached_queries.cached_query, failing_query, UserError, name)
    assert calls == ["a", "b", "c", "b"]
