"""Overview: the state of the study from source to report, and the next step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core import lineage, runs
from core.class_labels import ClassDefinition
from core.settings import load_settings
from core.store import annotation_table, dataset_table, run_table, unit_table
from dashboard.components.next_step import show_next_step
from dashboard.server import context, identity
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.study_words import image_nouns
from evaluation.intervals import DASH, count_text, decimal, interval_text, percent, percent_range
from evaluation.queries import reading_states, study_overview, unit_summaries
from evaluation.queries.reading_states import ReadingState
from evaluation.queries.study_overview import StepCard

_SECONDS_GOAL = 30
_RUNNING_STATE = "running"  # runs that the fragment has shown


def _simulated_parts() -> dict[str, bool]:
    """Return which data behind the numbers of the page are simulated."""
    dissect = cached_query(run_table.latest_run, "dissect")
    states = cached_query(reading_states.load_reading_states)
    return {
        "images": cached_result(lineage.has_simulated_images),
        "labels": dissect is not None and cached_result(lineage.has_simulated_labels, dissect),
        "annotations": dissect is not None
        and cached_result(lineage.has_simulated_answers, dissect),
        "readings": any(reading.simulated for reading in states),
    }


def _render_next_step(step: StepCard | None) -> None:
    """Render the one next step, or that there is none."""
    if step is None:
        elements.small_note("Every step is complete and up to date; nothing needs to be run.")
    else:
        show_next_step(step.next_task, step.command, elements.with_study_option(step.command))


def _render_step(step: StepCard, is_next: bool) -> None:
    with st.container(
        border=True, gap="xxsmall", key="next_card" if is_next else f"card_{step.kind}"
    ):
        lines = (*step.lines, elements.age_text(step.made))
        elements.step_card(step.title, step.state, step.headline, lines)
        # Its label is the name of the page.
        st.page_link(f"pages/{step.page}.py")


def _render_metric(title: str, value: str, lines: Sequence[str]) -> None:
    with st.container(border=True):
        elements.metric_card(title, value, lines)


def _render_auc() -> None:
    """Render the malignant AUC (of the positive class) on hold-out patches."""
    run = cached_query(run_table.latest_run, "evaluate")
    positive = _newest_classes().positive
    title = f"{positive.capitalize()} AUC"
    if run is None:
        _render_metric(title, DASH, ["not evaluated yet", "deepminer evaluate"])
        return
    table = cached_query(run_table.load_metrics, run, "holdout")
    rows = table[
        (table["level"] == "patch") & (table["class"] == positive) & (table["name"] == "auc")
    ]
    if not len(rows):
        _render_metric(title, DASH, ["hold-out has no patches"])
        return
    # The store has NaN where a number is not estimable.
    row = rows.astype(object).where(rows.notna(), None).iloc[0]
    interval = interval_text(row["low"], row["high"], 0.95, row["reason"])
    lines = [
        f"{interval}, clustered",
        f"{row['n']:,} hold-out patches, {count_text(row['patients'], 'patient')}",
    ]
    _render_metric(title, decimal(row["estimate"]), lines)


def _newest_classes() -> ClassDefinition:
    """Return the classes of the newest patches run, or else of the ingested images."""
    run = cached_query(run_table.latest_run, "patches")
    if run is None:
        return cached_query(dataset_table.load_classes)
    return cached_result(lineage.run_classes, run)


def _load_positive_coverage(dissect: str | None) -> dict[str, dict[str, Any]]:
    """Return the coverage of the positive class by name; empty without a coverage run."""
    run = cached_query(run_table.latest_run, "coverage", dissect) if dissect else None
    if run is None:
        return {}
    table = cached_query(unit_table.load_coverage, run)
    code = cached_result(lineage.run_classes, run).positive_code
    rows = table[table["class"] == code].to_dict("records")
    return {row["name"]: row for row in rows}


def _render_selected_coverage(rows: dict[str, dict[str, Any]]) -> None:
    title = "Selected coverage"
    if not rows:
        _render_metric(title, DASH, ["no units dissected yet", "deepminer dissect"])
        return
    bounds = percent_range(rows["interval"]["low"], rows["interval"]["high"])
    lines = [
        f"{_newest_classes().positive}; chance {percent(rows['chance']['estimate'])}",
        f"split-half {percent(rows['split_half']['estimate'])}, CI {bounds}",
    ]
    _render_metric(title, percent(rows["selected"]["estimate"]), lines)


def _render_labelled_coverage(dissect: str | None, rows: dict[str, dict[str, Any]]) -> None:
    title = "Labelled coverage"
    if dissect is None or not rows:
        _render_metric(title, DASH, ["no units dissected yet"])
        return
    coverage = cached_result(unit_summaries.labelled_coverage_by_class, dissect)
    classes = cached_result(lineage.run_classes, dissect)
    share, labelled, total = coverage[classes.positive_code]
    lines = [
        f"{classes.positive}; {labelled} of {total} units named",
        f"{rows['selected']['n']} hold-out {image_nouns()}",
    ]
    _render_metric(title, percent(share), lines)


def _render_annotation_time(dissect: str | None) -> None:
    """Render the median seconds per unit; human and simulated experts are never pooled."""
    title = "Median per unit"
    progress = (
        cached_query(annotation_table.annotation_progress_by_expert, dissect) if dissect else None
    )
    if progress is None or not len(progress) or progress["median_seconds"].isna().all():
        _render_metric(title, DASH, ["no annotations yet"])
        return
    is_simulated = progress["simulated"].astype(bool)
    human, simulated = progress[~is_simulated], progress[is_simulated]
    experts = human if len(human) else simulated
    annotations = count_text(int(experts["units"].sum()), "annotation")
    lines = [f"goal {_SECONDS_GOAL} s", f"{annotations}, {count_text(len(experts), 'expert')}"]
    if len(human) and len(simulated):
        excluded = count_text(len(simulated), "simulated expert")
        lines.append(f"{excluded} excluded: {_median_seconds(simulated)}")
    _render_metric(title, _median_seconds(experts), lines)


def _median_seconds(progress: pd.DataFrame) -> str:
    seconds = progress["median_seconds"].dropna()
    return f"{seconds.median():.0f} s" if len(seconds) else DASH


def _render_reading_progress() -> None:
    """Render the progress of the first two reading studies, open ones first; never results."""
    title = "Reading progress"
    states = cached_query(reading_states.load_reading_states)[:2]
    if not states:
        _render_metric(title, DASH, ["nothing designed yet", "deepminer reading create"])
        return
    first = states[0]
    readers = count_text(first.readers, "reader")
    lines = [f"{first.state}, {readers}: {first.protocol}, v{first.version}"]
    lines += [_reading_line(reading) for reading in states[1:]]
    value = f"{first.done} / {first.total}" if first.total else DASH
    _render_metric(title, value, lines)


def _reading_line(reading: ReadingState) -> str:
    progress = f", {reading.done} / {reading.total}" if reading.total else ""
    return f"{reading.state}{progress}: {reading.protocol}, v{reading.version}"


def _render_warnings(steps: Sequence[StepCard]) -> None:
    """Render stale, failed and interrupted steps, then the warnings, each with its page."""
    faulty = [step for step in steps if step.state in ("stale", "failed", "interrupted")]
    warnings = cached_result(study_overview.study_warnings)
    elements.section_heading("Needs attention", str(len(faulty) + len(warnings)))
    with st.container(border=True, height=132, gap="xxsmall"):
        if not faulty and not warnings:
            st.caption("No step is out of date or failed, and there is no warning.")
        for step in faulty:
            sentence = f"{step.title}: {step.note or step.headline}"
            _render_attention(step.state, sentence, step.page, command=step.command)
        for warning in warnings:
            _render_attention("note", warning.sentence, warning.page, dict(warning.query))


def _render_attention(
    state: str, sentence: str, page: str, query: dict[str, str] | None = None, command: str = ""
) -> None:
    """Render what needs attention, with its command and a link to the page that shows it."""
    text_column, link_column = st.columns([7, 1.3], vertical_alignment="center", gap="xxsmall")
    code = f" <code>{elements.escape_html(command)}</code>" if command else ""
    text_column.html(
        f'<div class="dm-text">{elements.state_badge(state)} &nbsp;'
        f" {elements.escape_html(sentence)}{code}</div>"
    )
    # Its label is the name of the page.
    link_column.page_link(f"pages/{page}.py", query_params=query)


@st.fragment(run_every="3s")
def _render_running_work() -> None:
    """Render the runs of other processes; rerun the page when one starts or finishes."""
    work = [
        run for run in runs.unfinished_runs(context.served_study()) if run["state"] == "running"
    ]
    _rerun_on_change(tuple(sorted(run["run"] for run in work)))
    # The process number lets a user end a step from the terminal.
    processes = ", ".join(f"process {run['pid']}" for run in work)
    elements.section_heading("Running in a terminal", processes)
    with st.container(border=True, height=132):
        for run in work:
            st.code(run["command"], language="bash")
            share = run["done"] / run["total"] if run["total"] else 0.0
            st.progress(share, text=_progress_text(run))
        if not work:
            st.caption("Nothing is running. Long steps that run in a terminal are listed here.")


def _rerun_on_change(names: tuple[str, ...]) -> None:
    if st.session_state.setdefault(_RUNNING_STATE, names) != names:
        st.session_state[_RUNNING_STATE] = names
        st.rerun()


def _progress_text(run: dict[str, Any]) -> str:
    """Return the progress of a run with the time so far and the time left."""
    seconds = time.time() - run["started"]
    text = f"{run['done']:,} of {run['total']:,} {run['unit']}, {seconds / 60:.0f} min so far"
    if run["done"]:
        left = seconds * (run["total"] - run["done"]) / run["done"]
        text += f", about {left / 60:.0f} min left"
    return text


identity.require_role("team")
theme.apply_team_style()
_settings = load_settings(context.served_study())
_steps = elements.load_step_cards()
_title_column, _command_column = st.columns([4, 5], vertical_alignment="center")
with _title_column:
    _patients = cached_query(dataset_table.dataset_counts)["patients"]
    elements.page_heading(
        _settings.study.name,
        f"{count_text(_patients, 'patient')}, split seed {_settings.study.seed}",
        _simulated_parts(),
    )
_next = study_overview.next_step(_steps)
with _command_column:
    _render_next_step(_next)
for _column, _step in zip(st.columns(len(_steps), gap="xsmall"), _steps):
    with _column:
        _render_step(_step, _step is _next)
_dissect = cached_query(run_table.latest_run, "dissect")
_coverage = _load_positive_coverage(_dissect)
_metric_columns = st.columns(5, gap="xsmall")
with _metric_columns[0]:
    _render_auc()
with _metric_columns[1]:
    _render_selected_coverage(_coverage)
with _metric_columns[2]:
    _render_labelled_coverage(_dissect, _coverage)
with _metric_columns[3]:
    _render_annotation_time(_dissect)
with _metric_columns[4]:
    _render_reading_progress()
_warning_column, _work_column = st.columns([2, 1], gap="small")
with _warning_column:
    _render_warnings(_steps)
with _work_column:
    _render_running_work()
