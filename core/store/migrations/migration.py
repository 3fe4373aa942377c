"""What a migration consists of."""

from __future__ import annotations

from typing import NamedTuple


class Migration(NamedTuple):
    """One change of the schema: a name with its number, the date it was written, its statements."""

    name: str
    date: str
    sql: str
