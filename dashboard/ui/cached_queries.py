"""Cached access of the pages to the study.

A result stays valid until a table that it was computed from changes, or study.toml. So a rerun of a
page, or a row in the study's log, opens the store for new questions only. A question that fails is
asked again after 30 seconds.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core import store
from core.errors import MissingRunError, UserError
from core.settings import SETTINGS_NAME
from dashboard.server import context

# Failures may also depend on files beside the store, which a person repairs.
FAILURE_LIFETIME_S = 30.0
MAX_RESULTS = 600
# Every result depends on these: files of runs and images, which the store does not hold, exist only
# while these tables say so.
_TABLES_OF_FILES = frozenset({"runs", "mammograms", "withdrawn_patients", "migrations"})
_T = TypeVar("_T")
_TableVersions = dict[str, tuple[int, int]]
_StudyVersion = tuple[tuple[int, ...], tuple[Any, ...]]
_Ask = Callable[[Path], Any]


@dataclass(frozen=True)
class _Outcome:
    """What a function returned, or its error with the time of it on the monotonic clock."""

    value: Any = None
    error: UserError | None = None
    failed_at_s: float = 0.0

    @property
    def is_expired(self) -> bool:
        """Whether the function failed so long ago that it is to be asked again."""
        return bool(self.error) and time.monotonic() - self.failed_at_s > FAILURE_LIFETIME_S


def _outcome(function: Callable[..., Any], *args: Any) -> _Outcome:
    try:
        return _Outcome(function(*args))
    except UserError as error:
        # Errors of other classes are conditions of the moment, such as a store that is in use.
        if type(error) not in (UserError, MissingRunError):
            raise
        return _Outcome(error=error, failed_at_s=time.monotonic())


@dataclass
class _Result:
    """A result with what it was computed from.

    content: the pickled outcome, of which each page gets a copy of its own; version: of the study,
    when the result was last known to be valid; tables: versions of the tables that were read, None
    if the store changed meanwhile; lock: two sessions do not compute the same result at once.
    """

    content: bytes | None = None
    version: _StudyVersion | None = None
    tables: _TableVersions | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


# Results by function and arguments, the one that was used last at the end; versions of the tables
# at the last version of the study.
_results: OrderedDict[bytes, _Result] = OrderedDict()
_versions: dict[Path, tuple[tuple[int, ...], _TableVersions]] = {}
_lock = threading.Lock()


def _result_of(key: bytes) -> _Result:
    with _lock:
        result = _results.setdefault(key, _Result())
        _results.move_to_end(key)
        while len(_results) > MAX_RESULTS:
            _results.popitem(last=False)
        return result


def _study_version(path: Path, files: Iterable[Path]) -> _StudyVersion:
    """Return a value that changes with every commit, and one of the settings and other files."""
    stamps = (_file_stamp(file) for file in (path / SETTINGS_NAME, *files))
    return store.change_token(path), tuple(stamps)


def _file_stamp(file: Path) -> tuple[str, int, int] | None:
    if not file.exists():
        return None
    stamp = file.stat()
    return str(file), stamp.st_size, stamp.st_mtime_ns


def _table_versions(
    path: Path, token: tuple[int, ...], tables: Collection[str]
) -> _TableVersions | None:
    """Return the versions of tables in the state of a token; None if the store has left it."""
    with _lock:
        known_token, known = _versions.get(path, (None, {}))
    known = known if known_token == token else {}
    known = known | store.table_versions(path, set(tables) - set(known))
    if store.change_token(path) != token:
        return None
    with _lock:
        _versions[path] = token, known
    return {table: known[table] for table in tables}


def _is_valid(result: _Result, path: Path, version: _StudyVersion) -> bool:
    """Return whether a result is that of the present study."""
    if result.version == version:
        return True
    # A state of the settings or of other files is not compared with the tables.
    if result.version is None or result.tables is None or result.version[1] != version[1]:
        return False
    return _table_versions(path, version[0], result.tables.keys()) == result.tables


def _compute(result: _Result, path: Path, version: _StudyVersion, ask: _Ask) -> _Outcome:
    """Compute a result, and record what it was computed from."""
    with store.record_tables() as tables:
        outcome = _outcome(ask, path)
    versions = _table_versions(path, version[0], tables | _TABLES_OF_FILES)
    result.content, result.version, result.tables = pickle.dumps(outcome), version, versions
    return outcome


def _cached_value(key: Any, ask: _Ask, files: Collection[Path]) -> Any:
    """Return the cached or new value of a function, or raise its cached or new error."""
    path = context.served_study()
    result = _result_of(pickle.dumps((str(path), key)))
    with result.lock:
        version = _study_version(path, files)
        outcome = None
        if result.content is not None and _is_valid(result, path, version):
            result.version = version
            outcome = pickle.loads(result.content)
        if outcome is None or outcome.is_expired:
            outcome = _compute(result, path, version, ask)
    if outcome.error:
        raise outcome.error
    return outcome.value


def _key(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    return function.__module__, function.__qualname__, args


def cached_query(function: Callable[..., _T], *args: Any) -> _T:
    """Return `function(con, *args)` of `core.store`."""

    def ask(path: Path) -> _T:
        with store.read(path) as con:
            return function(con, *args)

    return _cached_value(_key(function, args), ask, ())


def cached_result(function: Callable[..., _T], *args: Any, files: Collection[Path] = ()) -> _T:
    """Return `function(study, *args)` of `core` or `evaluation`.

    The function may read the store, the settings, and files of runs and images. It reads other
    files only if they are listed in `files`, and the store only in the thread that called it.
    """
    return _cached_value(_key(function, args), lambda path: function(path, *args), files)
