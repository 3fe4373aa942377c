"""Figures: print exports with their state, a preview at print size, building them and a ZIP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import store
from core.settings import load_settings
from core.store import run_table
from dashboard.server import context, identity
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.views.flash_messages import flash, show_flash
from evaluation.intervals import count_text
from evaluation.queries import provenance
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.archive import archive_name, zip_exports
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import (
    FIGURE_FORMATS,
    export_figures,
    preview_figure,
)
from evaluation.reporting.tables import TABLES
from evaluation.reporting.tables.export import build_table, export_tables

_WIDTHS = {"Each figure's own width": None, "One column, 85 mm": 85.0, "Two columns, 174 mm": 174.0}
# Keys of exports: "figure NAME" and "table NAME".
_SPECS = {f"figure {name}": spec for name, spec in FIGURES.items()} | {
    f"table {name}": spec for name, spec in TABLES.items()
}
_STATE_WIDTH = 170  # pixels
_OPENED_STATE = "exports_opened"  # the evaluate run whose test split a preview has opened


@dataclass(frozen=True)
class _ExportState:
    """State of an export: name, note, and the first missing input if there is one."""

    name: str
    note: str = ""
    missing: MissingInput | None = None


def _exports_folder() -> Path:
    return context.served_study() / "exports"


def _load_built_records() -> dict[str, dict[str, Any]]:
    """Return the provenance records of the exports folder by the key of the export."""
    if not _exports_folder().is_dir():
        return {}
    return {
        f"{record['kind']} {record['name'].removeprefix('table_')}": record
        for record in provenance.load_records(_exports_folder())
    }


def _export_state(
    key: str, records: Mapping[str, dict[str, Any]], inputs: dict[str, str]
) -> _ExportState:
    """Return the state of an export; inputs: versions of the current inputs."""
    required = _SPECS[key].required
    if required == ("screenshot",):
        # Another command takes the screenshot, so that the study lacks no input for it.
        missing = provenance.first_missing_input(required, {})
        return _ExportState("screenshot", "make pictures", missing)
    missing = provenance.first_missing_input(required, inputs)
    if missing is not None:
        return _ExportState("missing", missing.step, missing)
    if key not in records:
        return _ExportState("ready")
    changed = provenance.changed_inputs(records[key], inputs)
    if changed:
        return _ExportState("stale", f"{', '.join(changed)} changed since")
    return _ExportState("done")


def _uses_test_split(keys: Iterable[str]) -> bool:
    return any(provenance.TEST_SPLIT_INPUTS & set(_SPECS[key].needs) for key in keys)


def _log_opening(reason: str) -> None:
    """Log an opening of the test split; without an evaluated run there is nothing to open."""
    run = _inputs["evaluate"]
    if run:
        actor = f"{identity.current_identity().code}, {reason}"
        with store.write(context.served_study()) as con:
            run_table.append_log(con, actor, "test split opened", run)


def _log_preview(key: str) -> None:
    """Log the first preview in a visit that shows results of the test split."""
    run = _inputs["evaluate"]
    if _uses_test_split([key]) and st.session_state.get(_OPENED_STATE) != run:
        st.session_state[_OPENED_STATE] = run
        _log_opening("preview of exports")


def _render_checklist(states: Mapping[str, _ExportState]) -> list[str]:
    """Render one row per export; return the keys of the selected ones."""
    selected = []
    # A fixed height keeps progress and message below in sight on a screen 640 px high.
    with st.container(height=320, key="checklist"):
        for title, kind in (("Figures", "figure"), ("Tables", "table")):
            elements.section_heading(title)
            for key in _SPECS:
                if key.startswith(kind) and _render_checklist_row(key, states[key]):
                    selected.append(key)
    return selected


def _render_checklist_row(key: str, state: _ExportState) -> bool:
    """Render name and state of an export; return whether it is selected."""
    is_missing = state.missing is not None
    row = st.container(horizontal=True, vertical_alignment="center", gap=None)
    is_selected = row.checkbox(
        _SPECS[key].title,
        value=not is_missing,
        key=f"export {key}",
        disabled=is_missing,
        width="stretch",
    )
    badge = elements.state_badge(state.name, "✓ built" if state.name == "done" else None)
    hint = ""
    if state.missing is not None:
        reason = f"{state.missing.reason}. {state.missing.command}"
        hint = f' title="{elements.escape_html(reason)}"'
    row.html(
        f'<span{hint}>{badge} <span class="dm-next">{elements.escape_html(state.note)}</span>'
        "</span>",
        width=_STATE_WIDTH,
    )
    return is_selected and not is_missing


def _build(keys: Sequence[str], width: float | None, formats: Sequence[str]) -> None:
    """Write the selected exports into the exports folder, then rerun the page."""
    study, folder = context.served_study(), _exports_folder()
    if _uses_test_split(keys):
        _log_opening(f"{len(keys)} exports built")
    bar = st.progress(0.0, "Building")
    figures, tables = (
        [key.removeprefix(f"{kind} ") for key in keys if key.startswith(kind)]
        for kind in ("figure", "table")
    )

    def report(done: int, _: int, unit: str) -> None:
        """Move the bar: figures first, then tables."""
        earlier = len(figures) if unit == "tables" else 0
        bar.progress(min(1.0, (done + earlier) / len(keys)), f"Building {unit}")

    exports = []
    if figures:
        exports += export_figures(study, figures, folder, width, formats, report)
    if tables:
        exports += export_tables(study, tables, folder, report)
    actor = identity.current_identity().code
    provenance.log_exports(study, actor, [export.record for export in exports])
    bar.empty()
    skipped = [export for export in exports if export.record is None]
    reasons = "".join(f" {export.name}: {export.reason}." for export in skipped)
    flash(f"{len(exports) - len(skipped)} built into the study's exports folder.{reasons}")
    st.rerun()


@st.cache_data(show_spinner=False, max_entries=2)
def _zip(folder: str, study_name: str, newest_record: float) -> bytes:
    """Return the exports as one file; the time of the newest record is part of the cache's key."""
    return zip_exports(Path(folder), study_name)


