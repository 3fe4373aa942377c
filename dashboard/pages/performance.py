"""Performance: AUC and partial AUC with patient-clustered intervals, decisions, calibration, subgroups, comparison of runs, failures."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core import runs as run_module
from core import store
from core.store import runs as run_table
from dashboard import charts, identity, load, parts, study
from evaluation import performance
from evaluation.results import decimal, interval_text, p_text
from evaluation.roc import AucInterval

identity.require("team")
parts.page()
evaluations = load.ask(run_table.runs, "evaluate")
if not len(evaluations):
    parts.heading("Performance")
    broken = [b for b in run_module.unfinished(study.current()) if b["kind"] == "train"]
    if broken:
        st.warning(
            f"A training was {broken[0]['state']} at {broken[0]['done']} of {broken[0]['total']} {broken[0]['unit']}. {broken[0]['message']} The same command continues it."
        )
    trained = len(load.ask(run_table.runs, "train"))
    parts.empty("No classifier has been evaluated yet.", "deepminer evaluate" if trained else "deepminer train")
NAMES = {"holdout": "Hold-out", "test": "Test"}
trains = {row["run"]: row for row in load.ask(run_table.runs, "train").to_dict("records")}


def title(run: str) -> str:
    """A run with its architecture."""
    parent = next(p for p in evaluations.set_index("run").loc[run, "parents"] if p.startswith("train-"))
    return f"{parent}, {trains[parent]['manifest']['architecture']}"


def controls() -> tuple[str, str, str, bool]:
    """Run, split, level and the formula switch, all in the address."""
    opened = len(load.ask(run_table.events, "test split opened"))
    names = list(evaluations["run"])[::-1]
    a, b, c, d = st.columns([3, 3, 3, 3], vertical_alignment="bottom")
    run = a.selectbox("Run", names, format_func=title, key="run", bind="query-params")
    split = b.segmented_control(
        "Split",
        ["holdout", "test"],
        default="holdout",
        required=True,
        key="split",
        bind="query-params",
        format_func=NAMES.get,
        help=f"The test split was opened {opened} times so far; every look is logged." if opened else "Looking at the test split is logged.",
    )
    level = c.segmented_control(
        "Level", list(performance.LEVELS), default="patch", required=True, key="level", bind="query-params", format_func=str.capitalize
    )
    published = d.toggle("DeepMiner 2021 formula", key="formula", bind="query-params")
    return run, split or "holdout", level or "patch", published


def count_opening(run: str, split: str) -> None:
    """Opening the test split is logged, once per visit and run."""
    if split == "test" and st.session_state.get("opened") != run:
        st.session_state["opened"] = run
        with store.write(study.current()) as con:
            run_table.log(con, identity.current().code, "test split opened", run)


def class_table(results: list[performance.ClassResult], published: bool) -> None:
    """One class against the rest."""
    rows = []
    for r in results[::-1]:
        row = {
            "Class": parts.class_mark(r.name),
            "AUC": f"<b>{decimal(r.auc.estimate)}</b>",
            "95 % CI": parts.text(interval_text(r.auc.low, r.auc.high, 0.95, r.auc.reason).removeprefix("95 % CI ")),
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
    parts.table(pd.DataFrame(rows))
    note = "pAUC over sensitivity .8 to 1: largest .2, chance .02."
    st.caption(note + (" The DeepMiner 2021 formula is .2 x the area right of the first point at sensitivity .8: chance .036." if published else ""))


def download(results: list[performance.ClassResult], run: str, split: str, level: str) -> None:
    """The table as CSV with what it rests on."""
    frame = pd.DataFrame(
        [
            {
                "run": run,
                "split": split,
                "level": level,
                "class": r.name,
                "auc": r.auc.estimate,
                "low": r.auc.low,
                "high": r.auc.high,
                "method": r.auc.method,
                "pauc": r.partial.raw,
                "pauc_fraction": r.partial.fraction,
                "pauc_mcclish": r.partial.mcclish,
                "specificity_at_80": r.specificity.interpolated,
            }
            for r in results
        ]
    )
    st.download_button("Download table", frame.to_csv(index=False), f"performance-{split}-{level}.csv", "text/csv")


def calibration_plot() -> None:
    """Calibration of the malignant probability on patches."""
    found = load.compute(performance.malignant_calibration, run, split)
    bins = [b for b in found.bins if b.predicted is not None and b.observed.estimate is not None]
    parts.section("Calibration", f"malignant, patches; ECE {decimal(found.ece)}")
    st.plotly_chart(
        charts.calibration(
            [b.predicted for b in bins], [b.observed.estimate for b in bins], [b.observed.low for b in bins], [b.observed.high for b in bins]
        ),
        config={"displayModeBar": False},
    )


def comparison() -> None:
    """This run against another, paired on the same observations."""
    others = [r for r in evaluations["run"] if r != run]
    if not others:
        st.caption("One run only. Train another architecture to compare: deepminer train --arch resnet18, then deepminer evaluate.")
        return
    rows = []
    for other in others:
        found = load.compute(performance.compare_runs, run, other, split, level)
        rows.append(
            {
                "This run minus": parts.text(title(other)),
                "AUC, malignant": decimal(found.difference),
                "95 % CI": f"{decimal(found.low)} to {decimal(found.high)}",
                "p": p_text(found.p_value),
            }
        )
    parts.table(pd.DataFrame(rows))


def history_tab() -> None:
    """Loss and accuracy over the epochs of this run's training."""
    parent = next(p for p in evaluations.set_index("run").loc[run, "parents"] if p.startswith("train-"))
    curve = load.ask(run_table.history, parent)
    a, b = st.columns(2)
    a.plotly_chart(charts.history(curve, "loss"), config={"displayModeBar": False})
    b.plotly_chart(charts.history(curve, "accuracy"), config={"displayModeBar": False})


