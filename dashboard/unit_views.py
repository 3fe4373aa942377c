"""Further views of the Units page: coverage in full, and whether the explanations are true of the
network.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.naming import unit_name
from core.store import runs as run_table
from core.store import units as unit_table
from dashboard import load, media, parts, unit_charts
from evaluation import gallery, truthfulness, unit_tables
from evaluation.class_words import class_words
from evaluation.results import decimal, percent, percent_range

FIGURE3_TILES = 4


def coverage(dissect: str) -> None:
    """Curves, numbers per class, the named units by category, and the cross-table over all
    dissected networks.
    """
    rows = load.compute(unit_tables.coverage_table, dissect)
    if not rows:
        parts.empty("The coverage of this dissection has not been measured.", "deepminer dissect")
    run = load.ask(run_table.get, dissect)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        parts.section(
            "Coverage curve",
            f"{rows[0]['images']} hold-out films, top {run['settings']['dissection']['top']}",
        )
        st.plotly_chart(
            unit_charts.coverage_curves(rows, 1 / run["manifest"]["units"]),
            config={"displayModeBar": False},
        )
    with right:
        parts.section("Coverage", "share of the top slots taken by the selected units")
        parts.table(pd.DataFrame([_coverage_row(row) for row in rows]))
        st.caption(
            "Selected is measured on the films that chose the units, so it is optimistic;"
            " split-half and test films did not choose them. CI: patient bootstrap. HDSR 2021, 20"
            " of 2,048 units: malignant 75.82 %, benign 69.77 %, normal 59.27 %."
        )
    figure_3(dissect)
    table = load.compute(unit_tables.cross_table)
    if len(table.columns):
        parts.section(
            "Named units by BI-RADS category",
            "all dissected networks of the study (SPIE 2018, Fig. 4)",
            parts.simulated_labels(dissect),
        )
        parts.table(table.map(parts.text).rename_axis("Category").reset_index(), left=True)


def _coverage_row(row: dict) -> dict[str, str]:
    held = (
        "–"
        if row["held_out"] is None
        else f"{percent(row['held_out'])} ({row['held_out_images']} films)"
    )
    return {
        "Class": parts.class_mark(row["name"]),
        "Selected": f"<b>{percent(row['selected'])}</b>",
        "95 % CI": percent_range(row["low"], row["high"]),
        "Split-half": percent(row["split_half"]),
        "Test films": held,
        "Labelled": percent(row["labelled"]) if row["labelled"] is not None else "–",
        "Chance": percent(row["chance"]),
    }


def figure_3(dissect: str) -> None:
    """Category, annotation, unit and its first patches."""
    named = load.compute(unit_tables.named_units, dissect)
    parts.section(
        "Named units",
        "by category, each with its 4 top patches (HDSR 2021, Fig. 3)",
        bool(named["simulated"].any()),
    )
    if not len(named):
        st.caption("No unit carries a label yet; invite an expert on the People page.")
        return
    settings = load.ask(run_table.get, dissect)["settings"]["dissection"]
    patches = load.ask(
        unit_table.top_patches,
        dissect,
        load.compute(gallery.patches_run_of, dissect),
        [int(u) for u in named["unit"]],
        FIGURE3_TILES,
    )
    largest = load.ask(unit_table.units, dissect).set_index("unit")["largest"]
    checks = load.compute(_checks, dissect)
    rows = []
    for row in named.to_dict("records"):
        mine = patches[patches["unit"] == row["unit"]].to_dict("records")
        urls = [media.url("unit", media.TEAM, file=p["file"], y=int(p["y"]), x=int(p["x"]), side=int(p["side"]), size=96, run=dissect, unit=int(p["unit"]),
                          rank=int(p["rank"]), level=settings["threshold"] * float(largest[row["unit"]])) for p in mine]  # fmt: skip
        tiles = "".join(
            f'<img src="{u}" width="44" height="44" alt="top patch"'
            ' style="margin-right:3px;border-radius:2px;vertical-align:middle">'
            for u in urls
        )
        rows.append({"Category": row["category"], "Annotation": parts.text(row["label"]), "Selected for": ", ".join(row["classes"]) or "–",
                     "Report check": checks.get(int(row["unit"]), "–"), "Unit": f"{unit_name(int(row['unit']))} {tiles}"})  # fmt: skip
    parts.table(pd.DataFrame(rows), left=True)


def _checks(path: object, dissect: str) -> dict[int, str]:
    from evaluation import meaning

    return {unit: check.verdict for unit, check in meaning.label_checks(path, dissect).items()}  # type: ignore[arg-type]


def numbers(found: list[truthfulness.Number]) -> None:
    """Short readable numbers, side by side; the sign says whether the number speaks for the
    explanation.
    """
    cells = "".join(
        '<div class="dm-cell"><span'
        f' class="dm-mute">{parts.text(n.title)}</span><b>{"" if n.good is None else "✓ " if n.good else "○ "}{parts.text(n.value)}</b><span'
        f' class="dm-mute">{parts.text(n.note)}</span></div>'
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
    if load.compute(truthfulness.run_of, dissect) is None:
        parts.empty(
            "Nobody has tested yet whether these explanations are true of the network.",
            "deepminer ablate",
        )
    st.caption(
        "Test split only; patients resampled for every interval. ✓ means that the interval excludes"
        " what chance or random units would give."
    )
    names = load.compute(class_words, dissect)
    for code in sorted(
        (int(c) for c in load.ask(unit_table.selected, dissect)["class"].unique()), reverse=True
    ):
        found, curves = (
            load.compute(truthfulness.numbers, dissect, code),
            load.compute(truthfulness.curves, dissect, code),
        )
        st.html(f'<h4 class="dm">{parts.class_mark(names[code])}</h4>')
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
    from evaluation import meaning

    frame = load.compute(meaning.of_unit, dissect, unit)
    frame = frame[frame["auc"].notna()]
    if not len(frame):
        return
    parts.section("What the data say", "AUC (95 % CI)")
    shown = frame[(frame["p_adjusted"] < meaning.ALPHA) & (frame["auc"] > 0.5)].head(most)
    if not len(shown):
        st.caption("No known descriptor raises this unit's activation (adjusted p < .05).")
    parts.facts(
        [
            (row["descriptor"][0].upper() + row["descriptor"][1:], f'<span style="white-space:nowrap"><b>{decimal(row["auc"], 2)}</b> ({decimal(row["low"], 2)}–{decimal(row["high"], 2)})</span>'
             + ("" if row["iou"] != row["iou"] else f"<br>IoU {decimal(row['iou'], 2)}"))
            for row in shown.to_dict("records")
        ]
    )  # fmt: skip
    check = load.compute(meaning.label_checks, dissect).get(unit)
    if check is not None:
        st.caption(f"Label check: {check.sentence()}")
