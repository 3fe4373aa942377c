"""The study's DuckDB database.

`read(study)` and `write(study)` open connections; the table modules hold all SQL.
"""

from core.store.backup import RestoredStore, create_backup, restore_backup
from core.store.connection import (
    change_token,
    create,
    read,
    record_tables,
    store_exists,
    table_versions,
    write,
)
from core.store.locking import StoreLockedError

__all__ = [
    "RestoredStore",
    "StoreLockedError",
    "change_token",
    "create",
    "create_backup",
    "read",
    "record_tables",
    "restore_backup",
    "store_exists",
    "table_versions",
    "write",
]
