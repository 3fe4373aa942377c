"""Reading from the study for pages: one short visit to the store per question, remembered until the
store or study.toml changes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from core import store
from core.settings import SETTINGS_NAME
from dashboard.server import context

P = ParamSpec("P")
T = TypeVar("T")


@st.cache_data(show_spinner=False, max_entries=400)
def _asked(
    path: str,
    version: tuple[int, ...],
    name: str,
    args: tuple[Any, ...],
    _function: Callable[..., Any],
) -> Any:
    with store.read(Path(path)) as con:
        return _function(con, *args)


@st.cache_data(show_spinner=False, max_entries=200)
def _computed(
    path: str,
    version: tuple[int, ...],
    name: str,
    args: tuple[Any, ...],
    _function: Callable[..., Any],
) -> Any:
    return _function(Path(path), *args)


def _version(path: Path) -> tuple[int, ...]:
    """Changes with every commit and with the settings."""
    settings = path / SETTINGS_NAME
    return (*store.version(path), settings.stat().st_mtime_ns if settings.exists() else 0)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def ask(function: Callable[..., T], *args: Any) -> T:
    """The answer of a typed read `function(con, *args)` of `core.store`; args must be hashable by
    Streamlit.
    """
    path = context.current()
    return _asked(str(path), _version(path), _name(function), args, function)


def compute(function: Callable[..., T], *args: Any) -> T:
    """The result of `function(study, *args)` of `core` or `evaluation`."""
    path = context.current()
    return _computed(str(path), _version(path), _name(function), args, function)
