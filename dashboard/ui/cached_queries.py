"""Cached access of the pages to the study.

A result stays valid until the store or study.toml changes, so that a rerun of a page opens the
store once for each new question only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from core import store
from core.settings import SETTINGS_NAME
from dashboard.server import context

_T = TypeVar("_T")


# Streamlit builds the key of a cache entry from the arguments, except those with a leading
# underscore: a function is represented by its name.
@st.cache_data(show_spinner=False, max_entries=400)
def _query(
    path: str,
    version: tuple[int, ...],
    name: str,
    args: tuple[Any, ...],
    _function: Callable[..., Any],
) -> Any:
    with store.read(Path(path)) as con:
        return _function(con, *args)


@st.cache_data(show_spinner=False, max_entries=200)
def _result(
    path: str,
    version: tuple[int, ...],
    name: str,
    args: tuple[Any, ...],
    _function: Callable[..., Any],
) -> Any:
    return _function(Path(path), *args)


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
    path = context.served_study()
    return _query(str(path), _study_version(path), _qualified_name(function), args, function)


def cached_result(function: Callable[..., _T], *args: Any) -> _T:
    """Return `function(study, *args)` of `core` or `evaluation`.

    Streamlit must be able to hash the arguments.
    """
    path = context.served_study()
    return _result(str(path), _study_version(path), _qualified_name(function), args, function)
