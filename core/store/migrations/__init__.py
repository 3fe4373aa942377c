"""Migration of a store to the current schema.

Each migration runs once, in one transaction with the row that records it.
"""

from __future__ import annotations

import duckdb

from core.store.evidence.adoption import adopt_existing_rows
from core.store.migrations.versions import MIGRATIONS
from core.timestamps import utc_now

SCHEMA_VERSION = len(MIGRATIONS)

# Run folders are immutable, so those from before migration 8 keep the names of their time. They are
# registered late where a process died before registration, or after an older backup was restored.
RENAMED_RUN_KINDS = {"meaning": "descriptor_association"}
RENAMED_RUN_TABLES = {"meanings": "descriptor_associations"}


def migrate(con: duckdb.DuckDBPyConnection) -> None:
    """Run the migrations that a store lacks, each in one transaction with its record."""
    con.execute(
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, made TIMESTAMP NOT"
        " NULL)"
    )
    ((version,),) = con.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchall()
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        # DDL is transactional in DuckDB: a process that dies before COMMIT leaves the old schema.
        con.execute("BEGIN")
        try:
            con.execute(migration.sql)
            con.execute("INSERT INTO migrations VALUES (?, ?)", [number, utc_now()])
            if number == len(MIGRATIONS):
                # After the last one, because a migration may change rows: from here on they stay.
                adopt_existing_rows(con)
        except BaseException as error:
            con.execute("ROLLBACK")
            error.add_note(f"in migration {migration.name}")
            raise
        con.execute("COMMIT")
