"""Figures: what can be built for print, what is missing or stale, a preview at print size, Build
and a ZIP.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import streamlit as st

from core import store
from core.store import run_table
from dashboard.server import context, identity
from dashboard.ui import cached_queries, elements
from evaluation.intervals import counted
from evaluation.queries import provenance
from evaluation.queries.provenance import Missing
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import FORMATS, export_figures, preview
from evaluation.reporting.figures.export import zipped as zip_exports
from evaluation.reporting.tables import TABLES
from evaluation.reporting.tables.export import export_tables

identity.require("team")
elements.page()
PRESETS = {"Each figure's own width": None, "One column, 85 mm": 85.0, "Two columns, 174 mm": 174.0}
KINDS = {f"figure {name}": kind for name, kind in FIGURES.items()} | {
    f"table {name}": kind for name, kind in TABLES.items()
}
OUT = context.current() / "exports"
ROW = """<style>.st-key-checklist,.st-key-checklist [data-testid="stVerticalBlock"]{gap:0!important}
.st-key-checklist [data-testid="stHorizontalBlock"]{align-items:center;min-height:28px}.dm-next{font-size:11px;color:var(--dm-mute)}</style>"""


def shows_test(keys: Iterable[str]) -> bool:
    """Whether any of these holds numbers of the test split."""
    return any(provenance.FROM_TEST & set(KINDS[key].needs) for key in keys)


def count_opening(what: str) -> None:
    """An opening of the test split is logged: each build of exports that hold its numbers, and the
    first preview of one in a visit.
    """
    evaluated = now["evaluate"]
    if evaluated:
        with store.write(context.current()) as con:
            run_table.log(con, f"{identity.current().code}, {what}", "test split opened", evaluated)


def built() -> dict[str, dict]:
    """Passports in the study's exports folder, by kind and name."""
    return (
        {f"{p['kind']} {p['name'].removeprefix('table_')}": p for p in provenance.read(OUT)}
        if OUT.is_dir()
        else {}
    )


def state_of(
    key: str, there: dict[str, dict], now: dict[str, str]
) -> tuple[str, str, Missing | None]:
    """(state, remark, what is missing) of one export.

    A photograph of the served page lacks no input: it is no drawing of the study's.
    """
    if KINDS[key].required == ("screenshot",):
        return "screenshot", "make pictures", provenance.absent(("screenshot",), {})
    missing = provenance.absent(KINDS[key].required, now)
    if missing is not None:
        return "missing", missing.step, missing
    if key not in there:
        return "ready", "", None
    changed = provenance.changed(there[key], now)
    return ("stale", f"{', '.join(changed)} changed since", None) if changed else ("done", "", None)


def badge(state: str) -> str:
    """A state; what is done is said to be built."""
    return elements.badge(state).replace(" done<", " built<")


def checklist(states: dict[str, tuple[str, str, Missing | None]]) -> list[str]:
    """A row each: name, state, and for a missing input its step. Returns what is ticked."""
    st.html(ROW)
    wanted = []
    with st.container(
        height=320, key="checklist"
    ):  # so that progress and the message after building stay in sight at 640 px
        for title, word in (("Figures", "figure"), ("Tables", "table")):
            elements.section(title)
            for key in (k for k in KINDS if k.startswith(word)):
                state, remark, missing = states[key]
                left, right = st.columns([13, 9], gap="xxsmall", vertical_alignment="center")
                ticked = left.checkbox(
                    KINDS[key].title,
                    value=missing is None,
                    key=f"take {key}",
                    disabled=missing is not None,
                )
                hint = (
                    f' title="{elements.text(missing.reason)}. {elements.text(missing.command)}"'
                    if missing
                    else ""
                )
                right.html(
                    f"<span{hint}>{badge(state)} <span"
                    f' class="dm-next">{elements.text(remark)}</span></span>'
                )
                if ticked and missing is None:
                    wanted.append(key)
    return wanted


def build(wanted: list[str], width: float | None, formats: list[str]) -> None:
    """Write what is ticked into the study's exports folder."""
    folder = context.current()
    if shows_test(wanted):
        count_opening(f"{len(wanted)} exports built")
    bar = st.progress(0.0, "Building")
    figures, tables = (
        [k.split(" ", 1)[1] for k in wanted if k.startswith(word)] for word in ("figure", "table")
    )
    total, done = len(wanted), []

    def report(count: int, _: int, unit: str) -> None:
        """Move the bar: figures first, then tables."""
        bar.progress(
            min(1.0, (count + (len(figures) if unit == "tables" else 0)) / total),
            f"Building {unit}",
        )

    if figures:
        done += export_figures(folder, figures, OUT, width, formats, report)
    if tables:
        done += export_tables(folder, tables, OUT, report)
    bar.empty()
    skipped = [e for e in done if e.passport is None]
    st.session_state["built"] = (
        f"{len(done) - len(skipped)} built into the study's exports folder."
        + "".join(f" {e.name}: {e.reason}." for e in skipped)
    )
    st.rerun()


