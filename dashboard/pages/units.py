"""Units: coverage per class, the gallery of selected units, and one unit in full."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.naming import CLASSES, unit_index, unit_name
from core.store import runs as run_table
from core.store import units as unit_table
from dashboard import charts, identity, load, media, parts, theme
from dashboard.components import gallery as gallery_rows
from dashboard.components import tiles as unit_tiles
from evaluation import gallery, overview
from evaluation.results import decimal, percent

identity.require("team")
parts.page()
dissections = load.ask(run_table.runs, "dissect")
if not len(dissections):
    parts.heading("Units")
    parts.empty("No network has been dissected yet.", "deepminer dissect")
PER_PAGE = 24
SORTS = {"Share of top 8": ("share", False), "Unit": ("unit", True), "Fewest patients": ("top_patients", True), "Answers": ("answers", False)}


def tile(patch: dict, threshold: float, largest: float, dissect: str, size: int, region: bool = True) -> str:
    """Address of a patch's picture, with the unit's region bright or without."""
    place = {"file": patch["file"], "y": int(patch["y"]), "x": int(patch["x"]), "side": int(patch["side"]), "size": size}
    if not region:
        return media.url("patch", media.TEAM, **place)
    return media.url("unit", media.TEAM, **place, run=dissect, unit=int(patch["unit"]), rank=int(patch["rank"]), level=threshold * largest)


def coverage_band(dissect: str) -> None:
    """Coverage per class: selected, labelled, split-half, interval, chance."""
    run = load.ask(run_table.latest, "coverage", dissect)
    if run is None:
        return
    frame = load.ask(unit_table.coverage, run)
    cells = []
    for code in sorted(frame["class"].unique(), reverse=True):
        rows = {r["name"]: r for r in frame[frame["class"] == code].to_dict("records")}
        share, _, _ = load.compute(overview.labelled, dissect, int(code))
        colour = theme.CLASS_FILL[theme.mode()][CLASSES[code]]
        selected, low, high = rows["selected"]["estimate"], rows["interval"]["low"], rows["interval"]["high"]
        marks = (
            ""
            if low != low or low is None
            else f'<i style="position:absolute;left:{100 * low}%;width:{100 * (high - low)}%;top:4px;border-top:1px solid currentColor"></i>'
        )
        cells.append(
            f'<div style="flex:1;padding:10px 16px;border-right:1px solid var(--dm-line-soft)"><div style="display:flex;justify-content:space-between"><b>{parts.class_mark(CLASSES[code])}</b>'
            f'<span><b style="font-size:16px">{percent(selected)}</b> <span class="dm-mute">selected</span></span></div>'
            f'<div style="position:relative;height:9px;background:var(--dm-wash);margin:6px 0">'
            f'<i style="position:absolute;left:0;width:{100 * selected}%;height:9px;background:{colour};opacity:.45"></i>'
            f'<i style="position:absolute;left:0;width:{100 * (share or 0)}%;height:9px;background:{colour}"></i>{marks}</div>'
            f'<div class="dm-mute" style="display:flex;justify-content:space-between;font-size:12px"><span>labelled <b>{percent(share)}</b></span>'
            f'<span>split-half <b>{percent(rows["split_half"]["estimate"])}</b></span>'
            f"<span>CI <b>{percent(low)} to {percent(high)}</b></span><span>chance <b>{percent(rows['chance']['estimate'])}</b></span></div></div>"
        )
    st.html(f'<div style="display:flex;border:1px solid var(--dm-line-soft);border-radius:4px;font-size:13px">{"".join(cells)}</div>')


def filtered(table: pd.DataFrame) -> pd.DataFrame:
    """Filters and order, kept in the address."""
    a, b, c, d, e = st.columns([3.2, 2, 2.4, 2.4, 2.4], vertical_alignment="center")
    with a:
        kind = st.segmented_control(
            "Class",
            ["all", *CLASSES[::-1]],
            default="all",
            required=True,
            label_visibility="collapsed",
            key="class",
            bind="query-params",
            format_func=str.capitalize,
        )
    label = b.selectbox("Label", ["Any label", "With a label", "No label"], label_visibility="collapsed", key="labelled", bind="query-params")
    words = c.text_input("Text in labels", placeholder="Text in labels", label_visibility="collapsed", key="text", bind="query-params")
    run = d.selectbox("Run", list(dissections["run"])[::-1], label_visibility="collapsed", key="run", bind="query-params")
    order = e.selectbox("Sort", list(SORTS), label_visibility="collapsed", key="sort", bind="query-params")
    if run != st.session_state["units_run"]:
        st.session_state["units_run"] = run
        st.rerun()
    if kind and kind != "all":
        table = table[[kind in found for found in table["classes"]]]
    if label != "Any label":
        table = table[(table["label"] != "") == (label == "With a label")]
    if words:
        table = table[table["label"].str.contains(words, case=False, regex=False)]
    column, ascending = SORTS[order]
    return table.sort_values([column, "unit"], ascending=[ascending, True], ignore_index=True)


def show_gallery(dissect: str) -> None:
    """The rows of selected units."""
    table = load.compute(gallery.rows, dissect)
    parts.heading(
        "Units", f"{len(table)} selected of {load.ask(run_table.get, dissect)['manifest']['units']} in {dissect}", bool(table["simulated"].any())
    )
    parts.weak_label_note()
    shown = filtered(table)
    coverage_band(dissect)
    if not len(shown):
        st.info("No selected unit fits these filters; widen them.")
        return
    pages = -(-len(shown) // PER_PAGE)
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    some = shown.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
    settings = load.ask(run_table.get, dissect)["settings"]["dissection"]
    patches = load.ask(unit_table.top_patches, dissect, load.compute(gallery.patches_run_of, dissect), [int(u) for u in some["unit"]], gallery.TILES)
    largest = load.ask(unit_table.units, dissect).set_index("unit")["largest"]
    rows = []
    for row in some.to_dict("records"):
        mine = patches[patches["unit"] == row["unit"]].to_dict("records")
        source = f"{row['answers']} answers" + (", simulated" if row["simulated"] else "")
        rows.append(
            {
                "unit": row["unit"],
                "name": row["name"],
                "under": ", ".join(row["classes"]),
                "tiles": [tile(p, settings["threshold"], float(largest[row["unit"]]), dissect, 156) for p in mine],
                "counts": {name: row[name] for name in CLASSES},
                "label": row["label"],
                "source": source,
                "share": percent(row["share"], 0),
                "images": f"{row['count']} of {row['images']} films",
            }
        )
    opened = gallery_rows.show(rows, key="gallery")
    if opened is not None:
        st.query_params["unit"] = unit_name(opened)
        st.rerun()


def unit_items(facts: dict, dissect: str, threshold: float, count: int) -> list[dict]:
    """The unit's top patches for the tiles."""
    items = []
    for patch in facts["top"].head(count).to_dict("records"):
        w, h, side = patch["width"], patch["height"], patch["side"]
        items.append(
            {
                "tile": tile(patch, threshold, float(facts["largest"]), dissect, 144),
                "plain": tile(patch, threshold, float(facts["largest"]), dissect, 144, region=False),
                "film": media.url("film", media.TEAM, file=patch["file"]),
                "aspect": w / h,
                "box": [patch["x"] / w, patch["y"] / h, side / w, side / h],
                "left": f"Patch {patch['rank'] + 1}, activation {patch['activation']:.2f}",
                "right": patch["mammogram_id"].replace(".", ", ").replace("_CC", " CC").replace("_MLO", " MLO"),
                "note": f"Patch label {CLASSES[int(patch['label'])]}, {patch['split']} split",
            }
        )
    return items


