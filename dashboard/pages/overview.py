"""Overview: where the study stands, from source to report, and what to do next."""

from __future__ import annotations

import time

import pandas as pd
import streamlit as st

from core import runs
from core.class_labels import CLASSES
from core.settings import load as load_settings
from core.store import annotation_table, dataset_table, run_table, unit_table
from dashboard.server import context, identity
from dashboard.ui import cached_queries, elements
from evaluation.intervals import counted, decimal, interval_text, percent, percent_range
from evaluation.queries import study_overview

identity.require("team")
elements.page()
settings = load_settings(context.current())


def next_step(steps: list[study_overview.Step]) -> study_overview.Step | None:
    """The first step that wants something."""
    return next((s for s in steps if s.state not in ("done", "running") and s.command), None)


def card(step: study_overview.Step) -> None:
    """One step of the chain."""
    with st.container(border=True, gap="xxsmall"):
        lines = "<br>".join(
            elements.text(line) for line in (*step.lines, elements.age(step.made)) if line
        )
        st.html(
            f'<div class="dm-card"><b>{elements.text(step.title)}</b>{elements.badge(step.state)}<span'
            f' class="big">{elements.text(step.headline)}</span><span'
            f' class="dm-mute">{lines}</span></div>'
        )
        st.page_link(f"pages/{step.page}.py", label="Open")


def metric(title: str, value: str, lines: list[str], simulated: bool = False) -> None:
    """A large number with what it rests on."""
    with st.container(border=True):
        notes = "".join(
            f'<span class="dm-mute line" title="{elements.text(line)}">{elements.text(line)}</span>'
            for line in lines
        )
        st.html(
            '<div class="dm-metric"><span'
            f' class="t">{elements.text(title)}{elements.SIMULATED if simulated else ""}</span><div'
            f' class="v">{elements.text(value)}</div>{notes}</div>'
        )


def auc_metric() -> None:
    """Malignant AUC on hold-out patches."""
    run = cached_queries.ask(run_table.latest, "evaluate")
    if run is None:
        metric("Malignant AUC", "–", ["not evaluated yet", "deepminer evaluate"])
        return
    table = cached_queries.ask(run_table.metrics, run, "holdout")
    row = table[
        (table["level"] == "patch") & (table["class"] == "malignant") & (table["name"] == "auc")
    ].to_dict("records")
    if not row:
        metric("Malignant AUC", "–", ["hold-out has no patches"])
        return
    found = row[0]
    low, high = (None if v != v else v for v in (found["low"], found["high"]))
    metric(
        "Malignant AUC",
        decimal(found["estimate"] if found["estimate"] == found["estimate"] else None),
        [
            interval_text(low, high, 0.95, found["reason"]) + ", clustered",
            f"{found['n']:,} hold-out patches, {counted(found['patients'], 'patient')}",
        ],
        elements.simulated_data(),
    )


def coverage_metrics(dissect: str | None) -> None:
    """Selected and labelled coverage for malignant."""
    covered = cached_queries.ask(run_table.latest, "coverage", dissect) if dissect else None
    if covered is None or dissect is None:
        with columns[1]:
            metric("Selected coverage", "–", ["no units dissected yet", "deepminer dissect"])
        with columns[2]:
            metric("Labelled coverage", "–", ["no units dissected yet"])
        return
    frame = cached_queries.ask(unit_table.coverage, covered)
    rows = {
        r["name"]: r for r in frame[frame["class"] == CLASSES.index("malignant")].to_dict("records")
    }
    with columns[1]:
        metric(
            "Selected coverage",
            percent(rows["selected"]["estimate"]),
            [
                f"malignant; chance {percent(rows['chance']['estimate'])}",
                (
                    f"split-half {percent(rows['split_half']['estimate'])}, CI"
                    f" {percent_range(rows['interval']['low'], rows['interval']['high'])}"
                ),
            ],
            elements.simulated_data(),
        )
    share, named, total = cached_queries.compute(study_overview.labelled_by_class, dissect)[
        CLASSES.index("malignant")
    ]
    with columns[2]:
        metric(
            "Labelled coverage",
            percent(share),
            [
                f"malignant; {named} of {total} units named",
                f"{rows['selected']['n']} hold-out films",
            ],
            elements.simulated_labels(dissect) or elements.simulated_data(),
        )


