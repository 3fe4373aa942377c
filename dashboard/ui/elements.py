"""Small pieces that pages share: escaped text, badges, ages, the sentence of an empty page, the
word simulated.
"""

from __future__ import annotations

import html
import re
import shlex
from datetime import datetime
from typing import NoReturn

import pandas as pd
import streamlit as st

from core import timestamps
from core.store import annotation_table, dataset_table
from dashboard.server import context
from dashboard.ui import cached_queries, theme

_ICONS = {
    "done": "✓",
    "stale": "◷",
    "running": "◌",
    "interrupted": "◍",
    "failed": "✕",
    "missing": "○",
}
STYLE = """<style>
.dm-title{display:flex;align-items:baseline;gap:12px;min-height:32px}.dm-title b{font-size:16px}.dm-title span{color:var(--dm-mute);font-size:12px}
.dm-card{font-size:12px;line-height:1.4;min-height:116px}.dm-card b{display:block;font-size:13px;margin-bottom:4px}.dm-card .big{font-size:13px;display:block;margin-top:8px}
.dm-mute{color:var(--dm-mute)}
.dm-badge{display:inline-block;font-size:11px;font-weight:500;padding:1px 6px;border-radius:3px;background:var(--dm-wash);color:var(--dm-mute)}
.dm-badge.stale{background:var(--dm-warn-wash);color:var(--dm-warn)}.dm-badge.failed,.dm-badge.interrupted{background:var(--dm-err-wash);color:var(--dm-err)}
.dm-badge.running{background:var(--dm-accent-wash);color:var(--dm-accent)}
.dm-sim{display:inline-block;font-size:11px;font-weight:600;letter-spacing:.04em;padding:0 6px;border:1px solid var(--dm-warn);color:var(--dm-warn);border-radius:3px;margin-left:6px}
.dm-metric .v{font-size:28px;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.25}.dm-metric{font-size:12px;min-height:88px}.dm-metric .t{font-size:13px;white-space:nowrap}
.dm-metric .line{display:block;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.dm-facts{width:100%;border-collapse:collapse;font-size:13px}.dm-facts td{padding:5px 0;border-bottom:1px solid var(--dm-line-soft)}.dm-facts td:first-child{color:var(--dm-mute);padding-right:12px}
.dm-facts td:last-child{text-align:right;font-variant-numeric:tabular-nums}
.dm-table{width:100%;border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
.dm-table th{text-align:right;font-weight:600;font-size:12px;color:var(--dm-mute);background:var(--dm-wash);padding:5px 10px}
.dm-table td{text-align:right;padding:6px 10px;border-top:1px solid var(--dm-line-soft)}.dm-table th:first-child,.dm-table td:first-child{text-align:left}
.dm-line{display:inline-block;width:18px;height:0;border-top:2px solid;vertical-align:middle;margin-right:8px}.dm-line.normal{border-top-style:dotted}.dm-line.benign{border-top-style:dashed}
.dm-cells{display:flex;border:1px solid var(--dm-line-soft);border-radius:4px}
.dm-cell{flex:1;padding:8px 12px;border-right:1px solid var(--dm-line-soft);font-size:12px}.dm-cell:last-child{border-right:0}
.dm-cell b{display:block;font-size:15px;font-variant-numeric:tabular-nums}.dm-table.dm-left td,.dm-table.dm-left th{text-align:left}
h4.dm{font-size:13px;font-weight:600;margin:0 0 4px}h4.dm span{font-weight:400;color:var(--dm-mute);margin-left:8px;font-size:12px}
</style>"""
_COLOURS = {
    "light": {
        "mute": "#57606B",
        "wash": "#F4F5F7",
        "line-soft": "#E9ECEF",
        "warn": "#7A5600",
        "warn-wash": "#FDF4DC",
        "err": "#A8182B",
        "err-wash": "#FCEBED",
        "accent": "#4F46A5",
        "accent-wash": "#EEECF8",
    },
    "dark": {
        "mute": "#A7B0BA",
        "wash": "#1C2024",
        "line-soft": "#262C31",
        "warn": "#E8B84A",
        "warn-wash": "#2E2611",
        "err": "#FF8A95",
        "err-wash": "#3A1A1F",
        "accent": "#B1A9FA",
        "accent-wash": "#25223D",
    },
}