def header(dissect: str, unit: int) -> None:
    """Name, label, place among the selected, previous and next."""
    table = load.compute(gallery.rows, dissect)
    order = [int(u) for u in table["unit"]]
    at = order.index(unit) if unit in order else -1
    row = table.iloc[at] if at >= 0 else None
    back, a, b, c, d = st.columns([1.2, 6, 2.6, 1.2, 1.2], vertical_alignment="center")
    if back.button("← Units", type="tertiary"):
        del st.query_params["unit"]
        st.rerun()
    with a:
        parts.heading(
            unit_name(unit), (row["label"] or "no label") if row is not None else "not selected", bool(row is not None and row["simulated"])
        )
    b.caption(f"{at + 1} of {len(order)}, by share of top 8" if at >= 0 else "")
    if c.button("Previous", shortcut="ArrowLeft", disabled=at <= 0):
        st.query_params["unit"] = unit_name(order[at - 1])
        st.rerun()
    if d.button("Next", shortcut="ArrowRight", disabled=at < 0 or at + 1 >= len(order)):
        st.query_params["unit"] = unit_name(order[at + 1])
        st.rerun()


def show_unit(dissect: str, unit: int) -> None:
    """One unit in full."""
    header(dissect, unit)
    facts = load.compute(gallery.unit_facts, dissect, unit)
    settings = load.ask(run_table.get, dissect)["settings"]["dissection"]
    left, right = st.columns([968, 264], gap="small")
    with left:
        first, second, third = st.columns([4, 4, 3], vertical_alignment="center")
        rule = first.segmented_control(
            "Region",
            ["0.2 of the largest", f"top {settings['quantile']:g} quantile"],
            default="0.2 of the largest",
            required=True,
            label_visibility="collapsed",
            key="region",
        )
        many = second.toggle("64 patches", key="many", bind="query-params")
        third.caption(f"32 patches from {facts['top_patients']} patients")
        level = settings["threshold"] if rule and rule.startswith("0.2") else float(facts["quantile"]) / max(float(facts["largest"]), 1e-9)
        unit_tiles.show(unit_items(facts, dissect, level, 64 if many else gallery.CONTEXT), key="tiles", film_height=330)
        if facts["top_patients"] < overview.FEW_PATIENTS:
            st.warning(f"The 32 top patches come from {facts['top_patients']} patients only: the unit may know a patient, not a finding.")
        if facts["dead"]:
            st.warning("This unit is never positive on the dissected patches (dead): its patches mean nothing.")
        a, b = st.columns([3, 3])
        with a:
            parts.section("Activation", "dissected patches")
            st.plotly_chart(
                charts.activation_histogram(
                    load.compute(gallery.activations, dissect, unit),
                    {"0.2 max": settings["threshold"] * float(facts["largest"]), f"top {settings['quantile']:g}": float(facts["quantile"])},
                ),
                config={"displayModeBar": False},
            )
        with b:
            parts.section("Influence per class", "hold-out films")
            st.plotly_chart(charts.influence_bars(load.compute(gallery.influence_quartiles, dissect, unit)), config={"displayModeBar": False})
    with right:
        unit_side(facts)