def annotation_metric(dissect: str | None) -> None:
    """Median seconds an expert needs for a unit; people and simulated experts never in one number."""
    progress = cached_queries.ask(annotation_table.progress, dissect) if dissect else None
    if progress is None or not len(progress) or progress["median_seconds"].isna().all():
        metric("Median per unit", "–", ["nobody has annotated yet"])
        return
    people, machines = (
        progress[~progress["simulated"].astype(bool)],
        progress[progress["simulated"].astype(bool)],
    )
    shown = people if len(people) else machines
    lines = [
        "goal 30 s",
        f"{counted(int(shown['units'].sum()), 'annotation')}, {counted(len(shown), 'expert')}",
    ]
    if len(people) and len(machines):
        lines.append(f"{counted(len(machines), 'simulated expert')} apart: {_seconds(machines)}")
    metric("Median per unit", _seconds(shown), lines, not len(people) or elements.simulated_data())


def _seconds(progress: pd.DataFrame) -> str:
    known = progress["median_seconds"].dropna()
    return f"{known.median():.0f} s" if len(known) else "–"


def reading_metric() -> None:
    """Progress of the reading studies, what is open first; never results."""
    found = cached_queries.ask(study_overview.reading_states)
    if not found:
        metric("Reading progress", "–", ["nothing designed yet", "deepminer reading create"])
        return
    first, others = found[0], found[1:2]
    lines = [
        f"{first.state}, {counted(first.readers, 'reader')}: {first.protocol}, v{first.version}"
    ]
    lines += [
        f"{r.state}"
        + (f", {r.done} / {r.total}" if r.total else "")
        + f": {r.protocol}, v{r.version}"
        for r in others
    ]
    value = f"{first.done} / {first.total}" if first.total else "–"
    metric(
        "Reading progress",
        value,
        lines,
        any(r.simulated for r in found[:2]) or elements.simulated_data(),
    )


def attention(steps: list[study_overview.Step]) -> None:
    """What is stale, failed or odd."""
    rows = [
        (s.state, f"{s.title}: {s.note or s.headline}", s.command)
        for s in steps
        if s.state in ("stale", "failed", "interrupted")
    ]
    rows += [("note", note, "") for note in cached_queries.compute(study_overview.warnings)]
    elements.section("Needs attention", str(len(rows)))
    with st.container(border=True, height=132):
        if not rows:
            st.caption("Nothing. Every step is up to date.")
        for state, sentence, command in rows:
            st.html(
                f"{elements.badge(state)} &nbsp; {elements.text(sentence)}"
                f" {'<code>' + elements.text(command) + '</code>' if command else ''}"
            )


@st.fragment(run_every="3s")
def running() -> None:
    """Work in a terminal, seen within a few seconds; a finished step refreshes the page."""
    work = [b for b in runs.unfinished(context.current()) if b["state"] == "running"]
    names = tuple(sorted(b["run"] for b in work))
    if st.session_state.setdefault("running", names) != names:
        st.session_state["running"] = names
        st.rerun()
    elements.section("Running in a terminal", ", ".join(f"process {b['pid']}" for b in work))
    with st.container(border=True, height=132):
        for body in work:
            passed = time.time() - body["started"]
            left = passed * (body["total"] - body["done"]) / body["done"] if body["done"] else None
            st.code(body["command"], language="bash")
            st.progress(
                body["done"] / body["total"] if body["total"] else 0.0,
                text=(
                    f"{body['done']:,} of {body['total']:,} {body['unit']}, {passed / 60:.0f} min"
                    " so far"
                )
                + (f", about {left / 60:.0f} min left" if left is not None else ""),
            )
        if not work:
            st.caption("Nothing is running. Long steps started from a terminal show here.")


chain = (
    cached_queries.compute(study_overview.steps)
    if not runs.unfinished(context.current())
    else study_overview.steps(context.current())
)
wanted = next_step(chain)
left, right = st.columns([4, 5], vertical_alignment="center")
with left:
    people = cached_queries.ask(dataset_table.counts)
    elements.heading(
        settings.study.name,
        f"{counted(people['patients'], 'patient')}, split seed {settings.study.seed}",
        simulated=elements.simulated_data(),
    )
with right:
    if wanted:
        st.code(elements.pasted(wanted.command), language="bash")
for column, step in zip(st.columns(len(chain), gap="xsmall"), chain):
    with column:
        card(step)
columns = st.columns(5, gap="xsmall")
dissected = cached_queries.ask(run_table.latest, "dissect")
with columns[0]:
    auc_metric()
coverage_metrics(dissected)
with columns[3]:
    annotation_metric(dissected)
with columns[4]:
    reading_metric()
first, second = st.columns([2, 1], gap="small")
with first:
    attention(chain)
with second:
    running()
