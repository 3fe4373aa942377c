"""Tab "Problems" of the Data page: what is doubtful about the data, shown and decided."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import store
from core.annotation.spreadsheet_cells import csv_text
from core.errors import UserError
from core.pipeline.ingestion.source_check import draw_study_sheet
from core.store import problem_table
from dashboard.components.mammograms import Panel, show_mammograms
from dashboard.server import context, identity, image_routes
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_result
from dashboard.ui.study_words import image_noun, image_nouns
from dashboard.views.flash_messages import flash
from evaluation.intervals import DASH

_ANY = "Any kind"
_OTHER = "other"
_DECISIONS = {problem_table.ACCEPTED: "accepted", problem_table.LEFT_OUT: "left out"}
_TABLE_HEIGHT = 300
# The contact sheet: as high as the table with its buttons; as many as a person scans at a glance.
_SHEET_HEIGHT, _SHEET_COLUMNS, _MAMMOGRAMS_SHOWN = 360, 3, 24


def render_problems(
    problems: pd.DataFrame, mammograms: pd.DataFrame, findings: pd.DataFrame
) -> None:
    """Render the list with its filters, the selected mammogram and the decisions.

    problems: as `core.store.problem_table.list_problems` returns them. mammograms, findings: all of
    the study.
    """
    if not len(problems):
        st.info("No problem of the data is listed. Ingestion and patch extraction add them here.")
        return
    table = _filtered(problems)
    left, right = st.columns([3, 2], gap="small")
    with left:
        selection = elements.data_table(
            _displayed(table),
            hide_index=True,
            height=_TABLE_HEIGHT,
            placeholder=DASH,
            on_select="rerun",
            selection_mode="multi-row",
            key="problem_table",
        ).selection
        # A selection can outlive its rows when a filter shortens the table.
        chosen = table.iloc[[row for row in selection.rows if row < len(table)]]
        _render_decisions(chosen)
    with right:
        if len(chosen):
            _render_mammogram(chosen, mammograms, findings)
        else:
            _render_sheet(table, set(mammograms["mammogram_id"]))


def _filtered(problems: pd.DataFrame) -> pd.DataFrame:
    """Render the filters and the export, and return the remaining problems."""
    kind_column, open_column, export_column = st.columns([2, 2, 1], vertical_alignment="bottom")
    kinds = sorted({code or _OTHER for code in problems["code"]})
    kind = kind_column.selectbox(
        "Kind",
        [_ANY, *kinds],
        format_func=lambda code: code.replace("_", " "),
        key="problem_kind",
        bind="query-params",
    )
    open_only = open_column.toggle(
        "Only without a decision", key="problem_open", bind="query-params"
    )
    if kind != _ANY:
        problems = problems[problems["code"].replace("", _OTHER) == kind]
    if open_only:
        problems = problems[problems["resolution"].isna()]
    export_column.download_button(
        "CSV", csv_text(problems), "problems.csv", "text/csv", width="stretch"
    )
    return problems.reset_index(drop=True)


def _displayed(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "File or case": table["item"],
            "Cause": table["cause"],
            "Action": table["action"],
            "Decision": table["resolution"].map(_DECISIONS),
            "By": table["resolved_by"],
        }
    )


def _render_decisions(chosen: pd.DataFrame) -> None:
    """Render the buttons for the selected problems."""
    decidable = chosen[chosen["mammogram_id"].notna()]
    ids = tuple(decidable["problem_id"])
    st.caption(
        f"Select rows to decide. While a problem of a finding is undecided, its {image_noun()}"
        " gives no patches; decisions take effect when patches are extracted again."
        if not ids
        else f"{len(ids)} selected"
    )
    columns = st.columns(3)
    for column, label, resolution in (
        (columns[0], "Data are right", problem_table.ACCEPTED),
        (columns[1], f"Leave {image_noun()} out", problem_table.LEFT_OUT),
        (columns[2], "Undo decision", None),
    ):
        column.button(
            label, disabled=not ids, on_click=_decide, args=(ids, resolution), width="stretch"
        )


def _decide(ids: tuple[str, ...], resolution: str | None) -> None:
    """Record a decision, or take it back, for every selected problem at once."""
    user = identity.current_identity().code
    try:
        with store.write(context.served_study()) as con:
            problem_table.resolve_problems(con, ids, resolution, user)
    except UserError as error:
        flash(str(error), error=True)
        return
    done = "Decision undone" if resolution is None else f"Marked as {_DECISIONS[resolution]}"
    flash(f"{done}: {len(ids)} of the list. Next: deepminer patches.")


def _sheet_jpeg(study: Path, names: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    draw_study_sheet(study, names, _SHEET_COLUMNS).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _render_sheet(table: pd.DataFrame, known: set[str]) -> None:
    """Render thumbnails of the listed mammograms, in the order of the list."""
    names = [name for name in table["mammogram_id"].dropna().drop_duplicates() if name in known]
    if not names:
        st.caption(f"None of these problems concerns a single {image_noun()}.")
        return
    shown = tuple(names[:_MAMMOGRAMS_SHOWN])
    with st.container(height=_SHEET_HEIGHT, border=False):
        # Within the page: a file of its own would have an address that outlives the sign-in.
        text = base64.b64encode(cached_result(_sheet_jpeg, shown)).decode()
        st.html(
            f'<img src="data:image/jpeg;base64,{text}" style="width:100%"'
            f' alt="{len(shown)} {image_nouns()} of the list with their outlines">'
        )
    st.caption(
        f"{len(shown)} of {len(names)} {image_nouns()} of this list, with their outlines. Select a"
        " row to enlarge one."
    )


def _render_mammogram(
    chosen: pd.DataFrame, mammograms: pd.DataFrame, findings: pd.DataFrame
) -> None:
    """Render the mammogram of the first selected problem with its outlines."""
    known = mammograms[mammograms["mammogram_id"].isin(chosen["mammogram_id"].dropna())]
    if not len(known):
        st.caption(f"The selected problem concerns no single {image_noun()}.")
        return
    film: dict[str, Any] = known.iloc[0].to_dict()
    own = findings[findings["mammogram_id"] == film["mammogram_id"]]
    show_mammograms(
        [
            Panel(
                url=image_routes.image_url(
                    "mammogram", image_routes.TEAM_AUDIENCE, file=film["file"]
                ),
                width=int(film["width"]),
                height=int(film["height"]),
                source=image_routes.source_url(film["file"]),
                title=str(film["mammogram_id"]),
                alt=f"{image_noun()} {film['mammogram_id']} with its outlines",
                outlines=[polygon for polygons in own["outline"] for polygon in polygons],
            )
        ],
        key="problem_mammogram",
        height=_TABLE_HEIGHT,
    )
    first = chosen[chosen["mammogram_id"] == film["mammogram_id"]].iloc[0]
    st.caption(elements.escape_markdown(f"{first['item']}: {first['cause']}"))