@st.cache_data(show_spinner=False, max_entries=2)
def zipped(folder: str, newest: float) -> bytes:
    """The exports as one file; made again when a passport is newer."""
    return zip_exports(Path(folder))


@st.cache_data(show_spinner=False, max_entries=60)
def table_of(
    path: str, version: tuple[int, int], name: str
) -> tuple[pd.DataFrame, str] | tuple[str, str, str]:
    """A table's printed text and its note; or what is missing: step, reason, command."""
    try:
        table = TABLES[name].build(Path(path))
    except Missing as missing:
        return missing.step, missing.reason, missing.command
    return table.shown(), table.note


def show_missing(step: str, reason: str, command: str) -> None:
    """Why there is nothing to show, and what to do."""
    st.info(f"{step}: {reason}.")
    if command:
        st.code(command, language="bash")


def show_figure(key: str, name: str, width: float | None, there: dict[str, dict]) -> None:
    """Preview at print size with caption draft and passport."""
    made = cached_queries.compute(preview, name, width)
    if made.missing is not None:
        show_missing(*made.missing)
        return
    size = width or FIGURES[name].width
    with st.container(height=420, border=True):
        st.html(
            f'<img src="{made.picture}" alt="{elements.text(made.caption)}"'
            f' style="width:{size:g}mm;background:#fff;display:block">'
        )
    st.caption(made.caption)
    counts = ", ".join(f"{n:,} {what}" for what, n in made.counts.items())
    st.html(
        f'<div class="dm-mute" style="font-size:12px">n: {elements.text(counts or "none")}.'
        f" {elements.text(made.method)}</div>"
    )
    if key in there:
        p = there[key]
        st.html(
            f'<div class="dm-mute" style="font-size:12px">Built: numbers {p["data_hash"][:12]}.'
            f" Again: <code>{elements.text(p['command'])}</code></div>"
        )


def show_table(name: str) -> None:
    """A table as it is printed, with its note."""
    path = context.current()
    found = table_of(str(path), store.version(path), name)
    if len(found) == 3:
        show_missing(*found)
        return
    shown, note = found
    st.dataframe(
        shown, hide_index=True, height=min(400, 35 * (len(shown) + 1) + 3)
    )  # no empty rows beneath a short table
    st.caption(note)


now = cached_queries.compute(provenance.inputs, provenance.NAMES)
there = built()
states = {key: state_of(key, there, now) for key in KINDS}
stale, lacking = (sum(s == word for s, _, _ in states.values()) for word in ("stale", "missing"))
elements.heading(
    "Figures",
    (
        f"{lacking} of {len(KINDS)} {'lacks' if lacking == 1 else 'lack'} an input"
        if lacking
        else "every input is there"
    )
    + (f", {stale} stale" if stale else ""),
    bool(cached_queries.compute(provenance.simulated_parts, provenance.NAMES)),
)
elements.weak_label_note()
left, right = st.columns([46, 78], gap="medium")
with left:
    a, b = st.columns([5, 4])
    preset = a.selectbox("Journal preset", list(PRESETS), key="preset", bind="query-params")
    formats = b.multiselect("Formats", list(FORMATS), default=["pdf", "png"], key="formats")
    wanted = checklist(states)
    c, d = st.columns([1, 1])
    pressed = c.button(
        f"Build {len(wanted)}", type="primary", width="stretch", disabled=not wanted or not formats
    )
    if there:
        newest = max(p.stat().st_mtime for p in OUT.glob(f"*{provenance.SUFFIX}"))
        d.download_button(
            "Download ZIP",
            zipped(str(OUT), newest),
            "exports.zip",
            "application/zip",
            width="stretch",
            on_click="ignore",
        )
    else:
        d.button("Download ZIP", disabled=True, width="stretch", help="Nothing has been built yet.")
    if pressed:
        build(wanted, PRESETS[preset], formats)
    if "built" in st.session_state:
        st.success(st.session_state.pop("built"))
    openings = st.empty()
with right:
    titles = {key: f"{key.split()[0].capitalize()}: {KINDS[key].title}" for key in KINDS}
    chosen = st.selectbox(
        "Preview",
        list(KINDS),
        index=0,
        format_func=titles.__getitem__,
        key="preview",
        bind="query-params",
    )
    kind, name = chosen.split(" ", 1)
    if (
        states[chosen][2] is None
        and shows_test([chosen])
        and st.session_state.get("exports_opened") != now["evaluate"]
    ):
        st.session_state["exports_opened"] = now["evaluate"]
        count_opening("preview of exports")
    if kind == "figure":
        show_figure(chosen, name, PRESETS[preset], there)
    else:
        show_table(name)
# Said last: the preview may have been an opening itself.
openings.caption(
    "The test split was opened"
    f" {counted(len(cached_queries.ask(run_table.events, 'test split opened')), 'time')} so far. Counted:"
    " each Build (or command) whose exports hold its numbers, and the first preview of one in a"
    " visit; redrawing is not counted."
)
