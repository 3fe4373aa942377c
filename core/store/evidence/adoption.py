"""Records for the rows of a store that is older than the evidence chain."""

from __future__ import annotations

from core.store.evidence.chain import (
    EMPTY_HEAD,
    Connection,
    append_content_hash,
    append_evidence,
    chain_head,
    write_pending,
)
from core.store.evidence.covered_rows import ROW_KINDS, load_covered_contents

ADOPTION = "adoption"
MIGRATION_ACTOR = "migration"


def adopt_existing_rows(con: Connection) -> None:
    """Start the chain of a store with a record of every row that it holds.

    Nothing happens where the store has a chain, or none of its tables yet. From here on the rows
    are protected; what happened to them before is not known.
    """
    tables = {row[0] for row in con.execute("SHOW TABLES").fetchall()}
    if "evidence" not in tables or chain_head(con) != EMPTY_HEAD:
        return
    contents = load_covered_contents(con)
    if not contents:
        return
    counts = {kind: sum(c.kind == kind for c in contents) for kind in ROW_KINDS}
    described = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    append_evidence(
        con,
        ADOPTION,
        f"existing rows adopted at migration: {described}",
        {"contents": [[c.kind, c.subject, c.content_hash] for c in contents]},
        MIGRATION_ACTOR,
    )
    for content in contents:
        append_content_hash(
            con, content.kind, content.subject, content.content_hash, MIGRATION_ACTOR
        )
    write_pending(con)
