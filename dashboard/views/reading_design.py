"""Stage 1: choose what is read, see live what it can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import store
from core.errors import UserError
from core.store import annotation_table
from dashboard.server import context, identity
from dashboard.ui import cached_queries, elements
from dashboard.views import flash_messages
from evaluation.intervals import decimal, percent
from evaluation.queries.explanations import dissect_of
from evaluation.reading_study import (
    PRESETS,
    Design,
    Flow,
    choose_cases,
    planned_power,
    preset,
    shown_texts,
    workflow,
)
from evaluation.reading_study.narrative import SIDES

ARM_NAMES = {
    "explanation": "Explanation text",
    "shuffled": "Shuffled explanation",
    "random_units": "Text of random units",
    "class_map": "Class map",
    "image": "Image",
    "image_explanation": "Image and explanation text",
}

PRIMARY_NAMES = {
    "gee": "GEE, clustered by patient",
    "sign_flip": "patient sign-flip",
    "exact_binomial": "exact binomial test",
}
DISCREPANT = {"out": "left out", "in": "kept"}
IMAGES = {"one": 1, "all": None}
DEPTHS = {"8": 8, "20": 20, "all": None}

RULE_NAMES = {
    "folder": "folder of the source",
    "first_abnormality": "first abnormality",
    "any_malignant": "any malignant",
}


def _rules(path: Path) -> list[str]:
    """Truth rules that this study's data know; by folder only where the source files patients under
    a diagnosis.
    """
    with store.read(path) as con:
        truth = workflow.truth_rules(con)
    return [rule for rule in RULE_NAMES if rule != "folder" or truth["folder"].notna().any()]


def _labels(path: Path, explain: str, design: Design) -> int:
    """How many different labels the units carry, in the words that the design would show."""
    dissect = dissect_of(path, explain)
    with store.read(path) as con:
        texts = [label.text for label in annotation_table.labels(con, dissect).values()]
    return len({shown for text in texts for shown in shown_texts([0], {0: text}, design)})


def _chosen() -> tuple[str, Design] | None:
    """The form's design; its sentence instead where a value does not fit."""
    a, b, c, d = st.columns([2, 2, 1, 1])
    start = a.selectbox(
        "Preset",
        list(PRESETS),
        key="preset",
        help=(
            "Recommended: one image per patient, verdict words taken out, six-point answer."
            " DeepMiner 2021: as published."
        ),
    )
    base = preset(start)
    name = b.text_input("Name of the study", value="Reading study", key="protocol", max_chars=80)
    readers = c.number_input("Readers", 1, 50, base.readers)
    seed = d.number_input("Seed", 0, 9999, base.seed)
    e, f, g, h = st.columns([2, 1, 1, 2])
    arms = e.multiselect(
        "Arms",
        list(ARM_NAMES),
        [x for x in base.arms if x in ARM_NAMES],
        format_func=lambda arm: ARM_NAMES[arm],
    )
    split = f.selectbox("Split", ["test", "holdout"], index=0)
    cases = g.number_input(
        "Cases per class", 0, 5000, base.cases_per_class or 0, help="0: as many as there are"
    )
    known = cached_queries.compute(_rules)
    preferred = base.truth_rule if base.truth_rule in known else "any_malignant"
    lacking = (
        None
        if preferred == base.truth_rule
        else f"The preset's rule, {RULE_NAMES[base.truth_rule]}, is not known of this study's data."
    )
    rule = h.selectbox(
        "Truth rule",
        known,
        index=known.index(preferred),
        format_func=RULE_NAMES.__getitem__,
        help=lacking,
    )
    i, j, k, m, n = st.columns([2, 2, 1, 2, 2])
    scale = i.selectbox(
        "Answer",
        [6, 2],
        index=[6, 2].index(base.scale),
        format_func=lambda n: "six points" if n == 6 else "benign or malignant",
    )
    influence = j.selectbox(
        "Texts for the class",
        ["predicted", "malignant"],
        index=["predicted", "malignant"].index(base.influence_class),
    )
    repeats = k.number_input("Hidden repeats", 0, 50, base.repeats)
    words = m.toggle(
        "Keep verdict words",
        base.association_words,
        help="Words such as suspicious repeat the annotator's verdict",
    )
    told = n.toggle(
        "Tell prevalence",
        base.prevalence_told,
        help="Readers are told the share of malignant cases before they start",
    )
    try:
        design = preset(
            start,
            **_analysis(base),
            name=name,
            readers=int(readers),
            seed=int(seed),
            arms=tuple(arms),
            split=split,
            cases_per_class=int(cases) or None,
            truth_rule=rule,
            scale=scale,
            influence_class=influence,
            repeats=int(repeats),
            association_words=words,
            prevalence_told=told,
        )
    except UserError as error:
        st.error(str(error))
        return None
    return name, design


