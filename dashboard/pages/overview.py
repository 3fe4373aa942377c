"""Overview: where the study stands, from source to report, and what to do next."""

from __future__ import annotations

import time

import streamlit as st

from core import runs
from core.naming import CLASSES
from core.settings import load as load_settings
from core.store import annotations, data, readings
from core.store import runs as run_table
from core.store import units as unit_table
from dashboard import identity, load, parts, study
from evaluation import overview
from evaluation.results import decimal, interval_text, percent

identity.require("team")
parts.page()
settings = load_settings(study.current())


def next_step(steps: list[overview.Step]) -> overview.Step | None:
    """The first step that wants something."""
    return next((s for s in steps if s.state not in ("done", "running") and s.command), None)


def card(step: overview.Step) -> None:
    """One step of the chain."""
    with st.container(border=True, gap="xxsmall"):
        lines = "<br>".join(parts.text(line) for line in (*step.lines, parts.age(step.made)) if line)
        st.html(
            f'<div class="dm-card"><b>{parts.text(step.title)}</b>{parts.badge(step.state)}'
            f'<span class="big">{parts.text(step.headline)}</span><span class="dm-mute">{lines}</span></div>'
        )
        st.page_link(f"pages/{step.page}.py", label="Open")


def metric(title: str, value: str, lines: list[str], simulated: bool = False) -> None:
    """A large number with what it rests on."""
    with st.container(border=True):
        notes = "<br>".join(parts.text(line) for line in lines)
        st.html(
            f'<div class="dm-metric"><span class="t">{parts.text(title)}{parts.SIMULATED if simulated else ""}</span>'
            f'<div class="v">{parts.text(value)}</div><span class="dm-mute">{notes}</span></div>'
        )


def auc_metric() -> None:
    """Malignant AUC on hold-out patches."""
    run = load.ask(run_table.latest, "evaluate")
    if run is None:
        metric("Malignant AUC", "–", ["not evaluated yet", "deepminer evaluate"])
        return
    table = load.ask(run_table.metrics, run, "holdout")
    row = table[(table["level"] == "patch") & (table["class"] == "malignant") & (table["name"] == "auc")].to_dict("records")
    if not row:
        metric("Malignant AUC", "–", ["hold-out has no patches"])
        return
    found = row[0]
    low, high = (None if v != v else v for v in (found["low"], found["high"]))
    metric(
        "Malignant AUC",
        decimal(found["estimate"] if found["estimate"] == found["estimate"] else None),
        [interval_text(low, high, 0.95, found["reason"]) + ", clustered", f"{found['n']:,} hold-out patches, {found['patients']} patients"],
    )


def coverage_metrics(dissect: str | None) -> None:
    """Selected and labelled coverage for malignant."""
    covered = load.ask(run_table.latest, "coverage", dissect) if dissect else None
    if covered is None or dissect is None:
        with columns[1]:
            metric("Selected coverage", "–", ["no units dissected yet", "deepminer dissect"])
        with columns[2]:
            metric("Labelled coverage", "–", ["no units dissected yet"])
        return
    frame = load.ask(unit_table.coverage, covered)
    rows = {r["name"]: r for r in frame[frame["class"] == CLASSES.index("malignant")].to_dict("records")}
    with columns[1]:
        metric(
            "Selected coverage",
            percent(rows["selected"]["estimate"]),
            [
                f"malignant; chance {percent(rows['chance']['estimate'])}",
                f"split-half {percent(rows['split_half']['estimate'])}, CI {percent(rows['interval']['low'])} to {percent(rows['interval']['high'])}",
            ],
        )
    share, named, total = load.compute(overview.labelled, dissect, CLASSES.index("malignant"))
    with columns[2]:
        metric(
            "Labelled coverage",
            percent(share),
            [f"malignant; {named} of {total} units named", f"{rows['selected']['n']} hold-out films"],
            parts.simulated_labels(dissect),
        )


def annotation_metric(dissect: str | None) -> None:
    """Median seconds an expert needs for a unit."""
    progress = load.ask(annotations.progress, dissect) if dissect else None
    if progress is None or not len(progress) or progress["median_seconds"].isna().all():
        metric("Median per unit", "–", ["nobody has annotated yet"])
        return
    metric(
        "Median per unit",
        f"{progress['median_seconds'].median():.0f} s",
        ["goal 30 s", f"{int(progress['units'].sum())} annotations, {len(progress)} experts"],
        bool(progress["simulated"].any()),
    )


def reading_metric() -> None:
    """Progress of the reading study; never its results."""
    found = load.ask(readings.protocols)
    if not found:
        metric("Reading progress", "–", ["nothing frozen yet", "deepminer reading create"])
        return
    newest = found[-1]
    progress = load.ask(readings.progress, newest.protocol, newest.version)
    metric(
        "Reading progress",
        f"{int(progress['done'].sum()) if len(progress) else 0} / {int(progress['total'].sum()) if len(progress) else 0}",
        [f"{newest.protocol}, version {newest.version}: {newest.state}", f"{len(progress)} readers"],
        newest.simulated,
    )


def attention(steps: list[overview.Step]) -> None:
    """What is stale, failed or odd."""
    rows = [(s.state, f"{s.title}: {s.note or s.headline}", s.command) for s in steps if s.state in ("stale", "failed", "interrupted")]
    rows += [("note", note, "") for note in load.compute(overview.warnings)]
    parts.section("Needs attention", str(len(rows)))
    with st.container(border=True, height=150):
        if not rows:
            st.caption("Nothing. Every step is up to date.")
        for state, sentence, command in rows:
            st.html(f"{parts.badge(state)} &nbsp; {parts.text(sentence)} {'<code>' + parts.text(command) + '</code>' if command else ''}")


@st.fragment(run_every="3s")
def running() -> None:
    """Work in a terminal, seen within a few seconds; a finished step refreshes the page."""
    work = [b for b in runs.unfinished(study.current()) if b["state"] == "running"]
    names = tuple(sorted(b["run"] for b in work))
    if st.session_state.setdefault("running", names) != names:
        st.session_state["running"] = names
        st.rerun()
    parts.section("Running in a terminal", ", ".join(f"process {b['pid']}" for b in work))
    with st.container(border=True, height=150):
        for body in work:
            passed = time.time() - body["started"]
            left = passed * (body["total"] - body["done"]) / body["done"] if body["done"] else None
            st.code(body["command"], language="bash")
            st.progress(
                body["done"] / body["total"] if body["total"] else 0.0,
                text=f"{body['done']:,} of {body['total']:,} {body['unit']}, {passed / 60:.0f} min so far"
                + (f", about {left / 60:.0f} min left" if left is not None else ""),
            )
        if not work:
            st.caption("Nothing is running. Long steps started from a terminal show here.")


chain = load.compute(overview.steps) if not runs.unfinished(study.current()) else overview.steps(study.current())
wanted = next_step(chain)
left, right = st.columns([3, 2], vertical_alignment="center")
with left:
    people = load.ask(data.counts)
    parts.heading(
        settings.study.name,
        f"{people['patients']:,} patients, split seed {settings.study.seed}",
        simulated=bool(len(load.ask(data.sources)) and load.ask(data.sources)["simulated"].any()),
    )
with right:
    if wanted:
        st.code(f"{wanted.command} --study {study.current().name}", language="bash")
for column, step in zip(st.columns(len(chain), gap="xsmall"), chain):
    with column:
        card(step)
columns = st.columns(5, gap="xsmall")
dissected = load.ask(run_table.latest, "dissect")
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
