"""HTML elements of the team pages: headings, badges, tables, cards, hints.

Functions that return text build escaped HTML; the others write to the page.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import streamlit as st

from core import lineage, runs, timestamps
from core.annotation.spreadsheet_cells import neutral_frame
from core.settings import in_study_words
from dashboard.server import context
from dashboard.ui import theme
from dashboard.ui.cached_queries import cached_result
from dashboard.ui.study_words import image_noun
from evaluation.queries import provenance, study_overview
from evaluation.queries.study_overview import StepCard

_STATE_ICONS = {
    "done": "✓",
    "stale": "◷",
    "running": "◌",
    "interrupted": "◍",
    "failed": "✕",
    "missing": "○",
}


def escape_html(value: object) -> str:
    """Return a value as text that is safe in HTML."""
    return html.escape(str(value))


def escape_markdown(text: str) -> str:
    """Return text, such as the name of a study, that Streamlit shows without reading Markdown."""
    return re.sub(r"([\\`*_~$\[\]])", r"\\\1", text)


def state_badge(state: str, text: str | None = None) -> str:
    """Return a badge in the colour of a state, with the state's icon and name or other text."""
    label = f"{_STATE_ICONS.get(state, '')} {escape_html(state)}" if text is None else text
    return f'<span class="dm-badge {state}">{label}</span>'


def sign_out_link(prefix: str) -> None:
    """Show the link to the page that signs out, beside the navigation; prefix: of the server."""
    # Streamlit opens its own link buttons in a new tab.
    st.html(f'<a class="dm-out" href="{escape_html(prefix)}/sign-out" target="_self">Sign out</a>')


# The file is part of the package and does not change while the server runs.
@cache
def help_sections() -> dict[str, str]:
    """Return the help of each page by the page's name, in Markdown."""
    text = Path(__file__).parents[1].joinpath("page_help.md").read_text(encoding="utf-8")
    sections = (section.split("\n", 1) for section in text.split("\n## ")[1:])
    return {title.strip(): content.strip() for title, content in sections}


def page_help(title: str) -> None:
    """Show the button that opens the help of a page, beside the navigation."""
    with st.container(key="page_help"), st.popover("Help", type="tertiary"):
        st.markdown(in_study_words(help_sections()[title], image_noun()))


def class_marker(name: str) -> str:
    """Return the name of a class after its line."""
    style = f"border-top-color:{theme.class_color(name)}"
    return (
        f'<span class="dm-line {theme.class_style(name)}" style="{style}"></span>'
        f"{escape_html(name)}"
    )


def share_bar(head: str, value: str, share: float, color: str | None = None) -> str:
    """Return a labelled bar for a share of 0 to 1; the head is HTML, grey without a colour."""
    fill = f";background:{color}" if color else ""
    return (
        f'<div class="dm-bar-head"><span>{head}</span><span>{value}</span></div>'
        f'<div class="dm-bar"><i style="width:{100 * share:.1f}%{fill}"></i></div>'
    )


def page_heading(title: str, note: str = "", simulated: Mapping[str, bool] | None = None) -> None:
    """Write the heading of a page with a note, and the page's mark of simulated data.

    The mark stands beside the navigation, so that it is in sight at every position of the page and
    beside no number.

    simulated: for each kind of data on the page, such as "images", whether any of it is simulated.
    """
    parts = ", ".join(part for part, is_simulated in (simulated or {}).items() if is_simulated)
    mark = f'<div class="dm-sim" role="note">SIMULATED {escape_html(parts)}</div>' if parts else ""
    st.html(
        f'<div class="dm-title"><h1>{escape_html(title)}</h1>'
        f"<span>{escape_html(note)}</span>{mark}</div>"
    )


def section_heading(title: str, note: str = "") -> None:
    """Write the heading of a section with a note."""
    st.html(f'<h2 class="dm">{escape_html(title)}<span>{escape_html(note)}</span></h2>')


def class_heading(name: str) -> None:
    """Write the heading of a section about one class."""
    st.html(f'<h2 class="dm">{class_marker(name)}</h2>')


def metric_row(metrics: Sequence[tuple[str, str]], notes: Sequence[str] | None = None) -> None:
    """Write names above values side by side, with a note below each where notes are given."""
    cells = "".join(
        f'<div class="dm-cell"><span class="dm-mute">{escape_html(name)}</span>'
        f"<b>{escape_html(value)}</b>"
        + (f'<span class="dm-mute">{escape_html(notes[i])}</span>' if notes else "")
        + "</div>"
        for i, (name, value) in enumerate(metrics)
    )
    st.html(f'<div class="dm-cells">{cells}</div>')


