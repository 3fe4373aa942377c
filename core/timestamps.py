"""The time as the store and every record keep it:

UTC without a zone, whatever the machine's own zone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def now() -> datetime:
    """This moment, to the microsecond: of two runs of one second the later one is still the later
    one.
    """
    return datetime.now(UTC).replace(tzinfo=None)


def at(seconds: float) -> datetime:
    """The moment of a timestamp in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def changed(path: Path) -> datetime:
    """When a file was last written."""
    return at(path.stat().st_mtime)