def subgroup_tab() -> None:
    """Malignant AUC by density, view and scanner, with a test of difference."""
    groups = load.compute(performance.subgroups, run, split)
    if not groups:
        st.caption("No subgroup has five images of either class in this split.")
        return
    st.plotly_chart(
        charts.forest(groups, results_by_name.get("malignant").auc.estimate if level == "image" else None), config={"displayModeBar": False}
    )
    for found in performance.interactions(groups):
        st.caption(f"Do the AUCs differ? {found.sentence()}. Patients resampled; variables not adjusted for one another.")


def failure_tab() -> None:
    """The worst errors, one click from their explanation."""
    frame = load.compute(performance.failures, run, split)
    picked = st.dataframe(
        frame.rename(columns={"kind": "Failure", "mammogram_id": "Mammogram", "patient_id": "Patient", "s_malignant": "Malignant score"}),
        hide_index=True,
        height=230,
        on_select="rerun",
        selection_mode="single-row",
        key="failures",
    )
    if picked.selection.rows and st.button("Open its explanation", type="primary"):
        st.switch_page("pages/explanations.py", query_params={"film": frame["mammogram_id"].iloc[picked.selection.rows[0]]})


def architecture_tab() -> None:
    """Every run in the form of SPIE 2018, Table 1, with the published values beside."""
    found = load.compute(performance.architectures, split, level)
    rows = []
    for r in found:
        row = {"Network": parts.text(f"{r.architecture}, {r.weights}, {r.epochs} epochs") + ("" if r.run != run else " <b>(shown)</b>")}
        for name in ("malignant", "benign", "normal"):
            auc = r.auc.get(name)
            row[f"AUC {name}"] = "–" if auc is None else f"<b>{decimal(auc.estimate)}</b> {parts.text(_bounds(auc))}"
        row["n / patients"] = f"{r.n:,} / {r.patients}"
        row["Published"] = parts.text("; ".join(f"{name} {decimal(value, 4)}" for name, value in r.published.items()) or "–")
        rows.append(row)
    parts.table(pd.DataFrame(rows))
    reference = "; ".join(
        f"{name} {decimal(values.get('malignant (two classes)', values['malignant']), 4)}"
        for name, (values, _) in performance.PUBLISHED_ARCHITECTURES.items()
    )
    st.caption(
        f"Published malignant AUC, SPIE 2018, Table 1 (DDSM, validation patches, two classes): {reference}. Other data: to be read beside, not compared."
    )


def _bounds(auc: AucInterval) -> str:
    return f"({decimal(auc.low)} to {decimal(auc.high)})" if auc.low is not None else f"({auc.reason})"


parts.weak_label_note()
run, split, level, published = controls()
count_opening(run, split)
results = load.compute(performance.class_results, run, split, level)
results_by_name = {r.name: r for r in results}
seen = load.compute(performance.observations, run, split, level)
point = load.compute(performance.malignant_operating_point, run, split, level)
left, right = st.columns([5, 7], gap="medium")
with left:
    at = (
        None
        if point is None or point.table.specificity.estimate is None
        else (1 - point.table.specificity.estimate, point.table.sensitivity.estimate)
    )
    st.plotly_chart(charts.roc(results, at), config={"displayModeBar": False})
    unit = {"patch": "patches", "image": "images", "case": "cases"}[level]
    st.caption(
        f"{NAMES[split]}, {len(seen.truth):,} {unit} of {seen.patients} patients. Band: 95 % pointwise for malignant, patient bootstrap, 500 draws."
        + ("" if at is None else f" Threshold fixed on hold-out: sensitivity {decimal(at[1], 2)}, specificity {decimal(1 - at[0], 2)}.")
        + (f" The test split was opened {len(load.ask(run_table.events, 'test split opened'))} times." if split == "test" else "")
    )
with right:
    parts.section("One class against the rest", "95 % CI clustered by patient (Obuchowski)")
    class_table(results, published)
    first, second = st.columns(2, gap="small")
    with first:
        table = load.compute(performance.confusion, run, split, level)
        parts.section("Confusion", "share of true class" + ("" if level == "patch" else "; threshold fixed on hold-out"))
        st.plotly_chart(charts.confusion(table.to_numpy(), list(table.columns)), config={"displayModeBar": False})
    with second:
        calibration_plot()
    names = {
        "Architectures": architecture_tab,
        "Paired comparison": comparison,
        "Training history": history_tab,
        "Subgroups": subgroup_tab,
        "Failures": failure_tab,
        "Download": lambda: download(results, run, split, level),
    }
    # Only the open tab is computed.
    for tab, show in zip(st.tabs(list(names), key="tab", on_change="rerun", bind="query-params"), names.values()):
        with tab:
            if tab.open:
                show()
if st.session_state.get("prepared") != run:
    st.session_state["prepared"] = run
    performance.prepare(study.current(), run, tuple(r for r in evaluations["run"] if r != run))