def _preview_table(study: Path, name: str) -> tuple[pd.DataFrame, str] | tuple[str, str, str]:
    """Return printed text and note of a table, or step, reason and command of a missing input."""
    try:
        table = build_table(study, TABLES[name])
    except MissingInput as missing:
        return missing.step, missing.reason, missing.command
    return table.printed_frame(), table.note


def _render_missing(step: str, reason: str, command: str) -> None:
    st.info(f"{step}: {reason}.")
    if command:
        st.code(command, language="bash")


@contextmanager
def _drawing_note(title: str) -> Iterator[None]:
    """Show that a preview is drawn, in place of the preview that was shown before."""
    with st.empty(), st.spinner(f"Drawing the preview of {title}", show_time=True):
        yield


def _render_figure(name: str, width: float | None, record: dict[str, Any] | None) -> None:
    """Render a figure at print size with its caption and the record of its last build."""
    with _drawing_note(FIGURES[name].title):
        preview = cached_result(preview_figure, name, width)
    if preview.missing is not None:
        _render_missing(*preview.missing)
        return
    with st.container(height=420, border=True):
        st.html(
            f'<img class="dm-print" src="{preview.image_uri}"'
            f' alt="{elements.escape_html(preview.caption)}"'
            f' style="width:{width or FIGURES[name].width:g}mm">'
        )
    st.caption(preview.caption)
    counts = ", ".join(f"{n:,} {noun}" for noun, n in preview.counts.items())
    elements.small_note(
        f"n: {elements.escape_html(counts or 'none')}. {elements.escape_html(preview.method)}"
    )
    if record is not None:
        elements.small_note(
            f"Built: numbers {record['data_hash'][:12]}. Again:"
            f" <code>{elements.escape_html(record['command'])}</code>"
        )


