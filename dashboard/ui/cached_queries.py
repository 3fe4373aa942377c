"""Cached access of the pages to the study.

A result stays valid until the store or study.toml changes, so that a rerun of a page opens the
store once for each new question only. A question that fails is asked again after 30 seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from core import store
from core.errors import MissingRunError, UserError
from core.settings import SETTINGS_NAME
from dashboard.server import context

# Failures may also depend on files beside the store, which a person repairs.
FAILURE_LIFETIME_S = 30.0
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Outcome:
    """What a function returned, or its error with the time of it on the monotonic clock."""

    value: Any = None
    error: UserError | None = None
    failed_at_s: float = 0.0


def _outcome(function: Callable[..., Any], *args: Any) -> _Outcome:
    try:
        return _Outcome(function(*args))
    except UserError as error:
        # Errors of other classes are conditions of the moment, such as a store that is in use.
        if type(error) not in (UserError, MissingRunError):
            raise
        return _Outcome(error=error, failed_at_s=time.monotonic())


# Streamlit builds the key of a cache entry from the arguments, except those with a leading
# underscore: a function is represented by its name.
@st.cache_data(show_spinner=False, max_entries=400)
def _query(
    path: str,
    version: tuple[int, ...],
    name: str,
    args: tuple[Any, ...],
    _function: Callable[..., Any],
) -> _Outcome:
    with store.read(Path(path)) as con:
        return _outcome(_function, con, *args)


@st.cache_data(show_spinner=False, max_entries=200)
def _result(
    path: str,
    version: tuple[int, ...],
    name: str,
    args: tuple[Any, ...],
    _function: Callable[..., Any],
) -> _Outcome:
    return _outcome(_function, Path(path), *args)


def _cached_value(cache: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return the cached or new value of a function, or raise its cached or new error."""
    path = context.served_study()
    key = (str(path), _study_version(path), _qualified_name(function), args, function)
    outcome = cache(*key)
    if outcome.error and time.monotonic() - outcome.failed_at_s > FAILURE_LIFETIME_S:
        cache.clear(*key)
        outcome = cache(*key)
    if outcome.error:
        raise outcome.error
    return outcome.value


def _study_version(path: Path) -> tuple[int, ...]:
    """Return a value that changes with every commit to the store and with the settings."""
    settings = path / SETTINGS_NAME
    return (*store.change_token(path), settings.stat().st_mtime_ns if settings.exists() else 0)


def _qualified_name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def cached_query(function: Callable[..., _T], *args: Any) -> _T:
    """Return `function(con, *args)` of `core.store`.

    Streamlit must be able to hash the arguments.
    """
    return _cached_value(_query, function, args)


def cached_result(function: Callable[..., _T], *args: Any) -> _T:
    """Return `function(study, *args)` of `core` or `evaluation`.

    Streamlit must be able to hash the arguments.
    """
    return _cached_value(_result, function, args)
