"""The tables that a cached result of a page was computed from are recorded completely."""

from __future__ import annotations

import io
import pickle
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import store
from core.store.connection import STORE_NAME
from dashboard.ui import cached_queries
from support.team_page import Open

pytestmark = pytest.mark.slow
PAGES = (
    *("overview", "data", "performance", "units", "explanations", "annotations"),
    *("reading_study", "figures", "participants"),
)
Ask = Callable[[Path], Any]


def outcome_of(ask: Ask, study: Path) -> bytes:
    """Return what a function returns, or its error, in a form that can be compared."""
    try:
        return comparable(ask(study))
    except Exception as error:  # also an error of the database, if a table is empty
        return comparable(f"{type(error).__name__}: {error}")


def comparable(value: Any) -> bytes:
    """Return the same bytes for equal values, whether or not they share parts."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()


def test_no_other_table_has_an_influence(
    own_study: Path, tmp_path: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each result of each page stays the same when all tables are emptied that it did not read."""
    computed: list[tuple[dict[str, Any], Ask, bytes]] = []
    compute = cached_queries._compute

    def recorded(result: Any, path: Path, version: Any, ask: Ask) -> Any:
        outcome = compute(result, path, version, ask)
        if outcome.error is None and result.tables:
            computed.append((result.tables, ask, comparable(outcome.value)))
        return outcome

    monkeypatch.setattr(cached_queries, "_compute", recorded)
    for name in PAGES:
        page = team(own_study, name)
        assert not page.exception, [error.message for error in page.exception]
    # The pages themselves store that the test split was opened and that a study was scored.
    results = defaultdict(list)
    for tables, ask, value in computed:
        if store.table_versions(own_study, tables) == tables:
            results[frozenset(tables)].append((ask, value))
    assert sum(map(len, results.values())) > 60
    kept = tmp_path / "kept.duckdb"
    shutil.copyfile(own_study / STORE_NAME, kept)
    with store.read(own_study) as con:
        names = con.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        filled = {
            name for (name,) in names if con.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
        }
    for read, asked in results.items():
        with store.write(own_study) as con:
            for table in filled - read:
                con.execute(f"DELETE FROM {table}")
        for ask, expected in asked:
            names = [cell.cell_contents for cell in ask.__closure__ or ()]
            assert outcome_of(ask, own_study) == expected, names
        shutil.copyfile(kept, own_study / STORE_NAME)
