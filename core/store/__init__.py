"""The only door to a study's DuckDB file: `read(study)` and `write(study)`; everything that speaks SQL lives in this package."""

from core.store.door import DoorBusy, backup, create, exists, read, version, write

__all__ = ["DoorBusy", "backup", "create", "exists", "read", "version", "write"]
