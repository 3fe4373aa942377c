"""The newest migrations of the store's schema, which follow those of `versions`."""

from __future__ import annotations

from core.store.migrations.migration import Migration

RECENT_MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "0022_reading_studies_with_advice",
        "2026-11-28",
        """
        ALTER TABLE reading_cases ADD COLUMN advice VARCHAR;
        ALTER TABLE reading_items ADD COLUMN period INTEGER;
        CREATE TABLE reading_stages (
            protocol VARCHAR NOT NULL, version INTEGER NOT NULL, code VARCHAR NOT NULL,
            position INTEGER NOT NULL, stage VARCHAR NOT NULL, value VARCHAR NOT NULL,
            seconds DOUBLE, idle BOOLEAN NOT NULL, simulated BOOLEAN NOT NULL,
            made TIMESTAMP NOT NULL, PRIMARY KEY (protocol, version, code, position, stage)
        );
        """,
    ),
    Migration(
        "0023_comments",
        "2026-11-28",
        """
        CREATE TABLE comments (
            number BIGINT PRIMARY KEY, run VARCHAR, unit INTEGER, mammogram_id VARCHAR,
            comment VARCHAR NOT NULL, who VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        """,
    ),
)
