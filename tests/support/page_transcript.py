"""A stand-in for Streamlit that writes down, in order, what a view or page renders.

Everything is recorded: texts, numbers, tables, keys, callbacks with their arguments, the widths of
columns. What only sets a size is left out. A test compares the whole transcript at once, so that a
value in a wrong place, a dropped call or an exchanged argument is seen.
"""

from __future__ import annotations

import ast
import base64
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from functools import cache, partial
from pathlib import Path
from types import GeneratorType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from core import store
from core.errors import UserError
from dashboard.server import context, identity, image_routes
from dashboard.ui import elements, theme
from support.paths import ROOT

STUDY, USER = Path("/the study"), "T1"

# Keywords that set a size only.
_APPEARANCE = frozenset(("height", "width"))
# Functions of `elements` that write to the page; the others return text.
_ELEMENTS = (
    *("page_heading", "section_heading", "class_heading", "metric_row", "html_table"),
    *("data_table", "key_value_table", "small_note", "warning_line", "bullet_list", "step_card"),
    *("stepper", "metric_card", "stop_with_hint", "stop_without_result", "image_level_note"),
)
_ENDING = ("stop", "stop_with_hint", "stop_without_result")


class Stopped(Exception):
    """The page ended its script."""


def shown(value: Any) -> str:
    """Return a value as a transcript states it."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, pd.DataFrame):
        rows = value.astype(object).where(value.notna(), None).to_numpy().tolist()
        return f"{list(value.columns)} {rows}"
    if isinstance(value, np.ndarray | pd.Series):
        return shown(value.tolist())
    if isinstance(value, float):
        return repr(round(value, 6))
    if isinstance(value, go.Figure):
        figure = value.to_plotly_json()
        figure["layout"].pop("template", None)
        return shown(figure)
    if isinstance(value, partial):
        return f"{shown(value.func)}{value.args}{value.keywords}"
    if isinstance(value, Mapping) and "bdata" in value:
        # Plotly's form of an array; a table has a shape, such as "2, 3".
        numbers = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        shape = value.get("shape", str(len(numbers))).split(", ")
        return shown(numbers.reshape([int(length) for length in shape]))
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {shown(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple | GeneratorType):
        return f"[{', '.join(map(shown, value))}]"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__} {shown(vars(value))}"
    if callable(value) and hasattr(value, "__name__"):
        return f"<{value.__name__}>"
    return repr(value)


class Transcript:
    """The lines that were rendered, and what the controls return.

    answers: value of a control by its label, instead of its initial value. queries: result by name
    of the function and its arguments, for `cached_query` and `cached_result`; a query that a test
    does not expect fails.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.lines: list[str] = []
        self.answers: dict[str, Any] = {}
        self.queries: dict[tuple[Any, ...], Any] = {}
        self.session_state: dict[str, Any] = {}
        self.query_params: dict[str, Any] = {}

    def query(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Answer a query of the study."""
        if options:
            args = (*args, options)
        # Arguments that are no keys of a dictionary are looked up by their text.
        keys = (repr(arg) if type(arg).__hash__ is None else arg for arg in args)
        result = self.queries[(function.__name__, *keys)]
        if isinstance(result, Exception):
            raise result
        return result

    def record(self, name: str, *args: Any, **options: Any) -> None:
        """Write down a call."""
        parts = [shown(arg) for arg in args]
        parts += [
            f"{key}={shown(value)}" for key, value in options.items() if key not in _APPEARANCE
        ]
        self.lines.append(f"{name}: {', '.join(parts)}")

    def recorder(self, name: str, result: Any = None) -> Callable[..., Any]:
        """Return a function that is written down under a name and returns a fixed result."""

        def call(*args: Any, **options: Any) -> Any:
            self.record(name, *args, **options)
            if name in _ENDING:
                raise Stopped
            return result

        call.__name__ = name
        return call

    def replace(self, owner: Any, *names: str, result: Any = None) -> None:
        """Replace functions of a module by ones that are written down and return a result."""
        for name in names:
            self._monkeypatch.setattr(owner, name, self.recorder(name, result))

    def raise_from(self, owner: Any, name: str, message: str) -> None:
        """Replace a function of a module by one that refuses with a message."""

        def refuse(*_: Any, **__: Any) -> None:
            raise UserError(message)

        self._monkeypatch.setattr(owner, name, refuse)

    def take(self) -> list[str]:
        """Return the lines and begin anew."""
        lines, self.lines = self.lines, []
        return lines


class PageStub:
    """Streamlit, or one of its containers, of a transcript."""

    def __init__(self, transcript: Transcript, name: str = "") -> None:
        self._transcript, self._name = transcript, name
        self.session_state = transcript.session_state
        self.query_params = transcript.query_params
        self.column_config = ColumnConfig()
        self.open = True

    def __enter__(self) -> PageStub:
        self._transcript.lines.append(f"in {self._name}" if self._name else "in container")
        return self

    def __exit__(self, *error: object) -> None:
        self._transcript.lines.append("out")

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind.startswith("__"):
            raise AttributeError(kind)
        return partial(self._call, kind)

    def _call(self, kind: str, *args: Any, **options: Any) -> Any:
        name = f"{self._name}.{kind}" if self._name else kind
        texts = options.pop("format_func", None)
        if texts is not None and len(args) > 1:
            args = (args[0], {option: texts(option) for option in args[1]}, *args[2:])
        self._transcript.record(name, *args, **options)
        if kind in _ENDING:
            raise Stopped
        if kind in ("columns", "tabs"):
            names = args[0] if isinstance(args[0], list) else range(args[0])
            stubs = [PageStub(self._transcript, f"{kind[:-1]} {i}") for i, _ in enumerate(names)]
            for stub, title in zip(stubs, names):
                if kind == "tabs":
                    stub.open = self._transcript.answers.get(title, True)
            return stubs
        if kind in ("container", "expander", "popover", "form", "spinner", "empty", "progress"):
            return PageStub(self._transcript, kind)
        label = args[0] if args and isinstance(args[0], str) else None
        if label in self._transcript.answers:
            return self._transcript.answers[label]
        return _initial_value(kind, args, options)


class ColumnConfig:
    """Streamlit's `column_config`: the settings of a column as text."""

    def __getattr__(self, kind: str) -> Callable[..., str]:
        return lambda **options: f"{kind} {options.get('format', '')}".strip()


def _initial_value(kind: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return what a control returns before anybody has used it."""
    if kind == "selectbox":
        index = options.get("index", args[2] if len(args) > 2 else 0)
        return list(args[1])[index]
    if kind == "segmented_control":
        return options["default"]
    if kind == "multiselect":
        return list(options.get("default", args[2] if len(args) > 2 else []))
    if kind == "number_input":
        return options.get("value", args[3] if len(args) > 3 else None)
    if kind in ("text_input", "text_area"):
        return options.get("value", args[1] if len(args) > 1 else "")
    if kind in ("toggle", "checkbox"):
        return options.get("value", args[1] if len(args) > 1 else False)
    return False if kind in ("button", "form_submit_button") else None


def render_into(
    monkeypatch: pytest.MonkeyPatch,
    *modules: ModuleType,
    own: tuple[str, ...] = (),
    page: Transcript | None = None,
) -> Transcript:
    """Replace Streamlit, the writing elements and the queries of modules by a transcript.

    own: names of further functions of the modules that are written down instead of called. page: a
    transcript that is continued.
    """
    transcript = page or Transcript(monkeypatch)
    for module in modules:
        for name, stand_in in (
            ("st", PageStub(transcript)),
            ("cached_query", transcript.query),
            ("cached_result", transcript.query),
        ):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, stand_in)
        for name in own:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, transcript.recorder(name))
    for name in _ELEMENTS:
        monkeypatch.setattr(elements, name, transcript.recorder(name))
    monkeypatch.setattr(context, "served_study", lambda: STUDY)
    monkeypatch.setattr(identity, "current_identity", lambda: identity.Identity(USER, "team"))
    monkeypatch.setattr(theme, "theme_mode", lambda: "light")
    for kind in ("read", "write"):
        monkeypatch.setattr(store, kind, partial(_connection, kind))
    return transcript


def render_page(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *own: str) -> Transcript:
    """Let a page of `load_page` render into a transcript; own: as in `render_into`.

    Images are called scans and show breasts; addresses of images state what was asked for.
    """
    page = render_into(monkeypatch, module, own=own)
    words = {"image_noun": "scan", "image_nouns": "scans", "shows_breasts": True}
    for name, word in words.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda word=word: word)
    page.replace(identity, "require_role")
    page.replace(theme, "apply_team_style", "apply_expert_style")
    monkeypatch.setattr(theme, "class_style", lambda name: name)
    monkeypatch.setattr(theme, "class_color", lambda name: f"color {name}")
    monkeypatch.setattr(
        image_routes,
        "image_url",
        lambda kind, audience, **options: f"{kind} {audience} {sorted(options.items())}",
    )
    monkeypatch.setattr(image_routes, "source_url", lambda file: f"source {file}")
    return page


@contextmanager
def _connection(kind: str, study: Path) -> Iterator[str]:
    assert study == STUDY
    yield f"{kind} connection"


@cache
def _sections(name: str) -> dict[str, list[str]]:
    text = (ROOT / "tests" / "data" / "pages" / f"{name}.txt").read_text(encoding="utf-8")
    sections = (section.splitlines() for section in text.split("\n## ")[1:])
    return {title: [line for line in lines if line] for title, *lines in sections}


def expected_lines(name: str, section: str) -> list[str]:
    """Return the lines that a page must render, from a file of tests/data/pages.

    Each line was compared with the inputs of the test by hand.
    """
    return _sections(name)[section]


def load_page(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[ModuleType, Callable[[], None]]:
    """Return the definitions of a page as a module, and a function that runs its statements.

    The page's script is not a module: importing it would render it.
    """
    path = ROOT / "dashboard" / "pages" / f"{name}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    first = next(i for i, node in enumerate(tree.body) if "require_role" in ast.unparse(node))
    module = ModuleType(f"page_{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def run(body: list[ast.stmt]) -> None:
        code = compile(ast.Module(body, []), str(path), "exec", dont_inherit=True)
        exec(code, module.__dict__)

    # The future import of the definitions holds for the statements as well.
    run(tree.body[:first])
    return module, lambda: run([tree.body[1], *tree.body[first:]])


# A transcript, the definitions of a page, and a function that runs its statements.
Page = tuple[Transcript, Any, Callable[[], None]]


def open_script(monkeypatch: pytest.MonkeyPatch, name: str, *own: str) -> Page:
    """Load a page and let it render into a transcript; own: as in `render_into`."""
    module, run = load_page(monkeypatch, name)
    return render_page(monkeypatch, module, *own), module, run
