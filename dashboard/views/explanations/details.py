"""Parts of the Explanations page: decision, maps, units, faithfulness, report similarity."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import lineage
from core.class_labels import SPLIT_NAMES, unit_name
from core.errors import UserError
from core.interpretation.explanation import NamedUnit, Phenomenon
from core.settings import load_order_of_experts, load_settings
from core.store.labels import label_sets, label_states
from dashboard.components.mammograms import Panel, show_mammograms
from dashboard.server import context, image_routes
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.patch_images import top_patch_urls
from dashboard.ui.study_words import image_noun, image_nouns, shows_breasts
from dashboard.views.units.faithfulness import (
    missing_result_reason,
    render_sufficiency,
    render_summary_lines,
)
from evaluation.intervals import decimal, p_text, percent
from evaluation.queries import faithfulness
from evaluation.queries.explanations import ExplainedMammogram
from evaluation.queries.report_similarity import ReportSimilarity, measure_report_similarity
from evaluation.queries.units import OUTSIDE_WARNING

_STRIP_PIXELS = 96


def render_decision(case: ExplainedMammogram) -> None:
    """Render decision, truth, scores, patient and view in one line."""
    scores = "".join(
        '<div class="score">'
        + elements.share_bar(
            elements.class_marker(name),
            f"<b>{decimal(score, 2)}</b>",
            score,
            theme.class_color(name),
        )
        + "</div>"
        for name, score in reversed(case.scores.items())
        if score is not None
    )
    # Why the scores do not add up to 1. A mammogram is normal only if all of its tissue is.
    meaning = "largest probability" + (" in tissue" if shows_breasts() else "")
    if case.classes.normal:
        meaning += f"<br>({case.classes.normal}: smallest)"
    view = f", {case.view}" if shows_breasts() else ""
    decision, truth = case.predicted or "no tissue found", case.truth or "unproven"
    verdict = elements.state_badge("done", case.verdict) if case.verdict else ""
    st.html(
        '<div class="dm-decision"><div><span class="dm-mute">Predicted</span><br>'
        f'<b class="name" style="color:{theme.class_ink(decision)}">{decision}</b></div>'
        f'<div><span class="dm-mute">Truth</span><br><b class="name">{truth}</b> {verdict}</div>'
        f'{scores}<div class="dm-mute dm-small">{meaning}</div>'
        f'<div class="case">{elements.escape_html(case.patient_id)}'
        f"{elements.escape_html(view)}<br>{SPLIT_NAMES[case.split]}</div></div>"
    )


def render_outside_warning(case: ExplainedMammogram) -> None:
    """Render a warning if much of the explanation lies outside the breast."""
    if case.outside is not None and shows_breasts() and case.outside > OUTSIDE_WARNING:
        elements.warning_line(
            f"{_outside_share(case.outside)}; the decision may rest on labels or edges of the"
            " image."
        )


def _outside_share(share: float) -> str:
    return f"{percent(share, 0)} of the units' contributions lie outside the breast"


def render_notes(case: ExplainedMammogram) -> None:
    """Render what the labels are, and how much of the explanation lies outside the breast."""
    note = case.label_sentence()
    if case.outside is not None and shows_breasts():
        note += f" {_outside_share(case.outside)}."
    st.caption(elements.escape_markdown(note))


def render_maps(case: ExplainedMammogram, most_labels: int) -> None:
    """Render mammogram, class map, and a map for each of up to `most_labels` labels."""
    panels = [
        _mammogram_panel(case),
        _class_panel(case),
        # Unlabelled units have no words: they appear in the strip below only.
        *(_unit_panel(case, shown) for shown in case.phenomena(most_labels)),
    ]
    show_mammograms(panels, key="explanation", height=212, linked=True)


def _panel(case: ExplainedMammogram, **content: Any) -> Panel:
    """Return a panel of the mammogram with its findings outlined."""
    return Panel(
        url=image_routes.image_url("mammogram", image_routes.TEAM_AUDIENCE, file=case.image_file),
        width=case.width,
        height=case.height,
        outlines=[polygon for polygons in case.findings["outline"] for polygon in polygons],
        **content,
    )


def _mammogram_panel(case: ExplainedMammogram) -> Panel:
    missing = "no report line" if len(case.findings) else "no finding"
    report = "; ".join(line for line in case.findings["report"] if line) or missing
    return _panel(
        case,
        source=image_routes.source_url(case.image_file),
        title=image_noun().capitalize(),
        right=case.view if shows_breasts() else "",
        caption="Report",
        note=report.replace("_", " ").lower(),
        alt=f"{image_noun()} with outlined findings",
    )


def _class_panel(case: ExplainedMammogram) -> Panel:
    name = case.predicted or case.classes.positive
    score = case.scores.get(name)
    note = "probability"
    if score is not None:
        # A mammogram is normal only if all of its tissue is.
        extreme = "smallest" if name == case.classes.normal else "largest"
        region = " in tissue" if shows_breasts() else ""
        note += f"; {extreme}{region} {decimal(score, 2)}"
    return _panel(
        case,
        title="Class map",
        right="" if score is None else decimal(score, 2),
        caption=name.capitalize(),
        note=note,
        heat=case.class_map,
        scale=("0", "1"),
        alt="class probability map",
    )


def _unit_panel(case: ExplainedMammogram, shown: Phenomenon) -> Panel:
    """Return the panel of a label with the map of its most influential unit."""
    unit = shown.leading
    influence = decimal(unit.influence, 2)
    return _panel(
        case,
        title=f"{case.rank_text(unit)}, {unit_name(unit.unit)}",
        right=influence,
        caption=shown.text,
        alt=f"map of {unit_name(unit.unit)}, influence {influence}",
        heat=case.unit_heat(unit),
        ramp="contribution",
        scale=("0", decimal(case.scale, 2)),
    )


def render_unit_strip(run: str, case: ExplainedMammogram) -> None:
    """Render the eight units with a patch each; unlabelled ones are grey."""
    dissect = cached_result(lineage.ancestor_run, run, "dissect")
    urls = top_patch_urls(dissect, [unit.unit for unit in case.units], 1, _STRIP_PIXELS)
    pending = _pending_labels(dissect) if case.label_set == label_sets.DEFAULT_SET else {}
    elements.section_heading(
        f"All 8 units with the largest influence on {case.predicted or case.classes.positive}",
        "unlabelled ones grey. Colours of unit maps: one scale for all cases, 0 to"
        f" {decimal(case.scale, 2)}, by square root; its middle is {decimal(case.scale / 4, 2)}.",
    )
    cells = "".join(
        _strip_cell(unit, urls[unit.unit][0], pending.get(unit.unit, "")) for unit in case.units
    )
    st.html(f'<div class="dm-strip">{cells}</div>')


def _pending_labels(dissect: str) -> dict[int, str]:
    """Return by unit why an answer of an expert is no label of the unit yet."""
    order = tuple(load_order_of_experts(context.served_study()))
    states = cached_query(label_states.unit_states, dissect, order)
    return {
        unit: "experts differ" if state.disputed else state.state
        for unit, state in states.items()
        if not state.counts and (state.disputed or state.label)
    }


def _strip_cell(unit: NamedUnit, url: str, pending: str) -> str:
    name, label = unit_name(unit.unit), elements.escape_html(unit.label or "")
    number, state = name.removeprefix("unit_"), unit.state if unit.label else pending
    return (
        f'<div class="{"" if unit.label else "unlabelled"}">'
        f'<img src="{url}" alt="top patch of {name}"><div class="text"><b>{unit.rank}</b> {number}'
        f' <span class="value">&nbsp;{decimal(unit.influence, 2)}</span>'
        f'<div class="label" title="{label}">{label or "no label"}</div>'
        f'<div class="state">{state}</div></div></div>'
    )


def render_class_faithfulness(run: str, case: ExplainedMammogram) -> None:
    """Render the measures of the predicted class over all test mammograms, not of this case."""
    dissect = cached_result(lineage.ancestor_run, run, "dissect")
    names = case.classes.outputs
    codes = {name: code for code, name in names.items()}
    code = codes.get(case.predicted or "", case.classes.positive_code)
    lines = cached_result(faithfulness.summary_lines, dissect, code)
    elements.section_heading(
        f"Faithfulness: {names[code]}, all test {image_nouns()}",
        "unit ablation, and localization of the class maps",
    )
    if lines:
        render_summary_lines(lines)
    elif cached_result(faithfulness.latest_ablation, dissect):
        st.caption(missing_result_reason(names[code]))
    else:
        st.caption(
            "Not tested yet: deepminer ablate sets the named units to zero and compares with random"
            " units."
        )
    render_sufficiency(dissect, code)


def render_report_similarity(run: str, label_set: str) -> None:
    """Render the similarity of all explanations of a run to the report lines."""
    study = context.served_study()
    vectors = load_settings(study).evaluation.word_vectors
    files = [study / vectors] if vectors else []
    try:
        rows = cached_result(measure_report_similarity, run, label_set, files=files)
    except UserError as error:
        st.error(str(error))
        return
    title = "Explanations against report lines"
    if not rows:
        st.caption(
            f"{title}: not estimable, because no explained {image_noun()} has a report line or no"
            " unit has a label."
        )
        return
    note = (
        f"{rows[0].result.pairs} explanations; 95 % patient-bootstrap interval; baseline: reports"
        f" permuted between patients; word vectors: {rows[0].vectors}"
    )
    elements.section_heading(title, note)
    elements.html_table(pd.DataFrame([_similarity_row(row) for row in rows]))


def _similarity_row(row: ReportSimilarity) -> dict[str, Any]:
    result = row.result
    p_value = p_text(result.p_greater).removeprefix("P ").removeprefix("= ")
    return {
        "Text of the explanation": row.selection,
        "Measure": row.measure,
        "Mean": f"<b>{decimal(result.mean.estimate)}</b>",
        "95 % CI": f"{decimal(result.mean.low)} to {decimal(result.mean.high)}",
        "Permuted": decimal(result.baseline),
        "p, one-sided": elements.escape_html(p_value),
        "Undefined": result.undefined,
        "Unknown words, reports / explanations": (
            f"{percent(result.oov_reference)} / {percent(result.oov_hypothesis)}"
        ),
        "Published (v1)": decimal(row.published),
    }
