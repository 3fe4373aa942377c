"""Explanations: a mammogram, the network's class map, and the named units behind the decision."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import store
from core.class_labels import SPLIT_NAMES, unit_name
from core.errors import UserError
from core.settings import load as load_settings
from core.store import run_table, unit_table
from dashboard.components import mammograms
from dashboard.components.mammograms import Panel
from dashboard.server import context, identity, image_routes
from dashboard.ui import cached_queries, elements, theme
from dashboard.views import attention_weights, unit_details
from evaluation.intervals import decimal, p_text, percent
from evaluation.queries import explanations, faithfulness
from evaluation.queries.attention_weights import attended
from evaluation.queries.class_names import class_words
from evaluation.queries.explanations import Explained
from evaluation.queries.report_similarity import similarity
from evaluation.queries.units import patches_run_of

identity.require("team")
elements.page()
newest = cached_queries.ask(run_table.latest, "explain")
if newest is None:
    elements.heading("Explanations")
    ready = cached_queries.ask(run_table.latest, "dissect") is not None
    elements.empty(
        "No mammogram has been explained yet.",
        "deepminer explain" if ready else "deepminer dissect",
    )
run: str = newest
words = cached_queries.compute(class_words, run)
KINDS = {name: name.capitalize() for name in reversed(words.values())} | {
    "wrong": "Wrong",
    "all": "All",
}
settings = load_settings(context.current())


def controls() -> tuple[pd.DataFrame, int, str, bool]:
    """Which cases, in which order, and where we are; all in the address."""
    title, a, b, c, d, e, f = st.columns(
        [2.7, 4.5, 1.5, 1.4, 1.35, 1.1, 2.6], vertical_alignment="center"
    )
    with title:
        elements.heading(
            "Explanations",
            simulated=elements.simulated_data()
            or elements.simulated_labels(cached_queries.compute(explanations.dissect_of, run)),
        )
    with a:
        kind = st.segmented_control(
            "Cases",
            list(KINDS),
            default="malignant",
            required=True,
            label_visibility="collapsed",
            key="kind",
            bind="query-params",
            format_func=KINDS.__getitem__,
            help="by the network's decision; Wrong: decided against the truth",
        )
    seed = b.number_input(
        "Seed of the order",
        1,
        999,
        1,
        label_visibility="collapsed",
        key="seed",
        bind="query-params",
        help="Seed of the order in which cases come",
    )
    table = cached_queries.compute(explanations.cases, run, kind or "malignant", int(seed))
    wanted = st.query_params.get("film")
    ids = list(table["mammogram_id"])
    at = ids.index(wanted) if wanted in ids else 0
    hand_picked = False
    if wanted is not None and wanted not in ids:
        everything = cached_queries.compute(explanations.cases, run, "all", int(seed))
        if wanted in set(everything["mammogram_id"]):
            table, ids, at, hand_picked = (
                everything,
                list(everything["mammogram_id"]),
                list(everything["mammogram_id"]).index(wanted),
                True,
            )
    c.caption(f"Image {at + 1} of {len(ids)}" if ids else "no image")
    # The first case of the seeded order and those reached from it step by step are random; one
    # opened from a list or an address was picked by somebody,
    # and so were its neighbours.
    random = not hand_picked and (wanted is None or st.session_state.get("walked_to") == wanted)
    for button, label, key, step in (
        (d, "Previous", "ArrowLeft", -1),
        (e, "Next", "ArrowRight", 1),
    ):
        if button.button(label, shortcut=key, disabled=not 0 <= at + step < len(ids)):
            st.query_params["film"] = ids[at + step]
            st.session_state["walked_to"] = ids[at + step] if random else None
            st.rerun()
    if ids and f.button(
        f"Add to figure, {'random' if random else 'hand-picked'}", type="primary", width="stretch"
    ):
        with store.write(context.current()) as con:
            unit_table.pick_for_figure(
                con, run, ids[at], "random" if random else "hand-picked", identity.current().code
            )
        st.toast("Added. The Figures page builds it, and says how it was chosen.")
    return table, at, kind or "malignant", random


def verdict(case: Explained) -> None:
    """Decision, truth and scores in a line."""
    bars = "".join(
        '<div style="width:180px"><div'
        f' style="display:flex;justify-content:space-between"><span>{elements.class_mark(name)}</span><b>{decimal(value, 2)}</b></div>'
        '<div style="height:5px;background:var(--dm-wash)"><div'
        f' style="height:5px;width:{100 * value}%;background:{theme.CLASS_FILL[theme.mode()][name]}"></div></div></div>'
        for name, value in reversed(case.scores.items())
        if value is not None
    )
    ink = theme.CLASS_INK[theme.mode()]
    decided, truth = case.predicted or "no tissue found", case.truth or "unproven"
    st.html(
        '<div style="display:flex;gap:28px;align-items:center;border:1px solid'
        ' var(--dm-line-soft);border-radius:4px;padding:6px 16px;font-size:13px"><div><span'
        ' class="dm-mute">Predicted</span><br><b'
        f' style="font-size:16px;color:{ink.get(decided, "inherit")}">{decided}</b></div><div><span'
        f' class="dm-mute">Truth</span><br><b style="font-size:16px">{truth}</b>'
        f" {elements.badge('done').replace('✓ done', case.verdict) if case.verdict else ''}</div>{bars}<div"
        f' style="margin-left:auto;text-align:right" class="dm-mute">{elements.text(case.patient_id)},'
        f" {elements.text(case.view)}<br>{SPLIT_NAMES[case.split]}</div></div>"
    )


def outlined(case: Explained, **kinds: Any) -> Panel:
    """A panel of this film with its findings in maroon."""
    return Panel(
        url=image_routes.url("film", image_routes.TEAM, file=case.film),
        width=case.width,
        height=case.height,
        outlines=[p for polygons in case.findings["outline"] for p in polygons],
        **kinds,
    )


def panels(case: Explained) -> list[Panel]:
    """Mammogram, class map, and up to five named units."""
    report = "; ".join(r for r in case.findings["report"] if r) or (
        "no report line" if len(case.findings) else "no finding"
    )
    shows = case.predicted or "malignant"
    score = case.scores.get(shows)
    shown = [
        outlined(
            case,
            title="Mammogram",
            right=case.view,
            caption="Report",
            note=report.replace("_", " ").lower(),
            alt="mammogram with outlined findings",
        ),
        outlined(
            case,
            title="Class map",
            right="" if score is None else decimal(score, 2),
            caption=shows.capitalize(),
            note=(
                "probability"
                if score is None
                else (
                    f"probability; {'smallest' if shows == 'normal' else 'largest'} in tissue"
                    f" {decimal(score, 2)}"
                )
            ),
            heat=case.class_map,
            scale=("0", "1"),
            alt="class probability map",
        ),
    ]
    named = [u for u in case.units if u.label][: settings.explanation.printed]
    for unit in named:
        shown.append(
            outlined(
                case,
                title=f"{unit.rank} of 8, {unit_name(unit.unit)}",
                right=decimal(unit.influence, 2),
                caption=unit.label,
                alt=f"map of {unit_name(unit.unit)}, influence {decimal(unit.influence, 2)}",
                heat=case.heat(unit),
                scale=("0", decimal(case.scale, 2)),
            )
        )
    return shown


def strip(case: Explained) -> None:
    """All eight units with a patch each; unnamed ones grey."""
    dissect = cached_queries.compute(explanations.dissect_of, run)
    patches = cached_queries.ask(
        unit_table.top_patches,
        dissect,
        cached_queries.compute(patches_run_of, dissect),
        [u.unit for u in case.units],
        1,
    )
    tiles = {int(p["unit"]): p for p in patches.to_dict("records")}
    facts = cached_queries.ask(unit_table.units, dissect).set_index("unit")["largest"]
    threshold = cached_queries.ask(run_table.get, dissect)["settings"]["dissection"]["threshold"]
    cells = []
    for unit in case.units:
        patch = tiles[unit.unit]
        url = image_routes.url(
            "unit",
            image_routes.TEAM,
            file=patch["file"],
            y=int(patch["y"]),
            x=int(patch["x"]),
            side=int(patch["side"]),
            size=96,
            run=dissect,
            unit=unit.unit,
            rank=0,
            level=threshold * float(facts[unit.unit]),
        )
        quiet, faded = (
            ("", "") if unit.label else ("color:var(--dm-mute)", "filter:grayscale(1);opacity:.6")
        )
        cells.append(
            "<div"
            f' style="flex:1;display:flex;gap:8px;font-size:12px;line-height:1.35;min-width:0;{quiet}">'
            f'<img src="{url}" alt="top patch of {unit_name(unit.unit)}" width="48" height="48"'
            f' style="border-radius:2px;flex:none;{faded}">'
            f'<div style="min-width:0"><b>{unit.rank}</b> {unit_name(unit.unit)[5:]} <span'
            f' style="float:right">&nbsp;{decimal(unit.influence, 2)}</span>'
            f'<div title="{elements.text(unit.label or "")}"'
            ' style="overflow:hidden;display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical">'
            f"{elements.text(unit.label or 'no label')}</div></div></div>"
        )
    st.html(f'<div style="display:flex;gap:10px">{"".join(cells)}</div>')


def agreement_with_reports() -> None:
    """How far all explanations of the run say what the report lines say, beside patient-permuted
    chance.
    """
    try:
        found = cached_queries.compute(similarity, run)
    except UserError as error:
        st.error(str(error))
        return
    if not found:
        st.caption(
            "Explanations against report lines: not estimable, because no explained mammogram has a"
            " report line or no unit a label."
        )
        return
    patients = (
        f"{found[0].result.pairs} explanations; 95 % patient-bootstrap interval; baseline: reports"
        f" permuted between patients; word vectors: {found[0].vectors}"
    )
    elements.section("Explanations against report lines", patients, case.simulated)
    rows = []
    for row in found:
        mean, r = row.result.mean, row.result
        rows.append(
            {
                "Words of the explanation": row.words,
                "Measure": row.measure,
                "Mean": f"<b>{decimal(mean.estimate)}</b>",
                "95 % CI": f"{decimal(mean.low)} to {decimal(mean.high)}",
                "Permuted": decimal(r.baseline),
                "p, one-sided": elements.text(
                    p_text(r.p_greater).removeprefix("P ").removeprefix("= ")
                ),
                "Undefined": r.undefined,
                "Unknown words, reports / explanations": (
                    f"{percent(r.oov_reference)} / {percent(r.oov_hypothesis)}"
                ),
                "Published (v1)": decimal(row.published),
            }
        )
    elements.table(pd.DataFrame(rows))


def truth(code: int) -> None:
    """Short numbers on whether explanations of this class are true of the network; all of them, not
    this case.
    """
    dissect = cached_queries.compute(explanations.dissect_of, run)
    found = cached_queries.compute(faithfulness.numbers, dissect, code)
    elements.section(
        f"Is it true of the network? {words[code].capitalize()}, all test films",
        "units set to zero, and where the class maps look",
        case.simulated,
    )
    if found:
        unit_details.numbers(found)
    elif cached_queries.compute(faithfulness.run_of, dissect):
        st.caption(unit_details.nothing_to_test(words[code]))
    else:
        st.caption(
            "Not tested yet: deepminer ablate sets the named units to zero and compares with random"
            " ones."
        )


elements.weak_label_note()
table, at, kind, random = controls()
if not len(table):
    st.info(
        "No explained mammogram is"
        f" {'decided wrongly' if kind == 'wrong' else 'predicted ' + kind}; choose another group."
    )
    st.stop()
case = cached_queries.compute(explanations.one, run, str(table["mammogram_id"].iloc[at]))
verdict(case)
mammograms.show(panels(case), key="explanation", height=212)
if not any(u.label for u in case.units):
    st.info(
        "None of the 8 most influential units carries a label: this decision has no words. The"
        " strip below shows what excites them."
    )
attention_weights.show(
    cached_queries.compute(attended, run, case.mammogram_id), elements.simulated_data()
)
elements.section(
    f"All 8 units with the largest influence on {case.predicted or 'malignant'}",
    "unlabelled ones grey. Colours of unit maps: one scale for all cases, 0 to"
    f" {decimal(case.scale, 2)}, by square root; its middle is {decimal(case.scale / 4, 2)}.",
    case.simulated,
)
strip(case)
truth(next((code for code, name in words.items() if name == case.predicted), 2))
agreement_with_reports()