def html_table(frame: pd.DataFrame, left: bool = False) -> None:
    """Write a small read-only table.

    Cells may hold markup of this package, so callers escape text that people typed. left: align
    all columns to the left.
    """
    head = "".join(f"<th>{escape_html(column)}</th>" for column in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row in frame.itertuples(index=False)
    )
    st.html(
        f'<table class="dm-table{" dm-left" if left else ""}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def data_table(frame: pd.DataFrame, **options: Any) -> Any:
    """Write a table that can be sorted, downloaded and copied, and return what Streamlit returns.

    The browser downloads and copies the cells as they are shown. A text that a spreadsheet program
    could take for a formula is therefore shown with an apostrophe in front.

    options: of `streamlit.dataframe`.
    """
    return st.dataframe(neutral_frame(frame), **options)


def key_value_table(rows: Sequence[tuple[str, str]]) -> None:
    """Write one line for each name and value; values may hold markup of this package."""
    body = "".join(f"<tr><td>{escape_html(name)}</td><td>{value}</td></tr>" for name, value in rows)
    st.html(f'<table class="dm-facts">{body}</table>')


def small_note(content: str) -> None:
    """Write a muted line of HTML."""
    st.html(f'<div class="dm-mute dm-small">{content}</div>')


def warning_line(sentence: str) -> None:
    """Write a warning in one line, where the page has no room for a box."""
    st.html(f'<div class="dm-warning" role="alert">{escape_html(sentence)}</div>')


def bullet_list(lines: Iterable[str]) -> None:
    """Write a list of plain sentences."""
    items = "".join(f"<li>{escape_html(line)}</li>" for line in lines)
    st.html(f'<ul class="dm-list">{items}</ul>')


def step_card(title: str, state: str, headline: str, lines: Iterable[str]) -> None:
    """Write the content of the card of a pipeline step."""
    details = "<br>".join(escape_html(line) for line in lines if line)
    st.html(
        f'<div class="dm-card"><b>{escape_html(title)}</b>{state_badge(state)}'
        f'<span class="big">{escape_html(headline)}</span>'
        f'<span class="dm-mute">{details}</span></div>'
    )


def stepper(steps: Sequence[tuple[str, str]], present: int, note: str) -> None:
    """Write steps side by side, each with a note, and a note on all of them below.

    present: index of the step that is reached. Earlier steps are marked as done; -1 marks none.
    """
    items = ""
    for number, (name, step_note) in enumerate(steps):
        state = "done" if number < present else "present" if number == present else ""
        mark = "✓ " if number < present else ""
        current = ' aria-current="step"' if number == present else ""
        items += (
            f'<li class="{state}"{current}><b>{mark}{escape_html(name)}</b>'
            f"<span>{escape_html(step_note)}</span></li>"
        )
    st.html(
        f'<ol class="dm-steps">{items}</ol><div class="dm-mute dm-small">{escape_html(note)}</div>'
    )


def metric_card(title: str, value: str, lines: Iterable[str]) -> None:
    """Write a large number with what it is based on; long lines are cut and shown on hover."""
    notes = "".join(
        f'<span class="dm-mute line" title="{escape_html(line)}">{escape_html(line)}</span>'
        for line in lines
    )
    st.html(
        f'<div class="dm-metric"><span class="t">{escape_html(title)}</span>'
        f'<div class="v">{escape_html(value)}</div>{notes}</div>'
    )


def age_text(created: datetime | None) -> str:
    """Return the age of a result in the largest unit that fits."""
    if created is None:
        return ""
    seconds = (timestamps.utc_now() - created).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def with_study_option(command: str) -> str:
    """Return a command that works in every folder: the study's full path, exports in the study."""
    path = context.served_study()
    exports = shlex.quote(str(path / "exports"))
    command = command.replace("--out exports", f"--out {exports}")
    return f"{command} --study {shlex.quote(str(path))}"


def stop_with_hint(sentence: str, command: str) -> NoReturn:
    """Write why a page is empty and the command that fills it, then stop the page."""
    st.info(sentence)
    st.code(with_study_option(command), language="bash", wrap_lines=True)
    # Streamlit ends the script here, so that callers need no branch for the empty page.
    st.stop()


def load_step_cards() -> list[StepCard]:
    """Return the cards of the steps as they are now; the last one depends on the exports."""
    study = context.served_study()
    # The progress of an unfinished run is in its folder, which the cache does not watch.
    if runs.unfinished_runs(study):
        return study_overview.step_cards(study)
    return cached_result(study_overview.step_cards, files=provenance.export_records(study))


def stop_without_result(sentence: str, kind: str) -> NoReturn:
    """Write why a page is empty and the first command on the way to a step, then stop the page."""
    stop_with_hint(sentence, study_overview.first_command(load_step_cards(), kind))


def image_level_note() -> None:
    """Write warnings where a source gave image-level labels only, or no truth from biopsy."""
    if cached_result(lineage.has_image_level_labels):
        st.html(
            '<div class="dm-warning">Labels are image-level: every tissue patch carries the'
            " diagnosis of its image. All numbers on this page are based on such weak labels."
            "</div>"
        )
    for statement in cached_result(lineage.truth_statements):
        st.html(f'<div class="dm-warning">{statement}</div>')