def page() -> None:
    """First call of every team page: frame and styles in the colours of the theme in use."""
    theme.frame()
    values = ";".join(f"--dm-{name}:{value}" for name, value in _COLOURS[theme.mode()].items())
    st.html(f"<style>:root{{{values}}}</style>{STYLE}")


def text(value: object) -> str:
    """Safe in HTML, whatever people typed."""
    return html.escape(str(value))


def plain(text: str) -> str:
    """Text that people typed, such as a study's name or a label, as it stands where Streamlit would
    read Markdown in it.
    """
    return re.sub(r"([\\`*_~$\[\]])", r"\\\1", text)


def badge(state: str) -> str:
    """A state as a flat rectangle with a sign."""
    return f'<span class="dm-badge {state}">{_ICONS.get(state, "")} {text(state)}</span>'


SIMULATED = '<span class="dm-sim">SIMULATED</span>'


def heading(title: str, note: str = "", simulated: bool = False) -> None:
    """The page's first line."""
    st.html(
        "<div"
        f' class="dm-title"><b>{text(title)}</b>{SIMULATED if simulated else ""}<span>{text(note)}</span></div>'
    )


def section(title: str, note: str = "", simulated: bool = False) -> None:
    """A small heading with a quiet remark."""
    st.html(
        f'<h4 class="dm">{text(title)}{SIMULATED if simulated else ""}<span>{text(note)}</span></h4>'
    )


def cells(values: list[tuple[str, str]]) -> None:
    """Small names over larger values, side by side."""
    inside = "".join(
        f'<div class="dm-cell"><span class="dm-mute">{text(name)}</span><b>{text(value)}</b></div>'
        for name, value in values
    )
    st.html(f'<div class="dm-cells">{inside}</div>')


def table(frame: pd.DataFrame, left: bool = False) -> None:
    """A small read-only table; cells may hold our own markup, so callers escape what people typed.
    left: all columns flush left.
    """
    head = "".join(f"<th>{text(c)}</th>" for c in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row in frame.itertuples(index=False)
    )
    st.html(
        "<table"
        f' class="dm-table{" dm-left" if left else ""}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def facts(rows: list[tuple[str, str]]) -> None:
    """Name and value, a line each."""
    st.html(
        '<table class="dm-facts">'
        + "".join(f"<tr><td>{text(a)}</td><td>{b}</td></tr>" for a, b in rows)
        + "</table>"
    )


def class_mark(name: str) -> str:
    """A class's name after its colour and line."""
    colour = theme.CLASS_FILL[theme.mode()].get(name, theme.CLASS_FILL[theme.mode()]["other"])
    return f'<span class="dm-line {name}" style="border-top-color:{colour}"></span>{text(name)}'


def age(made: datetime | None) -> str:
    """How long ago, in the largest fitting unit."""
    if made is None:
        return ""
    seconds = (timestamps.now() - made).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def empty(sentence: str, command: str) -> NoReturn:
    """What an empty page says: a sentence and the exact command. Ends the page."""
    st.info(sentence)
    st.code(pasted(command), language="bash", wrap_lines=True)
    st.stop()


def pasted(command: str) -> str:
    """A command as it works in any folder of this machine: with the study's whole path, and exports
    into the study.
    """
    path = context.current()
    return (
        command.replace("--out exports", f"--out {shlex.quote(str(path / 'exports'))}")
        + f" --study {shlex.quote(str(path))}"
    )


def simulated_data() -> bool:
    """Whether any source of mammograms is synthetic: every number made from them says so."""
    sources = cached_queries.ask(dataset_table.sources)
    return bool(len(sources) and sources["simulated"].any())


def simulated_labels(dissect: str) -> bool:
    """Whether any label in use comes from a simulated expert."""
    return any(
        label.simulated for label in cached_queries.ask(annotation_table.labels, dissect).values()
    )


def image_labels() -> bool:
    """Whether any source gave image-level labels only."""
    sources = cached_queries.ask(dataset_table.sources)
    return bool(len(sources) and sources["image_labels"].any())


def weak_label_note() -> None:
    """Said on every page whose numbers rest on image-level labels."""
    if image_labels():
        st.html(
            '<div style="font-size:12px;padding:2px'
            ' 8px;border-radius:3px;background:var(--dm-warn-wash);color:var(--dm-warn)">Labels are'
            " image-level: every tissue patch carries its film's diagnosis, and every number here"
            " is made from such weak labels.</div>"
        )
