"""Performance: ROC curves and, in tabs, classes, calibration, thresholds, runs and failures."""

from __future__ import annotations

import streamlit as st

from core import lineage, runs, store
from core.class_labels import SPLIT_NAMES
from core.store import run_table
from dashboard.server import context, identity
from dashboard.ui import charts, elements, theme
from dashboard.ui.cached_queries import cached_result
from dashboard.ui.controls import segment_choice, select_choice
from dashboard.views.performance_tabs import (
    PERFORMANCE_TABS,
    PLOT_CONFIG,
    PerformanceView,
    run_title,
)
from evaluation.intervals import count_text, decimal
from evaluation.queries import architectures, performance_cache
from evaluation.queries.architectures import StudyContext
from evaluation.queries.observations import LEVELS

_OPENED_STATE = "opened"  # the run whose test split this visit has opened


def _split_title(split: str) -> str:
    return SPLIT_NAMES[split].capitalize()


def _stop_without_runs() -> None:
    """Stop with the command that leads to an evaluated run."""
    elements.page_heading("Performance")
    unfinished = runs.unfinished_runs(context.served_study())
    training = next((run for run in unfinished if run["kind"] == "train"), None)
    if training is not None:
        st.warning(
            f"A training was {training['state']} at {training['done']} of {training['total']}"
            f" {training['unit']}. {training['message']} The same command continues it."
        )
    elements.stop_without_result("No classifier has been evaluated yet.", "evaluate")


def _render_view_controls(study: StudyContext) -> tuple[PerformanceView, int]:
    """Render the controls; return the view and the number of openings of the test split.

    Run, split, level and the switch of the 2021 formula are all in the address.
    """
    evaluations = {run.run: run for run in study.runs}
    title_column, run_column, split_column, level_column, formula_column = st.columns(
        [1.6, 3.2, 2, 2.4, 2.4], vertical_alignment="center"
    )
    with title_column:
        elements.page_heading("Performance", simulated={"images": study.simulated})
    titles = {run: run_title(evaluations[run]) for run in reversed(list(evaluations))}
    run = select_choice(run_column, "Run", titles, key="run")
    splits = {split: _split_title(split) for split in ("holdout", "test")}
    split = segment_choice(split_column, "Split", splits, default="holdout", key="split")
    levels = {level: level.capitalize() for level in LEVELS}
    level = segment_choice(level_column, "Level", levels, default="patch", key="level")
    with_2021_formula = formula_column.toggle(
        "DeepMiner 2021 formula", key="formula", bind="query-params"
    )
    # Logged before the results are loaded: there is no access without its record.
    openings = _log_opening(run, split, study.opened)
    view = PerformanceView(
        run=run,
        split=split,
        level=level,
        with_2021_formula=with_2021_formula,
        evaluations=evaluations,
        classes=cached_result(lineage.run_classes, run),
        summary=performance_cache.load_summary(context.served_study(), run, split, level),
        simulated=study.simulated,
    )
    return view, openings


def _log_opening(run: str, split: str, openings: int) -> int:
    """Log an opening of the test split, once per visit and run; return the number of openings."""
    if split != "test" or st.session_state.get(_OPENED_STATE) == run:
        return openings
    st.session_state[_OPENED_STATE] = run
    with store.write(context.served_study()) as con:
        run_table.append_log(con, identity.current_identity().code, "test split opened", run)
    return openings + 1


def _operating_point(view: PerformanceView) -> tuple[float, float] | None:
    """Return (1 - specificity, sensitivity) at the threshold fixed on hold-out."""
    point = view.summary.point
    if point is None:
        return None
    sensitivity, specificity = point.table.sensitivity, point.table.specificity
    if specificity.estimate is None or sensitivity.estimate is None:
        return None
    return 1 - specificity.estimate, sensitivity.estimate


def _render_roc(view: PerformanceView, openings: int) -> None:
    """Render the ROC curves and what they are based on."""
    point = _operating_point(view)
    st.plotly_chart(
        charts.roc_figure(view.summary.results, view.positive, point),
        config=PLOT_CONFIG,
        alt=f"ROC curves of every class with the band of {view.positive}",
    )
    note = (
        f"One class against the rest. {_split_title(view.split)}, {view.summary.n:,} {view.noun} of"
        f" {view.summary.patients} patients. Band: 95 % pointwise for {view.positive}, patients"
        " resampled."
    )
    if point is not None:
        note += (
            f" Threshold fixed on hold-out: sensitivity {decimal(point[1], 2)}, specificity"
            f" {decimal(1 - point[0], 2)}."
        )
    if view.split == "test":
        note += f" The test split has been opened {count_text(openings, 'time')}."
    else:
        note += " Each opening of the test split is logged."
    st.caption(note)


def _render_tabs(view: PerformanceView) -> None:
    tabs = st.tabs(list(PERFORMANCE_TABS), key="tab", on_change="rerun", bind="query-params")
    for tab, render in zip(tabs, PERFORMANCE_TABS.values()):
        # Streamlit would run the content of all tabs; only the open one is needed.
        if tab.open:
            with tab:
                render(view)


identity.require_role("team")
theme.apply_team_style()
_study = cached_result(architectures.load_study_context)
if not _study.runs:
    _stop_without_runs()
_view, _openings = _render_view_controls(_study)
elements.image_level_note()
if not _view.summary.n:
    st.info(
        f"The {SPLIT_NAMES[_view.split]} split has no {_view.noun} with a"
        " known truth; choose another split."
    )
    st.stop()
_roc_column, _tab_column = st.columns([5, 7], gap="medium")
with _roc_column:
    _render_roc(_view, _openings)
with _tab_column:
    _render_tabs(_view)
