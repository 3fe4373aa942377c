"""Performance:

AUC and partial AUC with patient-clustered intervals, decisions, calibration, subgroups, comparison
of runs, failures.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from core import runs, store
from core.store import run_table
from dashboard.server import context, identity
from dashboard.ui import cached_queries, charts, elements
from evaluation.intervals import Interval, bounds_text, decimal, p_text
from evaluation.queries import performance, performance_cache
from evaluation.roc import AucInterval

identity.require("team")
elements.page()
around = cached_queries.compute(performance.background)
if not around.runs:
    elements.heading("Performance")
    broken = [b for b in runs.unfinished(context.current()) if b["kind"] == "train"]
    if broken:
        st.warning(
            f"A training was {broken[0]['state']} at {broken[0]['done']} of {broken[0]['total']}"
            f" {broken[0]['unit']}. {broken[0]['message']} The same command continues it."
        )
    elements.empty(
        "No classifier has been evaluated yet.",
        "deepminer evaluate" if around.trained else "deepminer train",
    )
NAMES = {"holdout": "Hold-out", "test": "Test"}
UNITS = {"patch": "patches", "image": "images", "case": "cases"}
PLAIN = {"displayModeBar": False}
evaluations = {r.run: r for r in around.runs}


def title(run: str) -> str:
    """A run with its architecture."""
    return f"{evaluations[run].architecture}, {evaluations[run].train}"


def controls() -> tuple[str, str, str, bool]:
    """Run, split, level and the formula switch, all in the address."""
    a, b, c, d = st.columns([3.4, 2, 2.4, 2.6], vertical_alignment="center")
    run = a.selectbox(
        "Run",
        list(evaluations)[::-1],
        format_func=title,
        label_visibility="collapsed",
        key="run",
        bind="query-params",
    )
    split = b.segmented_control(
        "Split",
        list(NAMES),
        default="holdout",
        required=True,
        label_visibility="collapsed",
        key="split",
        bind="query-params",
        format_func=NAMES.__getitem__,
    )
    level = c.segmented_control(
        "Level", list(performance.LEVELS), default="patch", required=True, label_visibility="collapsed", key="level", bind="query-params",
        format_func=str.capitalize,
    )  # fmt: skip
    published = d.toggle("DeepMiner 2021 formula", key="formula", bind="query-params")
    return run, split or "holdout", level or "patch", published


def count_opening(run: str, split: str) -> int:
    """Opening the test split is logged, once per visit and run. Returns how often it was opened."""
    if split != "test" or st.session_state.get("opened") == run:
        return around.opened
    st.session_state["opened"] = run
    with store.write(context.current()) as con:
        run_table.log(con, identity.current().code, "test split opened", run)
    return around.opened + 1


def class_table() -> None:
    """One class against the rest."""
    rows = []
    for r in found.results[::-1]:
        row = {
            "Class": elements.class_mark(r.name),
            "AUC": f"<b>{decimal(r.auc.estimate)}</b>",
            "95 % CI": elements.text(bounds_text(r.auc.low, r.auc.high, r.auc.reason)),
            "pAUC raw": decimal(r.partial.raw),
            "/ 0.2": decimal(r.partial.fraction),
            "McClish": decimal(r.partial.mcclish),
            "Spec. at .8": decimal(r.specificity.interpolated, 2),
        }
        if published:
            row["2021 formula"] = decimal(r.partial.deepminer_2021)
        if level == "patch":
            row["Published AUC"] = decimal(performance.PUBLISHED_AUC[r.name])
        rows.append(row)
    elements.table(pd.DataFrame(rows))


def download() -> None:
    """The table as CSV with what it rests on."""
    rows = [
        {"run": run, "split": split, "level": level} | r.row() | {"simulated": around.simulated}
        for r in found.results
    ]
    st.download_button(
        "Download",
        pd.DataFrame(rows).to_csv(index=False),
        f"performance-{split}-{level}.csv",
        "text/csv",
        type="tertiary",
    )


def classes_tab() -> None:
    """Areas per class, confusion, calibration in short."""
    class_table()
    a, b = st.columns([6, 1.3], vertical_alignment="top")
    note = (
        "CI clustered by patient (Obuchowski). pAUC over sensitivity .8 to 1: largest .2, chance"
        " .02."
    )
    if level == "patch":
        note += " Published AUC: HDSR 2021, DDSM, test patches."
    a.caption(
        note
        + (
            " The DeepMiner 2021 formula is .2 x the area right of the first point at sensitivity"
            " .8: chance .036."
            if published
            else ""
        )
    )
    with b:
        download()
    first, second = st.columns(2, gap="small")
    with first:
        elements.section(
            "Confusion",
            "share of true class; "
            + ("largest probability" if level == "patch" else "threshold fixed on hold-out"),
        )
        st.plotly_chart(
            charts.confusion(np.array(found.counts), found.names),
            config=PLAIN,
            alt="confusion of true and predicted classes",
        )
    with second:
        elements.section(
            "Calibration",
            (
                f"malignant, {UNITS[level]}; ECE {decimal(found.calibrations['malignant'].ece)}"
                if found.calibrations
                else ""
            ),
        )
        st.plotly_chart(
            charts.calibration(
                {k: v for k, v in found.calibrations.items() if k == "malignant"}, 190
            ),
            config=PLAIN,
            alt="calibration of malignant",
        )


def calibration_tab() -> None:
    """Calibration of every class at the chosen level, with intervals."""
    rows = []
    for name, c in reversed(found.calibrations.items()):
        slope, large = c.slope_interval(), c.in_the_large_interval()
        rows.append(
            {
                "Class": elements.class_mark(name),
                "Slope (95 % CI)": (
                    f"<b>{decimal(slope.estimate, 2)}</b>"
                    f" {elements.text(_range(slope.low, slope.high, slope.reason))}"
                ),
                "Intercept": decimal(c.intercept, 2),
                "In the large (95 % CI)": (
                    f"{decimal(large.estimate, 2)}"
                    f" {elements.text(_range(large.low, large.high, large.reason))}"
                ),
                "Observed / expected": decimal(c.observed_expected, 2),
                "Brier": decimal(c.brier),
                "ECE": decimal(c.ece),
            }
        )
    elements.table(pd.DataFrame(rows))
    st.plotly_chart(
        charts.calibration(found.calibrations, 300),
        config=PLAIN,
        alt="observed share against predicted probability, per class",
    )
    score = {
        "patch": "The network's probability of each patch.",
        "image": (
            "The film's score (largest probability over its tissue), read as a probability; it is"
            " none, so its slope need not be 1."
        ),
        "case": (
            "The patient's score (largest over its films), read as a probability; it is none, so"
            " its slope need not be 1."
        ),
    }[level]
    st.caption(
        f"{score} Ideal: slope 1, intercept 0, in the large 0. Intervals clustered by patient:"
        " sandwich (slope, in the large), Korn and Graubard (points). ECE over ten bins of equal"
        " width."
    )


def _range(low: float | None, high: float | None, reason: str | None) -> str:
    return (
        f"({reason})"
        if low is None or high is None
        else f"({decimal(low, 2)} to {decimal(high, 2)})"
    )


def threshold_tab() -> None:
    """Operating points of malignant at thresholds fixed on hold-out."""
    if not found.points:
        st.caption("Hold-out has one class only: no threshold can be fixed on it.")
        return
    rows = []
    for rule, p in found.points.items():
        t = p.table
        shares = {
            "Sensitivity": t.sensitivity,
            "Specificity": t.specificity,
            "PPV": t.ppv,
            "NPV": t.npv,
            "LR+": t.lr_positive,
            "LR-": t.lr_negative,
        }
        cells = {
            name: f"<b>{decimal(i.estimate, 2)}</b><br>{_narrow(i)}" for name, i in shares.items()
        }
        rows.append(
            {
                "Fixed on hold-out at": f"{elements.text(rule)}<br>score ≥ {p.threshold:.4g}",
                **cells,
                "TP / FN / FP / TN": f"{t.tp:,} / {t.fn:,} / {t.fp:,} / {t.tn:,}",
            }
        )
    elements.table(pd.DataFrame(rows))
    st.caption(
        f"Malignant against the rest, {UNITS[level]}, {NAMES[split].lower()}. Beneath: 95 % CI;"
        " sensitivity and specificity clustered by patient (Korn and Graubard), the others take"
        f" {UNITS[level]} as independent. PPV and NPV hold for this split's share of malignant"
        f" {UNITS[level]} only."
    )


def _narrow(interval: Interval) -> str:
    """An interval on one line of a narrow column, or why there is none."""
    if interval.low is None or interval.high is None:
        return f'<span class="dm-mute">{elements.text(interval.reason or "–")}</span>'
    return (
        "<span"
        f' style="white-space:nowrap;font-size:12px">{decimal(interval.low, 2)}–{decimal(interval.high, 2)}</span>'
    )


def comparison_tab() -> None:
    """This run against every other, paired on the same observations."""
    rows = []
    for other in reversed([r for r in evaluations if r != run]):
        try:
            d = performance_cache.comparison(context.current(), run, other, split, level)
        except ValueError as error:
            rows.append(
                {
                    "This run minus": elements.text(title(other)),
                    "AUC, malignant": "–",
                    "95 % CI": elements.text(error),
                    "P, two-sided": "–",
                }
            )
            continue
        bounds = (
            f"{decimal(d.low)} to {decimal(d.high)}"
            if d.low is not None
            else elements.text(d.reason)
        )
        rows.append({"This run minus": elements.text(title(other)), "AUC, malignant": f"<b>{decimal(d.difference)}</b>", "95 % CI": bounds,
                     "P, two-sided": elements.text(p_text(d.p_value).removeprefix("P ").removeprefix("= "))})  # fmt: skip
    if not rows:
        st.caption(
            "One run only. Train another architecture to compare: deepminer train --arch resnet18,"
            " then deepminer evaluate."
        )
        return
    elements.table(pd.DataFrame(rows))
    st.caption(
        f"Malignant AUC on the same {UNITS[level]}, {NAMES[split].lower()}; Obuchowski's paired"
        " test, clustered by patient. Not adjusted for several comparisons."
    )


def history_tab() -> None:
    """Loss, accuracy and, where training measured it, the AUC over the epochs of this run's
    training.
    """
    curve = cached_queries.ask(run_table.history, evaluations[run].train)
    a, b = st.columns(2)
    a.plotly_chart(charts.history(curve, "loss"), config=PLAIN, alt="loss over epochs")
    b.plotly_chart(charts.history(curve, "accuracy"), config=PLAIN, alt="accuracy over epochs")
    if curve["auc_malignant"].notna().any():
        c, _ = st.columns(2)
        known = curve[curve["auc_malignant"].notna()]
        c.plotly_chart(
            charts.history(known, "auc_malignant", "AUC, malignant"),
            config=PLAIN,
            alt="AUC of malignant over epochs",
        )


def subgroup_tab() -> None:
    """Malignant AUC by density, view, scanner, lesion type and subtlety, with a test of difference."""
    groups = performance_cache.groups(context.current(), run, split)
    if not groups.subgroups:
        st.caption("No subgroup has five images of either class in this split.")
        return
    overall = (
        next((r.auc.estimate for r in found.results if r.name == "malignant"), None)
        if level == "image"
        else None
    )
    st.plotly_chart(
        charts.forest(groups.subgroups, overall), config=PLAIN, alt="malignant AUC by subgroup"
    )
    tests = " ".join(f"{test.sentence()}." for test in groups.interactions)
    asked = (
        f" Do the AUCs differ? {tests} Patients resampled; not adjusted for one another."
        if tests
        else ""
    )
    st.caption(
        "Image level, whatever level is chosen above; images and patients in brackets. Intervals"
        f" clustered by patient.{asked}"
    )


def failure_tab() -> None:
    """The worst errors, one click from their explanation."""
    frame = performance.failures(context.current(), run, split)
    picked = st.dataframe(
        frame.rename(
            columns={
                "kind": "Failure",
                "mammogram_id": "Mammogram",
                "patient_id": "Patient",
                "s_malignant": "Malignant score",
            }
        ),
        hide_index=True,
        height=330,
        on_select="rerun",
        selection_mode="single-row",
        column_config={"Malignant score": st.column_config.NumberColumn(format="%.4f")},
        key="failures",
    )
    st.caption(
        "The 8 normal images with the highest and the 8 malignant ones with the lowest malignant"
        " score, the likeliest errors first; few images leave no better choice. Choose a row to"
        " open its explanation."
    )
    if picked.selection.rows and st.button("Open its explanation", type="primary"):
        st.switch_page(
            "pages/explanations.py",
            query_params={"film": frame["mammogram_id"].iloc[picked.selection.rows[0]]},
        )


def architecture_tab() -> None:
    """Every run in the form of SPIE 2018, Table 1, with the published values beside."""
    rows = []
    for r in performance.compared_architectures(
        context.current(), tuple(evaluations), split, level
    ):
        row = {
            "Network": (
                elements.text(f"{r.architecture}, {r.weights}, {r.epochs} epochs")
                + ("" if r.run != run else " <b>(shown)</b>")
            )
        }
        for name in ("malignant", "benign", "normal"):
            auc = r.auc.get(name)
            row[f"AUC {name}"] = (
                "–"
                if auc is None
                else f"<b>{decimal(auc.estimate)}</b> {elements.text(_bounds(auc))}"
            )
        row["n / patients"] = f"{r.n:,} / {r.patients}"
        row["Published"] = elements.text(
            "; ".join(f"{name} {decimal(value, 4)}" for name, value in r.published.items()) or "–"
        )
        rows.append(row)
    elements.table(pd.DataFrame(rows))
    reference = "; ".join(
        f"{name} {decimal(values.get('malignant (two classes)', values['malignant']), 4)}"
        for name, (values, _) in performance.PUBLISHED_ARCHITECTURES.items()
    )
    st.caption(
        "Published malignant AUC, SPIE 2018, Table 1 (DDSM, validation patches, two classes):"
        f" {reference}. Other data: to be read beside, not compared."
    )


def _bounds(auc: AucInterval) -> str:
    return (
        f"({decimal(auc.low)} to {decimal(auc.high)})" if auc.low is not None else f"({auc.reason})"
    )


elements.heading("Performance", "One class against the rest", around.simulated)
elements.weak_label_note()
run, split, level, published = controls()
opened = count_opening(run, split)
found = performance_cache.shown(context.current(), run, split, level)
if not found.n:
    st.info(
        f"The {NAMES[split].lower()} split has no {UNITS[level]} with a known truth; choose another"
        " split."
    )
    st.stop()
left, right = st.columns([5, 7], gap="medium")
with left:
    table = found.point.table if found.point is not None else None
    at = (
        None
        if table is None or table.specificity.estimate is None or table.sensitivity.estimate is None
        else (1 - table.specificity.estimate, table.sensitivity.estimate)
    )
    st.plotly_chart(
        charts.roc(found.results, at),
        config=PLAIN,
        alt="ROC curves of every class with malignant's band",
    )
    st.caption(
        f"{NAMES[split]}, {found.n:,} {UNITS[level]} of {found.patients} patients. Band: 95 %"
        " pointwise for malignant, patients resampled."
        + (
            ""
            if at is None
            else (
                f" Threshold fixed on hold-out: sensitivity {decimal(at[1], 2)}, specificity"
                f" {decimal(1 - at[0], 2)}."
            )
        )
        + (
            f" The test split was opened {opened} {'time' if opened == 1 else 'times'} so far."
            if split == "test"
            else " Looking at the test split is logged."
        )
    )
with right:
    names = {
        "Classes": classes_tab,
        "Calibration": calibration_tab,
        "Thresholds": threshold_tab,
        "Networks": architecture_tab,
        "Comparison": comparison_tab,
        "Training": history_tab,
        "Subgroups": subgroup_tab,
        "Failures": failure_tab,
    }
    # Only the open tab is drawn.
    for tab, show in zip(
        st.tabs(list(names), key="tab", on_change="rerun", bind="query-params"), names.values()
    ):
        with tab:
            if tab.open:
                show()