def unit_side(facts: dict) -> None:
    """Facts, report descriptors, phantom concepts, annotations."""
    top = facts["top"][facts["top"]["rank"] < gallery.CONTEXT]
    counts = top["label"].value_counts()
    parts.section("Facts", "hold-out")
    parts.facts(
        [
            ("Layer", parts.text(f"{facts['layer']}")),
            *[("Selected for", f"{CLASSES[int(s['class'])]}, rank {s['rank']}") for s in facts["selected"]],
            ("Top 32 classes", ", ".join(f"{CLASSES[c][0].upper()} {counts.get(c, 0)}" for c in (2, 1, 0))),
            ("Patients", str(facts["top_patients"])),
            ("Largest", decimal(float(facts["largest"]), 2)),
        ]
    )
    if facts["descriptors"]:
        parts.section("Report descriptors", "top 32")
        parts.facts([(k.capitalize(), parts.text(", ".join(f"{w} {n}" for w, n in c.most_common(3)))) for k, c in facts["descriptors"].items()])
    if facts["concepts"]:
        parts.section("Phantom concepts", "top 16")
        parts.facts([(c["concept"].replace("_", " "), f"{percent(c['share'], 0)}, IoU {decimal(c['iou'], 2)}") for c in facts["concepts"]])
    parts.section("Annotations", simulated=any(a["simulated"] for a in facts["answers"]))
    if not facts["answers"]:
        st.caption("Nobody has annotated this unit. Invite an expert on the People page.")
    for said in facts["answers"]:
        seconds = "" if said["seconds"] is None or said["seconds"] != said["seconds"] else f", {said['seconds']:.0f} s"
        st.html(
            f'<div style="font-size:13px">{parts.text(said["answer"]["label"] or said["answer"]["recognisable"])}<br>'
            f'<span class="dm-mute">Expert {parts.text(said["code"])}, confidence {parts.text(said["answer"]["confidence"] or "–")}{seconds}</span></div>'
        )


known = list(dissections["run"])
asked = st.query_params.get("run")
st.session_state.setdefault("units_run", asked if asked in known else known[-1])
wanted = st.query_params.get("unit")
if wanted is None:
    show_gallery(st.session_state["units_run"])
else:
    try:
        index = unit_index(wanted)
    except ValueError:
        index = -1
    if 0 <= index < load.ask(run_table.get, st.session_state["units_run"])["manifest"]["units"]:
        show_unit(st.session_state["units_run"], index)
    else:
        st.error(f"There is no unit called {wanted} in {st.session_state['units_run']}. Units are named unit_0001 and up.")
        st.page_link("pages/units.py", label="All units")
