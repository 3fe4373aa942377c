"""Further views of the Units page: coverage in full, and whether the explanations are true of the
network.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.class_labels import unit_name
from core.store import run_table, unit_table
from dashboard.server import image_routes
from dashboard.ui import cached_queries, elements, unit_charts
from evaluation.intervals import decimal, percent, percent_range
from evaluation.queries import faithfulness, unit_summaries, units
from evaluation.queries.class_names import class_words

FIGURE3_TILES = 4


def coverage(dissect: str) -> None:
    """Curves, numbers per class, the named units by category, and the cross-table over all
    dissected networks.
    """
    rows = cached_queries.compute(unit_summaries.coverage_table, dissect)
    if not rows:
        elements.empty(
            "The coverage of this dissection has not been measured.", "deepminer dissect"
        )
    run = cached_queries.ask(run_table.get, dissect)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        elements.section(
            "Coverage curve",
            f"{rows[0]['images']} hold-out films, top {run['settings']['dissection']['top']}",
        )
        st.plotly_chart(
            unit_charts.coverage_curves(rows, 1 / run["manifest"]["units"]),
            config={"displayModeBar": False},
        )
    with right:
        elements.section("Coverage", "share of the top slots taken by the selected units")
        elements.table(pd.DataFrame([_coverage_row(row) for row in rows]))
        st.caption(
            "Selected is measured on the films that chose the units, so it is optimistic;"
            " split-half and test films did not choose them. CI: patient bootstrap. HDSR 2021, 20"
            " of 2,048 units: malignant 75.82 %, benign 69.77 %, normal 59.27 %."
        )
    figure_3(dissect)
    table = cached_queries.compute(unit_summaries.cross_table)
    if len(table.columns):
        elements.section(
            "Named units by BI-RADS category",
            "all dissected networks of the study (SPIE 2018, Fig. 4)",
            elements.simulated_labels(dissect),
        )
        elements.table(table.map(elements.text).rename_axis("Category").reset_index(), left=True)


def _coverage_row(row: dict) -> dict[str, str]:
    held = (
        "–"
        if row["held_out"] is None
        else f"{percent(row['held_out'])} ({row['held_out_images']} films)"
    )
    return {
        "Class": elements.class_mark(row["name"]),
        "Selected": f"<b>{percent(row['selected'])}</b>",
        "95 % CI": percent_range(row["low"], row["high"]),
        "Split-half": percent(row["split_half"]),
        "Test films": held,
        "Labelled": percent(row["labelled"]) if row["labelled"] is not None else "–",
        "Chance": percent(row["chance"]),
    }


def figure_3(dissect: str) -> None:
    """Category, annotation, unit and its first patches."""
    named = cached_queries.compute(unit_summaries.named_units, dissect)
    elements.section(
        "Named units",
        "by category, each with its 4 top patches (HDSR 2021, Fig. 3)",
        bool(named["simulated"].any()),
    )
    if not len(named):
        st.caption("No unit carries a label yet; invite an expert on the People page.")
        return
    settings = cached_queries.ask(run_table.get, dissect)["settings"]["dissection"]
    patches = cached_queries.ask(
        unit_table.top_patches,
        dissect,
        cached_queries.compute(units.patches_run_of, dissect),
        [int(u) for u in named["unit"]],
        FIGURE3_TILES,
    )
    largest = cached_queries.ask(unit_table.units, dissect).set_index("unit")["largest"]
    checks = cached_queries.compute(_checks, dissect)
    rows = []
    for row in named.to_dict("records"):
        mine = patches[patches["unit"] == row["unit"]].to_dict("records")
        urls = [image_routes.url("unit", image_routes.TEAM, file=p["file"], y=int(p["y"]), x=int(p["x"]), side=int(p["side"]), size=96, run=dissect, unit=int(p["unit"]),
                          rank=int(p["rank"]), level=settings["threshold"] * float(largest[row["unit"]])) for p in mine]  # fmt: skip
        tiles = "".join(
            f'<img src="{u}" width="44" height="44" alt="top patch"'
            ' style="margin-right:3px;border-radius:2px;vertical-align:middle">'
            for u in urls
        )
        rows.append({"Category": row["category"], "Annotation": elements.text(row["label"]), "Selected for": ", ".join(row["classes"]) or "–",
                     "Report check": checks.get(int(row["unit"]), "–"), "Unit": f"{unit_name(int(row['unit']))} {tiles}"})  # fmt: skip
    elements.table(pd.DataFrame(rows), left=True)


def _checks(path: object, dissect: str) -> dict[int, str]:
    from evaluation.annotation import descriptor_association

    return {
        unit: check.verdict
        for unit, check in descriptor_association.label_checks(path, dissect).items()  # type: ignore[arg-type]
    }


def numbers(found: list[faithfulness.Number]) -> None:
    """Short readable numbers, side by side; the sign says whether the number speaks for the
    explanation.
    """
    cells = "".join(
        '<div class="dm-cell"><span'
        f' class="dm-mute">{elements.text(n.title)}</span><b>{"" if n.good is None else "✓ " if n.good else "○ "}{elements.text(n.value)}</b><span'
        f' class="dm-mute">{elements.text(n.note)}</span></div>'
        for n in found
    )
    st.html(f'<div class="dm-cells">{cells}</div>')


def nothing_to_test(name: str) -> str:
    """Why a tested run has no number for a class."""
    return (
        f"Not estimable: the test split has no {name}"
        f" patches{'' if name in ('normal', 'other') else ' and no outlined ' + name + ' finding'}."
    )


def truth(dissect: str) -> None:
    """Ablation, deletion and localisation per class."""
    if cached_queries.compute(faithfulness.run_of, dissect) is None:
        elements.empty(
            "Nobody has tested yet whether these explanations are true of the network.",
            "deepminer ablate",
        )
    st.caption(
        "Test split only; patients resampled for every interval. ✓ means that the interval excludes"
        " what chance or random units would give."
    )
    names = cached_queries.compute(class_words, dissect)
    for code in sorted(
        (int(c) for c in cached_queries.ask(unit_table.selected, dissect)["class"].unique()),
        reverse=True,
    ):
        found, curves = (
            cached_queries.compute(faithfulness.numbers, dissect, code),
            cached_queries.compute(faithfulness.curves, dissect, code),
        )
        st.html(f'<h4 class="dm">{elements.class_mark(names[code])}</h4>')
        if not found:
            st.caption(nothing_to_test(names[code]))
            continue
        a, b = st.columns([8, 4], gap="medium")
        with a:
            numbers(found)
        with b:
            if len(curves):
                st.plotly_chart(
                    unit_charts.deletion(curves, names[code], 210),
                    config={"displayModeBar": False},
                    key=f"deletion{code}",
                )


def meaning_of(dissect: str, unit: int, most: int = 5) -> None:
    """What the reports say about the unit, beside the expert's words, and the check of its name."""
    from evaluation.annotation import descriptor_association

    frame = cached_queries.compute(descriptor_association.of_unit, dissect, unit)
    frame = frame[frame["auc"].notna()]
    if not len(frame):
        return
    elements.section("What the data say", "AUC (95 % CI)")
    shown = frame[(frame["p_adjusted"] < descriptor_association.ALPHA) & (frame["auc"] > 0.5)].head(
        most
    )
    if not len(shown):
        st.caption("No known descriptor raises this unit's activation (adjusted p < .05).")
    elements.facts(
        [
            (row["descriptor"][0].upper() + row["descriptor"][1:], f'<span style="white-space:nowrap"><b>{decimal(row["auc"], 2)}</b> ({decimal(row["low"], 2)}–{decimal(row["high"], 2)})</span>'
             + ("" if row["iou"] != row["iou"] else f"<br>IoU {decimal(row['iou'], 2)}"))
            for row in shown.to_dict("records")
        ]
    )  # fmt: skip
    check = cached_queries.compute(descriptor_association.label_checks, dissect).get(unit)
    if check is not None:
        st.caption(f"Label check: {check.sentence()}")
