"""The only door to a study's DuckDB file:

`read(study)` and `write(study)`; everything that speaks SQL lives in this package.
"""

from core.store.connection import (
    DoorBusy,
    Restored,
    backup,
    create,
    exists,
    read,
    restore,
    version,
    write,
)

__all__ = [
    "DoorBusy",
    "Restored",
    "backup",
    "create",
    "exists",
    "read",
    "restore",
    "version",
    "write",
]
