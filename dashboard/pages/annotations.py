"""Annotations: progress per expert, agreement when they have finished, and adjudication with the
raw answers side by side.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core import birads_lexicon, store
from core.class_labels import unit_name
from core.settings import load as load_settings
from core.store import annotation_table
from dashboard.server import context, identity, image_routes
from dashboard.ui import cached_queries, elements
from dashboard.views import label_audit
from evaluation.annotation import category_agreement
from evaluation.annotation.category_agreement import Dispute, Row
from evaluation.intervals import bounds_text, decimal

who = identity.require("team")
elements.page()
TILES = 16


def said(answer: dict) -> str:
    """An answer as the adjudicator reads it."""
    if not birads_lexicon.substantive(answer):
        return answer["recognisable"].capitalize()
    return answer["label"] + (f" (own words: {answer['words']})" if answer["words"] else "")


def agreement_table(rows: list[Row]) -> None:
    """Estimate, interval and method a line; a dash with the reason where nothing can be estimated."""
    elements.table(
        pd.DataFrame(
            [
                {
                    "": elements.text(r.name),
                    "Agreement": decimal(r.estimate) if r.estimate is not None else "–",
                    "95 % interval": elements.text(bounds_text(r.low, r.high, r.reason)),
                    "n": r.n,
                    "Method": elements.text(r.method),
                }
                for r in rows
            ]
        )
    )


def progress_tab(run: str) -> None:
    """How far everybody is."""
    frame = cached_queries.ask(annotation_table.progress, run)
    total = len(cached_queries.ask(annotation_table.selected_units, run))
    elements.section(
        "Progress",
        f"{total} distinct units of {cached_queries.ask(annotation_table.slots, run)} places in the class"
        " lists",
    )
    if not len(frame):
        elements.empty(
            "Nobody has annotated yet. Invite an expert on the People page, or in a terminal:",
            "deepminer invite annotator",
        )
    shown = pd.DataFrame(
        {
            "Expert": frame["code"],
            "Simulated": frame["simulated"],
            "Units": [f"{n} / {total}" for n in frame["units"]],
            "With a label": frame["named"],
            "Revised": frame["revised"],
            "Repeats": frame["repeats"],
            "Median s": frame["median_seconds"].round(1),
            "Last answer": frame["last"],
        }
    )
    st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        column_config={
            "Last answer": st.column_config.DatetimeColumn(
                format="D MMM, HH:mm", timezone="UTC", help="UTC"
            )
        },
    )


def labels_table(run: str) -> None:
    """Every label with the answers it comes from; downloads as a table."""
    order = tuple(load_settings(context.current()).annotation.order_of_experts)
    labels = cached_queries.ask(annotation_table.labels, run, order)
    answers = {
        r.annotation_id: f"{r.code}, version {r.version}"
        for r in cached_queries.ask(annotation_table.answers, run, True).itertuples()
    }
    elements.section(
        "Labels",
        f"{len(labels)} units carry one",
        simulated=any(label.simulated for label in labels.values()),
    )
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "Unit": unit_name(u),
                    "Label": label.text,
                    "From answers": "; ".join(answers.get(i, i) for i in label.annotation_ids),
                    "Simulated": label.simulated,
                }
                for u, label in labels.items()
            ]
        ),
        hide_index=True,
        width="stretch",
    )


def agreement_tab(run: str) -> None:
    """Between experts and within each."""
    frame = cached_queries.ask(annotation_table.answers, run)
    if category_agreement.raters(frame) < 2:
        st.info(
            "Agreement is not estimable with one expert: invite a second annotator on the People"
            " page."
        )
    else:
        elements.section(
            "Between experts", "presence of each category, per unit", bool(frame["simulated"].any())
        )
        agreement_table(
            [
                category_agreement.overall(frame),
                category_agreement.naming(frame),
                category_agreement.jaccard(frame),
                *category_agreement.per_category(frame),
            ]
        )
    again = category_agreement.repeats(frame)
    elements.section("Within each expert", "units shown a second time without saying so")
    if again:
        agreement_table(again)
    else:
        st.caption("No hidden repeat has been answered yet.")


def decide(run: str, unit: int, label: str, sources: list[str], reason: str) -> None:
    """Record the decision under the adjudicator's code and go on."""
    with store.write(context.current()) as con:
        annotation_table.decide(con, run, unit, label, sources, reason, who.code)


