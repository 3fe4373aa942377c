"""Stage "Design" of a reading study: the form, and what the design would give."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import lineage, store
from core.errors import UserError
from core.sessions.arms import ADVICE_ARMS, ARM_TITLES, SINGLE_ANSWER_ARMS
from core.settings import load_order_of_experts
from core.store import dataset_table, unit_table
from core.store.labels import label_sets
from dashboard.server import context, identity
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.views.advice.design_fields import advice_fields
from dashboard.views.flash_messages import flash, version_title
from dashboard.views.reading_planner import render_planner
from evaluation.intervals import decimal, percent
from evaluation.power import StudyPower, patients_needed
from evaluation.reading_study import (
    DESIGN_PRESETS,
    CaseFlow,
    Design,
    choose_cases,
    design_power,
    design_preset,
    explanation_texts,
    label_texts,
    workflow,
)
from evaluation.reading_study.design import NO_ADVICE, least_patients
from evaluation.reading_study.narrative import SIDE_NAMES

STUDY_CHOICE = "study"  # key of the select box of the page, which is also in its address
ARM_NAMES = {arm: f"{title[0].upper()}{title[1:]}" for arm, title in ARM_TITLES.items()}
PRIMARY_NAMES = {
    "auc": "AUC of ratings, clustered by patient",
    "auc_difference": "AUC difference of two arms",
    "advice_change": "AUC change from first to final answers",
    "gee": "proportion correct, GEE clustered by patient",
    "sign_flip": "proportion correct, patient sign-flip",
    "exact_binomial": "proportion correct, exact binomial test",
}
_GOAL_NAMES = {
    "superiority": "superiority",
    "noninferiority": "non-inferiority",
    "equivalence": "equivalence",
}
_MULTIPLICITY_NAMES = {
    "none": "first comparison alone",
    "holm": "all arms, Holm",
    "fixed_sequence": "all arms, fixed sequence",
}
_MISSING_NAMES = {"complete_case": "left out", "counted_wrong": "counted as wrong"}
_SPENDING_NAMES = {"obrien_fleming": "O'Brien-Fleming type", "pocock": "Pocock type"}
RULE_NAMES = {
    "folder": "folder of the source",
    "first_abnormality": "first abnormality",
    "any_malignant": "any malignant",
}
_DISCREPANT_NAMES = {"out": "left out", "in": "kept"}
_IMAGES_PER_PATIENT = {"one": 1, "all": None}
_CASE_UNIT_NAMES = {"image": "one image", "exam": "an exam: the CC and MLO films of one patient"}
_SINGLE_FILM_NAMES = {"ask": "are listed first", "in": "are read", "out": "are left out"}
_DEPTHS = {"8": 8, "20": 20, "all": None}
_SCALE_NAMES = {6: "six points", 2: "benign or malignant"}


def render_design_form(explain: str) -> None:
    """Render the form of a new design on an explain run, and what the design would give."""
    design = _render_form()
    if design is None:
        return
    try:
        cases, flow = cached_result(_preview_cases, explain, design)
    except UserError as error:
        st.error(str(error))
        return
    plan = _render_planned_cases(explain, design, cases, flow)
    # Above the details, where it is visible without scrolling.
    st.button("Save this design", type="primary", on_click=_save, args=(design, explain))
    if plan is not None:
        render_planner(plan)
    _render_example_texts(design, cases)


def _save(design: Design, explain: str) -> None:
    """Save the design as a new version and select it."""
    user = identity.current_identity().code
    try:
        designed = workflow.create_protocol(
            context.served_study(), design.name, design, user, explain=explain
        )
    except UserError as error:
        flash(str(error), error=True)
        return
    # A widget's state can be set only before the widget is drawn, hence in a callback.
    st.session_state[STUDY_CHOICE] = version_title(designed)
    flash(f"Saved as {version_title(designed)}. Next: leakage check.")


def _render_form() -> Design | None:
    """Render the form; return its design, or write why its values do not fit together."""
    preset, base, study_values = _study_fields()
    values = {**study_values, **_case_fields(base), **_answer_fields(base)}
    # Two answers give no ratings, and the preset then has another primary analysis.
    base = design_preset(preset, scale=values["scale"])
    try:
        values |= advice_fields(base)
        return design_preset(preset, **values, **_analysis_fields(base))
    except UserError as error:
        st.error(str(error))
        return None


def _study_fields() -> tuple[str, Design, dict[str, Any]]:
    """Render preset, name, readers and seed; return the preset, its design and the values."""
    preset_column, name_column, reader_column, seed_column = st.columns([2, 2, 1, 1])
    preset = preset_column.selectbox(
        "Preset",
        list(DESIGN_PRESETS),
        key="preset",
        help=(
            "Recommended: one image per patient, verdict words removed, six-point answer."
            " DeepMiner 2021: as published."
        ),
    )
    base = design_preset(preset)
    values = {
        "name": name_column.text_input(
            "Name of the study", value="Reading study", key="protocol", max_chars=80
        ),
        "readers": int(reader_column.number_input("Readers", 1, 50, base.readers)),
        "seed": int(seed_column.number_input("Seed", 0, 9999, base.seed)),
    }
    return preset, base, values


def _case_fields(base: Design) -> dict[str, Any]:
    """Render arms, split, number of cases and truth rule."""
    arm_column, split_column, number_column, rule_column = st.columns([2, 1, 1, 2])
    offered = SINGLE_ANSWER_ARMS if base.advice == NO_ADVICE else ADVICE_ARMS
    arms = arm_column.multiselect(
        "Arms",
        offered,
        list(base.arms),
        format_func=ARM_NAMES.__getitem__,
    )
    split = split_column.selectbox("Split", ["test", "holdout"], index=0)
    number = number_column.number_input(
        "Cases per class", 0, 5000, base.cases_per_class or 0, help="0: all eligible cases"
    )
    return {
        "arms": tuple(arms),
        "split": split,
        "cases_per_class": int(number) or None,
        "truth_rule": _truth_rule_field(rule_column, base),
    }


def _truth_rule_field(column: Any, base: Design) -> str:
    rules = cached_result(_available_rules)
    is_available = base.truth_rule in rules
    preferred = base.truth_rule if is_available else "any_malignant"
    hint = (
        None
        if is_available
        else (
            f"The preset's rule, {RULE_NAMES[base.truth_rule]}, is not known for the data of this"
            " study."
        )
    )
    return column.selectbox(
        "Truth rule",
        rules,
        index=rules.index(preferred),
        format_func=RULE_NAMES.__getitem__,
        help=hint,
    )


def _answer_fields(base: Design) -> dict[str, Any]:
    """Render answer scale, texts, hidden repeats and the information that readers receive."""
    scale_column, class_column, repeat_column, word_column, prevalence_column = st.columns(
        [2, 2, 1, 2, 2]
    )
    influence_classes = ["predicted", "malignant"]
    return {
        "scale": scale_column.selectbox(
            "Answer",
            list(_SCALE_NAMES),
            index=list(_SCALE_NAMES).index(base.scale),
            format_func=_SCALE_NAMES.__getitem__,
        ),
        "influence_class": class_column.selectbox(
            "Texts for the class",
            influence_classes,
            index=influence_classes.index(base.influence_class),
        ),
        "repeats": int(repeat_column.number_input("Hidden repeats", 0, 50, base.repeats)),
        "association_words": word_column.toggle(
            "Keep verdict words",
            base.association_words,
            help="Words such as suspicious repeat the annotator's verdict",
        ),
        "prevalence_told": prevalence_column.toggle(
            "State prevalence",
            base.prevalence_told,
            help="Readers learn the proportion of malignant cases before they start",
        ),
    }


def _analysis_fields(base: Design) -> dict[str, Any]:
    """Render analysis, exclusions and stopping rule, with the values of the preset."""
    with st.expander("Analysis, exclusions and stopping rule"):
        return {
            **_test_fields(base),
            **_hypothesis_fields(base),
            **_exclusion_fields(base),
            **_text_fields(base),
        }


def _select(column: Any, label: str, names: dict[str, str], value: str) -> str:
    """Render a select box for the keys of a dictionary, shown by their names."""
    return column.selectbox(
        label, list(names), list(names).index(value), format_func=names.__getitem__
    )


def _test_fields(base: Design) -> dict[str, Any]:
    primary_column, side_column, alpha_column, expected_column = st.columns([3, 2, 1, 2])
    return {
        "primary": _select(primary_column, "Primary analysis", PRIMARY_NAMES, base.primary),
        "side": _select(side_column, "Side", SIDE_NAMES, base.side),
        "alpha": alpha_column.number_input("Alpha", 0.001, 0.2, base.alpha, 0.005, format="%.3f"),
        "expected_share": expected_column.number_input(
            "Expected proportion correct",
            0.501,
            0.999,
            base.expected_share,
            0.01,
            format="%.3f",
            help="for the power; published .55",
        ),
    }


def _hypothesis_fields(base: Design) -> dict[str, Any]:
    """Render goal, margin, multiplicity, missing answers and interim looks."""
    goal_column, margin_column, rule_column, missing_column = st.columns([2, 1, 2, 2])
    look_column, spending_column, _ = st.columns([1, 2, 4])
    margin = margin_column.number_input(
        "Margin", 0.0, 0.5, base.margin or 0.0, 0.01, format="%.3f", help="of the AUC; 0: none"
    )
    return {
        "goal": _select(goal_column, "Goal", _GOAL_NAMES, base.goal),
        "margin": margin or None,
        "multiplicity": _select(
            rule_column, "Comparisons that are tested", _MULTIPLICITY_NAMES, base.multiplicity
        ),
        "missing_answers": _select(
            missing_column, "Missing answers", _MISSING_NAMES, base.missing_answers
        ),
        "looks": int(look_column.number_input("Looks", 1, 20, base.looks)),
        "spending": _select(spending_column, "Alpha spending", _SPENDING_NAMES, base.spending),
    }


def _exclusion_fields(base: Design) -> dict[str, Any]:
    discrepant_column, image_column, effect_column, depth_column = st.columns([3, 2, 1, 2])
    discrepant = _select(
        discrepant_column, "Cases whose truth rules differ", _DISCREPANT_NAMES, base.discrepant
    )
    images = image_column.selectbox(
        "Images of a patient",
        list(_IMAGES_PER_PATIENT),
        list(_IMAGES_PER_PATIENT.values()).index(base.images_per_patient),
    )
    effect = effect_column.number_input(
        "Design effect",
        1.0,
        20.0,
        base.design_effect,
        0.05,
        help="for the power: 1 where a patient has one image and one reader",
    )
    depth = depth_column.selectbox(
        "Units considered for texts", list(_DEPTHS), list(_DEPTHS.values()).index(base.depth)
    )
    unit_column, single_column, _ = st.columns([3, 2, 3])
    case_unit = _select(unit_column, "A case is", _CASE_UNIT_NAMES, base.case_unit)
    single_films = _select(
        single_column, "Exams of a single film", _SINGLE_FILM_NAMES, base.single_films
    )
    return {
        "case_unit": case_unit,
        # Without exams the question does not arise, and the setting stays at its default.
        "single_films": single_films if case_unit == "exam" else base.single_films,
        "discrepant": discrepant,
        "images_per_patient": _IMAGES_PER_PATIENT[images],
        "design_effect": effect,
        "depth": _DEPTHS[depth],
    }


def _text_fields(base: Design) -> dict[str, Any]:
    dissect = cached_query(unit_table.current_dissection)
    sizes = cached_query(label_sets.list_label_sets, dissect) if dissect else {base.label_set: 0}
    return {
        "label_set": st.selectbox(
            "Labels that the texts consist of",
            list(sizes),
            index=list(sizes).index(base.label_set) if base.label_set in sizes else 0,
            format_func=lambda name: f"{name} ({sizes[name]} units)",
        ),
        "hypothesis": st.text_input("Hypothesis", base.hypothesis, max_chars=300),
        "stopping": st.text_input("Stopping rule", base.stopping, max_chars=300),
        "merge_duplicates": st.toggle(
            "Show a label once where several units carry it", base.merge_duplicates
        ),
    }


def _available_rules(path: Path) -> list[str]:
    """Return the truth rules for which this study has data.

    The folder rule needs a source that files patients under a diagnosis.
    """
    with store.read(path) as con:
        truth = workflow.load_truth_by_rule(con, Design())
    return [rule for rule in RULE_NAMES if rule != "folder" or truth["folder"].notna().any()]


def _count_labels(path: Path, explain: str, design: Design) -> int:
    """Return the number of distinct labels of the units, as the design would show them."""
    dissect = lineage.ancestor_run(path, explain, "dissect")
    with store.read(path) as con:
        order = load_order_of_experts(path)
        labels = label_sets.load_label_set(con, dissect, design.label_set, order)
        associations = dataset_table.load_lexicon(con).association_names
    return len(
        {
            text
            for label in labels.values()
            for text in explanation_texts([0], {0: label.text}, design, associations)
        }
    )


def _preview_cases(path: Path, explain: str, design: Design) -> tuple[pd.DataFrame, CaseFlow]:
    """Return the cases that the design would choose now, and the flow to them."""
    design = workflow.study_design(path, explain, design)
    return choose_cases(workflow.candidate_images(path, explain, design), design)


def _render_planned_cases(
    explain: str, design: Design, cases: pd.DataFrame, flow: CaseFlow
) -> StudyPower | None:
    """Render numbers and power of the primary arm; return the plan behind the power."""
    primary_cases = cases[cases["arm"] == design.arms[0]]
    patients = primary_cases["patient_id"].nunique()
    has_power = patients >= least_patients(design)
    plan = design_power(design, patients, len(primary_cases)) if has_power else None
    labels = set(chain.from_iterable(label_texts(primary_cases, design)))
    elements.metric_row(
        [
            ("Cases", f"{len(primary_cases)}"),
            ("Patients", f"{patients}"),
            ("Distinct texts", f"{primary_cases['texts'].map(tuple).nunique()}"),
            ("Labels shown", f"{len(labels)} of {cached_result(_count_labels, explain, design)}"),
            (
                f"Power at {percent(design.expected_share, 0)} correct",
                "none" if plan is None else decimal(plan.power, 2),
            ),
            (
                "Patients for power .8",
                "none" if plan is None else f"{patients_needed(plan) or 'too many'}",
            ),
        ]
    )
    st.caption(
        f"{flow.sentence()} Power of the primary analysis, {PRIMARY_NAMES[design.primary]}, with"
        f" {design.readers} readers."
    )
    return plan


def _render_example_texts(design: Design, cases: pd.DataFrame) -> None:
    primary_cases = cases[cases["arm"] == design.arms[0]]
    with st.expander("First ten texts (as a reader sees them)"):
        texts = [" | ".join(texts) for texts in primary_cases["texts"].head(10)]
        elements.data_table(pd.DataFrame({"Texts": texts}), hide_index=True)