def _analysis(base: Design) -> dict[str, Any]:
    """How the study will be analysed, which cases are left out, when it ends; the preset's choices
    at first.
    """
    with st.expander("Analysis, exclusions and stopping rule"):
        a, b, c, d = st.columns([3, 2, 1, 2])
        primary = a.selectbox(
            "Primary analysis",
            list(PRIMARY_NAMES),
            list(PRIMARY_NAMES).index(base.primary),
            format_func=PRIMARY_NAMES.__getitem__,
        )
        side = b.selectbox(
            "Side", list(SIDES), list(SIDES).index(base.side), format_func=SIDES.__getitem__
        )
        alpha = c.number_input("Alpha", 0.001, 0.2, base.alpha, 0.005, format="%.3f")
        expected = d.number_input(
            "Expected share right",
            0.501,
            0.999,
            base.expected_share,
            0.01,
            format="%.3f",
            help="for the power; published .55",
        )
        e, f, g, h = st.columns([3, 2, 1, 2])
        discrepant = e.selectbox(
            "Cases whose truth rules differ",
            list(DISCREPANT),
            list(DISCREPANT).index(base.discrepant),
            format_func=DISCREPANT.__getitem__,
        )
        images = f.selectbox(
            "Images of a patient",
            list(IMAGES),
            list(IMAGES.values()).index(base.images_per_patient),
        )
        effect = g.number_input(
            "Design effect",
            1.0,
            20.0,
            base.design_effect,
            0.05,
            help="for the power: 1 where a patient has one image and one reader",
        )
        depth = h.selectbox(
            "Units looked through for texts", list(DEPTHS), list(DEPTHS.values()).index(base.depth)
        )
        hypothesis = st.text_input("Hypothesis", base.hypothesis, max_chars=300)
        stopping = st.text_input("Stopping rule", base.stopping, max_chars=300)
        merge = st.toggle("Show a label once where several units carry it", base.merge_duplicates)
    return {
        "primary": primary,
        "side": side,
        "alpha": alpha,
        "expected_share": expected,
        "discrepant": discrepant,
        "images_per_patient": IMAGES[images],
        "design_effect": effect,
        "depth": DEPTHS[depth],
        "hypothesis": hypothesis,
        "stopping": stopping,
        "merge_duplicates": merge,
    }


def _preview(path: Path, explain: str, design: Design) -> tuple[pd.DataFrame, Flow]:
    """Cases this design would choose now, and the flow to them."""
    return choose_cases(workflow.candidates(path, explain, design), design)


def show(explain: str) -> None:
    """The form, and beside it what the design would give."""
    made = _chosen()
    if made is None:
        return
    name, design = made
    try:
        cases, flow = cached_queries.compute(_preview, explain, design)
    except UserError as error:
        st.error(str(error))
        return
    main = cases[cases["arm"] == design.arms[0]]
    power, needed = planned_power(design, len(main))
    labels = {text for texts in main["texts"] for text in texts}
    cells = [
        ("Cases", f"{len(main)}"),
        ("Patients", f"{main['patient_id'].nunique()}"),
        ("Distinct texts", f"{main['texts'].map(tuple).nunique()}"),
        ("Labels shown", f"{len(labels)} of {cached_queries.compute(_labels, explain, design)}"),
        (f"Power at {percent(design.expected_share, 0)} right", decimal(power.power)),
        ("Needed for power .8", f"{needed.stable_n}"),
    ]
    elements.cells(cells)
    st.caption(
        flow.sentence()
        + f" Power is of the exact one-sided test with one reader, alpha {design.alpha:g}."
    )
    with st.expander("First ten texts (what a reader will see)"):
        st.dataframe(
            pd.DataFrame({"Texts": [" | ".join(texts) for texts in main["texts"].head(10)]}),
            hide_index=True,
        )
    st.button("Save this design", type="primary", on_click=_save, args=(name, design, explain))


def _save(name: str, design: Design, explain: str) -> None:
    """Save, choose what was saved, and leave the message for the run that follows."""
    try:
        designed = workflow.create(
            context.current(), name, design, identity.current().code, explain=explain
        )
    except UserError as error:
        flash_messages.leave(str(error), bad=True)
        return
    st.session_state["study"] = flash_messages.name_of(designed)
    flash_messages.leave(f"Saved as {flash_messages.name_of(designed)}. Next: lint.")