def pictures(run: str, unit: int) -> None:
    """The unit's strongest patches with their regions."""
    level = load_settings(context.current()).dissection.threshold * cached_queries.ask(
        annotation_table.largest, run, unit
    )
    urls = [
        image_routes.url(
            "unit",
            image_routes.TEAM,
            run=run,
            unit=unit,
            rank=t.rank,
            level=level,
            file=t.file,
            y=t.y,
            x=t.x,
            side=t.side,
        )
        for t in cached_queries.ask(annotation_table.tiles, run, unit, TILES)
    ]
    st.html(
        '<div style="display:grid;grid-template-columns:repeat(8,1fr);gap:4px">'
        + "".join(f'<img src="{u}" alt="" style="width:100%;border-radius:2px">' for u in urls)
        + "</div>"
    )


def adjudicate(run: str, dispute: Dispute) -> None:
    """One unit: tiles, answers under letters, and the four ways to decide."""
    letters = "ABCDFGHI"
    left, right = st.columns([3, 2], gap="medium")
    with left:
        pictures(run, dispute.unit)
    with right:
        for letter, (_, _, answer) in zip(letters, dispute.answers):
            st.html(f"<p><b>{letter}</b>&ensp;{elements.text(said(answer))}</p>")
        labels = [a["label"] for _, _, a in dispute.answers]
        ids = [i for _, i, _ in dispute.answers]
        merged = "; ".join(dict.fromkeys(text for text in labels if text))
        buttons = st.columns(len(labels) + 1)
        for letter, text, source, column in zip(letters, labels, ids, buttons):
            column.button(
                f"Accept {letter}",
                key=f"accept_{letter}",
                shortcut=letter.lower(),
                width="stretch",
                on_click=decide,
                args=(run, dispute.unit, text, [source], f"answer {letter} accepted"),
            )
        buttons[-1].button(
            "Merge",
            key="merge",
            shortcut="m",
            width="stretch",
            on_click=decide,
            args=(run, dispute.unit, merged, ids, "answers merged"),
        )
        if st.session_state.get("writing"):
            write_own(run, dispute.unit, merged, ids)


def write_own(run: str, unit: int, suggestion: str, sources: list[str]) -> None:
    """The adjudicator's own label, which needs a reason."""
    with st.form("write", border=True, clear_on_submit=True):
        text = st.text_input("Label", value=suggestion, max_chars=200)
        reason = st.text_input(
            "Reason", max_chars=400, help="Kept with the decision, marked as the adjudicator's."
        )
        if st.form_submit_button("Decide", type="primary"):
            if reason.strip():
                decide(run, unit, text, sources, reason)
                st.session_state["writing"] = False
                st.rerun()
            st.error("A label of your own needs a reason.")


def toggle_writing() -> None:
    """Open or close the form for an own label."""
    st.session_state["writing"] = not st.session_state.get("writing", False)


def adjudication_tab(run: str) -> None:
    """Disagreements first; a decision never touches the answers it rests on."""
    answers = cached_queries.ask(annotation_table.answers, run)
    found = category_agreement.disputes(answers)
    decided = cached_queries.ask(annotation_table.decisions, run)
    waiting = [d for d in found if d.unit not in set(decided["unit"]) and d.conflict > 0]
    if not found:
        st.info("Nothing to adjudicate: no unit has been answered by two experts.")
        return
    counted = (
        f"{len(waiting)} disagreements left, {len(decided)} decided,"
        f" {sum(d.conflict == 0 for d in found)} agreed"
    )
    elements.section("Adjudication", counted, simulated=bool(answers["simulated"].any()))
    if waiting:
        position = min(st.session_state.get("dispute", 0), len(waiting) - 1)
        top, skip, write = st.columns([4, 1, 1], vertical_alignment="center")
        top.caption(f"{unit_name(waiting[position].unit)}: {position + 1} of {len(waiting)}")
        skip.button(
            "Next",
            width="stretch",
            on_click=lambda: st.session_state.update(dispute=(position + 1) % len(waiting)),
        )
        write.button("Write", shortcut="e", width="stretch", on_click=toggle_writing)
        adjudicate(run, waiting[position])
    if len(decided):
        elements.section("Decided")
        st.dataframe(
            pd.DataFrame(
                {
                    "Unit": [unit_name(int(u)) for u in decided["unit"]],
                    "Label": decided["label"],
                    "Reason": decided["reason"],
                    "By": decided["decided_by"],
                    "When": decided["made"],
                }
            ),
            hide_index=True,
            width="stretch",
        )


dissected = cached_queries.ask(annotation_table.current_run)
elements.heading(
    "Annotations",
    "what experts say the selected units respond to",
    simulated=bool(dissected and elements.simulated_labels(dissected)),
)
if dissected is None:
    elements.empty(
        "There are no units yet. Dissect the trained network first:", "deepminer dissect"
    )
one, two, three, four = st.tabs(["Progress", "Agreement", "Adjudication", "Audit"])
with one:
    progress_tab(dissected)
    labels_table(dissected)
with two:
    agreement_tab(dissected)
with three:
    adjudication_tab(dissected)
with four:
    label_audit.show(who.code)
