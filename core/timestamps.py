"""Naive UTC timestamps, used for every stored time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def utc_now() -> datetime:
    """Return the current time.

    To the microsecond, so that two runs of the same second keep their order.
    """
    # DuckDB's TIMESTAMP has no time zone.
    return datetime.now(UTC).replace(tzinfo=None)


def from_epoch(seconds: float) -> datetime:
    """Return the time of a Unix timestamp in seconds."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def modified_at(path: Path) -> datetime:
    """Return the time of the last change of a file."""
    return from_epoch(path.stat().st_mtime)