def _render_table(name: str) -> None:
    """Render a table as it is printed, with its note."""
    with _drawing_note(TABLES[name].title):
        preview = cached_result(_preview_table, name)
    if len(preview) == 3:
        _render_missing(*preview)
        return
    table, note = preview
    # Streamlit would draw empty rows below a short table.
    elements.data_table(table, hide_index=True, height=min(400, 35 * (len(table) + 1) + 3))
    st.caption(note)


def _heading_note(states: Mapping[str, _ExportState]) -> str:
    names = [state.name for state in states.values()]
    missing, stale = names.count("missing"), names.count("stale")
    note = "all inputs are available"
    if missing:
        note = f"{missing} of {len(names)} {'lacks' if missing == 1 else 'lack'} an input"
    return note + (f", {stale} stale" if stale else "")


def _render_build(states: Mapping[str, _ExportState], has_exports: bool) -> float | None:
    """Render width, formats, checklist, buttons and message; return the width in mm."""
    width_column, format_column = st.columns([5, 4])
    preset = width_column.selectbox(
        "Journal preset", list(_WIDTHS), key="preset", bind="query-params"
    )
    formats = format_column.multiselect(
        "Formats", list(FIGURE_FORMATS), default=["pdf", "png"], key="formats"
    )
    selected = _render_checklist(states)
    build_column, zip_column = st.columns([1, 1])
    is_pressed = build_column.button(
        f"Build {len(selected)}",
        type="primary",
        width="stretch",
        disabled=not selected or not formats,
    )
    with zip_column:
        _render_zip_button(has_exports)
    if is_pressed:
        _build(selected, _WIDTHS[preset], formats)
    show_flash()
    return _WIDTHS[preset]


def _render_zip_button(has_exports: bool) -> None:
    if not has_exports:
        st.button("Download ZIP", disabled=True, width="stretch", help="Nothing built yet.")
        return
    records = _exports_folder().glob(f"*{provenance.RECORD_SUFFIX}")
    newest = max(record.stat().st_mtime for record in records)
    study_name = load_settings(context.served_study()).study.name
    st.download_button(
        "Download ZIP",
        _zip(str(_exports_folder()), study_name, newest),
        f"{archive_name(study_name)}.zip",
        "application/zip",
        width="stretch",
        on_click="ignore",
    )


def _render_preview(width: float | None) -> None:
    titles = {key: f"{key.split()[0].capitalize()}: {spec.title}" for key, spec in _SPECS.items()}
    key = st.selectbox(
        "Preview",
        list(titles),
        index=0,
        format_func=titles.__getitem__,
        key="preview",
        bind="query-params",
    )
    if _states[key].missing is None:
        _log_preview(key)
    kind, name = key.split(" ", 1)
    # One key for each export: Streamlit would keep the earlier preview until the new one is drawn.
    with st.container(key=f"preview_{kind}_{name}"):
        if kind == "figure":
            _render_figure(name, width, _records.get(key))
        else:
            _render_table(name)


identity.require_role("team")
theme.apply_team_style()
_inputs = cached_result(provenance.current_inputs, provenance.INPUT_NAMES)
_records = _load_built_records()
_states = {key: _export_state(key, _records, _inputs) for key in _SPECS}
_simulated = cached_result(provenance.simulated_parts, provenance.INPUT_NAMES)
elements.page_heading(
    "Figures",
    _heading_note(_states),
    dict.fromkeys(_simulated.split(", "), True) if _simulated else None,
)
elements.image_level_note()
_build_column, _preview_column = st.columns([46, 78], gap="medium")
with _build_column:
    _width = _render_build(_states, bool(_records))
    _openings_note = st.empty()
with _preview_column:
    _render_preview(_width)
# Written last, because the preview can be an opening itself.
_openings_note.caption(
    "The test split has been opened"
    f" {count_text(len(cached_query(run_table.load_log, 'test split opened')), 'time')}. Counted:"
    " each Build (or command) whose exports contain its results, and the first preview of one in a"
    " visit. Redrawing is not counted."
)
