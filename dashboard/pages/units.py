"""Units: coverage per class, the gallery of selected units, and one unit in full."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.class_labels import SPLIT_NAMES, unit_index, unit_name
from core.store import run_table, unit_table
from dashboard.components import patch_tiles, unit_gallery
from dashboard.server import identity, image_routes
from dashboard.ui import cached_queries, charts, elements, theme
from dashboard.views import unit_details
from evaluation.annotation import audit_workflow, descriptor_association
from evaluation.intervals import counted, decimal, percent, percent_range
from evaluation.queries import study_overview, units
from evaluation.queries.class_names import class_words

identity.require("team")
elements.page()
dissections = cached_queries.ask(run_table.runs, "dissect")
if not len(dissections):
    elements.heading("Units")
    elements.empty("No network has been dissected yet.", "deepminer dissect")
PER_PAGE = 24
SORTS = {
    "Share of top 8": ("share", False),
    "IoU with findings": ("iou", False),
    "AUC of the descriptor": ("auc", False),
    "Unit": ("unit", True),
    "Fewest patients": ("top_patients", True),
    "Answers": ("answers", False),
}
VIEWS = {"units": "Units", "coverage": "Coverage", "truth": "Is it true?"}
RULES = {"influence": "Selected by influence", "spie": "SPIE 2018 rule", "dead": "Dead units"}
ANY = "Any descriptor"


def tile(
    patch: dict, threshold: float, largest: float, dissect: str, size: int, region: bool = True
) -> str:
    """Address of a patch's picture, with the unit's region bright or without."""
    place = {
        "file": patch["file"],
        "y": int(patch["y"]),
        "x": int(patch["x"]),
        "side": int(patch["side"]),
        "size": size,
    }
    if not region:
        return image_routes.url("patch", image_routes.TEAM, **place)
    return image_routes.url(
        "unit",
        image_routes.TEAM,
        **place,
        run=dissect,
        unit=int(patch["unit"]),
        rank=int(patch["rank"]),
        level=threshold * largest,
    )


def coverage_band(dissect: str) -> None:
    """Coverage per class: selected, labelled, split-half, interval, chance."""
    run = cached_queries.ask(run_table.latest, "coverage", dissect)
    if run is None:
        return
    frame, names = (
        cached_queries.ask(unit_table.coverage, run),
        cached_queries.compute(class_words, dissect),
    )
    shares = cached_queries.compute(study_overview.labelled_by_class, dissect)
    cells = []
    for code in sorted(frame["class"].unique(), reverse=True):
        rows = {r["name"]: r for r in frame[frame["class"] == code].to_dict("records")}
        share = shares[int(code)][0]
        colour = theme.CLASS_FILL[theme.mode()][names[code]]
        selected, low, high = (
            rows["selected"]["estimate"],
            rows["interval"]["low"],
            rows["interval"]["high"],
        )
        marks = (
            ""
            if low != low or low is None
            else (
                f'<i style="position:absolute;left:{100 * low}%;width:{100 * (high - low)}%;top:4px;border-top:1px'
                ' solid currentColor"></i>'
            )
        )
        cells.append(
            '<div style="flex:1;padding:10px 16px;border-right:1px solid var(--dm-line-soft)"><div'
            f' style="display:flex;justify-content:space-between"><b>{elements.class_mark(names[code])}</b>'
            f'<span><b style="font-size:16px">{percent(selected)}</b> <span'
            ' class="dm-mute">selected</span></span></div>'
            f'<div style="position:relative;height:9px;background:var(--dm-wash);margin:6px 0">'
            f'<i style="position:absolute;left:0;width:{100 * selected}%;height:9px;background:{colour};opacity:.45"></i>'
            f'<i style="position:absolute;left:0;width:{100 * (share or 0)}%;height:9px;background:{colour}"></i>{marks}</div>'
            f'<div class="dm-mute"'
            f' style="display:grid;grid-template-columns:repeat(4,auto);justify-content:space-between;column-gap:8px;font-size:12px;line-height:1.3">'
            f"<span>labelled</span><span>split-half</span><span>95 % CI</span><span>chance</span>"
            f"<b>{percent(share)}</b><b>{percent(rows['split_half']['estimate'])}</b><b>{percent_range(low, high)}</b>"
            f"<b>{percent(rows['chance']['estimate'])}</b></div></div>"
        )
    st.html(
        '<div style="display:flex;border:1px solid'
        f' var(--dm-line-soft);border-radius:4px;font-size:13px">{"".join(cells)}</div>'
    )


def choose(options: list[str] | dict[str, str], label: str, key: str, where: object = st) -> str:
    """A select box kept in the address."""
    names = options if isinstance(options, dict) else {o: o for o in options}
    return where.selectbox(  # type: ignore[attr-defined]
        label,
        list(names),
        format_func=names.__getitem__,
        label_visibility="collapsed",
        key=key,
        bind="query-params",
    )


def filtered(table: pd.DataFrame, dissect: str) -> pd.DataFrame:
    """Filters and order, kept in the address."""
    a, b, c, d, e = st.columns([3.2, 2, 2, 3, 2.4], vertical_alignment="center")
    kind = a.segmented_control("Class", ["all", *list(cached_queries.compute(class_words, dissect).values())[::-1]], default="all", required=True, label_visibility="collapsed", key="class",
                               bind="query-params", format_func=str.capitalize)  # fmt: skip
    label = choose(["Any label", "With a label", "No label"], "Label", "labelled", b)
    words = c.text_input(
        "Text in labels",
        placeholder="Text in labels",
        label_visibility="collapsed",
        key="text",
        bind="query-params",
    )
    descriptor = choose(
        [ANY, *cached_queries.compute(descriptor_association.descriptors, dissect)],
        "Descriptor",
        "descriptor",
        d,
    )
    order = choose(list(SORTS), "Sort", "sort", e)
    known = None if descriptor == ANY else descriptor
    table = table.merge(
        cached_queries.compute(descriptor_association.overlap_by_unit, dissect, known),
        on="unit",
        how="left",
    )
    if known:
        table = table[(table["p_adjusted"] < descriptor_association.ALPHA) & (table["auc"] > 0.5)]
    if kind and kind != "all":
        table = table[[kind in found for found in table["classes"]]]
    if label != "Any label":
        table = table[(table["label"] != "") == (label == "With a label")]
    if words:
        table = table[table["label"].str.contains(words, case=False, regex=False)]
    column, ascending = SORTS[order]
    return table.sort_values([column, "unit"], ascending=[ascending, True], ignore_index=True)


def views() -> tuple[str, str, str]:
    """Which view, which dissection, which rule of selection; all in the address."""
    a, b, c = st.columns([5, 3, 4], vertical_alignment="center")
    view = a.segmented_control("View", list(VIEWS), default="units", required=True, label_visibility="collapsed", key="view", bind="query-params",
                               format_func=VIEWS.__getitem__)  # fmt: skip
    rule = choose(RULES, "Selection", "rule", b) if view == "units" else "influence"
    run = choose(
        {r["run"]: _run_title(r) for r in dissections.iloc[::-1].to_dict("records")},
        "Run",
        "run",
        c,
    )
    if run != st.session_state["units_run"]:
        st.session_state["units_run"] = run
        st.rerun()
    return view or "units", run, rule


def _run_title(row: dict) -> str:
    """Layer, units and time beside the run's name, so that runs of one layer can be told apart."""
    return (
        f"{row['manifest']['layer']}, {row['manifest']['units']} units, {row['made']:%d %b %H:%M},"
        f" {row['run'][-6:]}"
    )


def show_gallery(dissect: str, rule: str) -> None:
    """The rows of selected units."""
    table = cached_queries.compute(units.rows, dissect, rule)
    if rule == "dead" and not len(table):
        st.info("No unit is dead: every one is positive on some patch.")
        return
    shown = filtered(table, dissect)
    coverage_band(dissect)
    if not len(shown):
        st.info("No selected unit fits these filters; widen them.")
        return
    pages = -(-len(shown) // PER_PAGE)
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    some = shown.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
    settings = cached_queries.ask(run_table.get, dissect)["settings"]["dissection"]
    patches = cached_queries.ask(
        unit_table.top_patches,
        dissect,
        cached_queries.compute(units.patches_run_of, dissect),
        [int(u) for u in some["unit"]],
        units.TILES,
    )
    largest, names = (
        cached_queries.ask(unit_table.units, dissect).set_index("unit")["largest"],
        list(cached_queries.compute(class_words, dissect).values())[::-1],
    )
    rows = []
    for row in some.to_dict("records"):
        mine = patches[patches["unit"] == row["unit"]].to_dict("records")
        source = counted(row["answers"], "answer") + (", simulated" if row["simulated"] else "")
        rows.append(
            {
                "unit": row["unit"],
                "name": row["name"],
                "under": ", ".join(row["classes"]),
                "tiles": [
                    tile(p, settings["threshold"], float(largest[row["unit"]]), dissect, 156)
                    for p in mine
                ],
                "counts": {name: row[name] for name in names},
                "label": row["label"],
                "source": source,
                "share": percent(row["share"], 0) if rule != "dead" else "dead",
                "images": (
                    f"{row['count']} of {row['images']} films"
                    if pd.isna(row["iou"])
                    else f"{row['count']} of {row['images']} films, IoU {decimal(row['iou'], 2)}"
                ),
            }
        )
    opened = unit_gallery.show(rows, key="gallery")
    if opened is not None:
        st.query_params["unit"] = unit_name(opened)
        st.rerun()


def unit_items(
    patches: pd.DataFrame, facts: dict, dissect: str, threshold: float, top: bool
) -> list[dict]:
    """Patches for the tiles; only top ones have a map and so a region."""
    items, names = [], cached_queries.compute(class_words, dissect)
    for patch in patches.to_dict("records"):
        w, h, side = patch["width"], patch["height"], patch["side"]
        items.append(
            {
                "tile": tile(patch, threshold, float(facts["largest"]), dissect, 144, region=top),
                "plain": tile(
                    patch, threshold, float(facts["largest"]), dissect, 144, region=False
                ),
                "film": image_routes.url("film", image_routes.TEAM, file=patch["file"]),
                "aspect": w / h,
                "box": [patch["x"] / w, patch["y"] / h, side / w, side / h],
                "left": f"Place {patch['rank'] + 1:,}, activation {patch['activation']:.2f}",
                "right": (
                    patch["mammogram_id"]
                    .replace(".", ", ")
                    .replace("_CC", " CC")
                    .replace("_MLO", " MLO")
                ),
                "note": (
                    f"Patch label {names[int(patch['label'])]}, {SPLIT_NAMES[patch['split']]} split"
                ),
            }
        )
    return items


PATCHES = {"top": "Top 32", "all": "Top 64", "middle": "Middle", "random": "Random"}


def patches_of(dissect: str, unit: int, facts: dict, which: str) -> pd.DataFrame:
    """Top patches, or others to hold the label against."""
    if which in ("middle", "random"):
        return cached_queries.compute(units.other_patches, dissect, unit, which)
    return facts["top"].head(64 if which == "all" else units.CONTEXT)


def header(dissect: str, unit: int) -> None:
    """Name, label, place among the selected, previous and next."""
    table = cached_queries.compute(units.rows, dissect, "influence")
    order = [int(u) for u in table["unit"]]
    at = order.index(unit) if unit in order else -1
    row = table.iloc[at] if at >= 0 else None
    back, a, b, c, d = st.columns([1.2, 6, 2.6, 1.2, 1.2], vertical_alignment="center")
    if back.button("← Units", type="tertiary"):
        del st.query_params["unit"]
        st.rerun()
    with a:
        elements.heading(
            unit_name(unit),
            (row["label"] or "no label") if row is not None else "not selected",
            elements.simulated_data() or bool(row is not None and row["simulated"]),
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
    facts = cached_queries.compute(units.unit_facts, dissect, unit)
    settings = cached_queries.ask(run_table.get, dissect)["settings"]["dissection"]
    left, right = st.columns([968, 264], gap="small")
    with left:
        first, second, third = st.columns([5, 4, 2], vertical_alignment="center")
        field = cached_queries.ask(run_table.get, dissect)["manifest"].get("receptive_field")
        regions = [
            "0.2 of the largest",
            f"top {settings['quantile']:g} quantile",
            *([f"field, {field} px"] if field else []),
        ]
        rule = first.segmented_control("Region", regions, default=regions[0], required=True, label_visibility="collapsed", key="region", bind="query-params",
                                       help="the field is what the peak of the unit's map can see") or regions[0]  # fmt: skip
        which = second.segmented_control("Patches", list(PATCHES), default="top", required=True, label_visibility="collapsed", key="patches",
                                         bind="query-params", format_func=PATCHES.__getitem__)  # fmt: skip
        third.caption(f"top 32 from {counted(facts['top_patients'], 'patient')}")
        level = (
            settings["threshold"]
            if rule == regions[0]
            else float(facts["quantile"]) / max(float(facts["largest"]), 1e-9)
        )
        top = which not in ("middle", "random")
        shown = patches_of(dissect, unit, facts, which or "top")
        if top and rule.startswith("field"):
            shown, top = (
                units.seen_by_peak(
                    shown, field, cached_queries.ask(run_table.get, dissect)["manifest"]["map_side"]
                ),
                False,
            )
        patch_tiles.show(
            unit_items(shown, facts, dissect, level, top), key="tiles", film_height=330
        )
        if facts["top_patients"] < study_overview.FEW_PATIENTS:
            st.warning(
                f"The 32 top patches come from {counted(facts['top_patients'], 'patient')} only:"
                " the unit may know a patient, not a finding."
            )
        if facts["dead"]:
            st.warning(
                "This unit is never positive on the dissected patches (dead): its patches mean"
                " nothing."
            )
        a, b = st.columns([3, 3])
        with a:
            elements.section("Activation", "dissected patches")
            st.plotly_chart(
                charts.activation_histogram(
                    cached_queries.compute(units.activations, dissect, unit),
                    {
                        "0.2 max": settings["threshold"] * float(facts["largest"]),
                        f"top {settings['quantile']:g}": float(facts["quantile"]),
                    },
                ),
                config={"displayModeBar": False},
            )
        with b:
            elements.section("Influence per class", "hold-out films")
            st.plotly_chart(
                charts.influence_bars(
                    cached_queries.compute(units.influence_quartiles, dissect, unit)
                ),
                config={"displayModeBar": False},
            )
    with right:
        unit_side(facts, dissect, unit)


def unit_side(facts: dict, dissect: str, unit: int) -> None:
    """Facts, report descriptors, phantom concepts, annotations."""
    top = facts["top"][facts["top"]["rank"] < units.CONTEXT]
    counts, names = top["label"].value_counts(), cached_queries.compute(class_words, dissect)
    elements.section("Facts", "hold-out")
    elements.facts(
        [
            ("Layer", elements.text(f"{facts['layer']}")),
            *[
                ("Selected for", f"{names[int(s['class'])]}, rank {s['rank']}")
                for s in facts["selected"]
            ],
            (
                "Top 32 classes",
                ", ".join(
                    f"{name[0].upper()} {counts.get(code, 0)}"
                    for code, name in reversed(names.items())
                ),
            ),
            ("Patients", str(facts["top_patients"])),
            ("Largest", decimal(float(facts["largest"]), 2)),
        ]
    )
    unit_details.meaning_of(dissect, unit)
    if facts["descriptors"]:
        elements.section("Report descriptors", "top 32")
        elements.facts(
            [
                (k.capitalize(), elements.text(", ".join(f"{w} {n}" for w, n in c.most_common(3))))
                for k, c in facts["descriptors"].items()
            ]
        )
    if facts["concepts"]:
        elements.section("Phantom concepts", "top 16")
        elements.facts(
            [
                (
                    c["concept"].replace("_", " "),
                    f"{percent(c['share'], 0)}, IoU {decimal(c['iou'], 2)}",
                )
                for c in facts["concepts"]
            ]
        )
    elements.section("Annotations", simulated=any(a["simulated"] for a in facts["answers"]))
    if not facts["answers"]:
        st.caption("Nobody has annotated this unit. Invite an expert on the People page.")
    for said in facts["answers"]:
        seconds = (
            ""
            if said["seconds"] is None or said["seconds"] != said["seconds"]
            else f", {said['seconds']:.0f} s"
        )
        st.html(
            "<div"
            f' style="font-size:13px">{elements.text(said["answer"]["label"] or said["answer"]["recognisable"])}<br><span'
            f' class="dm-mute">Expert {elements.text(said["code"])}, confidence'
            f" {elements.text(said['answer']['confidence'] or '–')}{seconds}</span></div>"
        )
    judged = cached_queries.compute(audit_workflow.of_unit, dissect, unit)
    if judged is not None:
        held, found = judged
        elements.section(
            "Label audit",
            f"patches that show it, {held.audit}",
            simulated=held.simulated or found.simulated,
        )
        elements.facts(
            [
                (f"{share.kind.capitalize()} patches", elements.text(share.text()))
                for share in found.units
            ]
        )


known = list(dissections["run"])
asked = st.query_params.get("run")
st.session_state.setdefault("units_run", asked if asked in known else known[-1])
wanted = st.query_params.get("unit")
if wanted is None:
    current = st.session_state["units_run"]
    count = len(cached_queries.compute(units.rows, current, "influence"))
    elements.heading(
        "Units",
        f"{count} selected of {cached_queries.ask(run_table.get, current)['manifest']['units']} in {current}",
        elements.simulated_labels(current) or elements.simulated_data(),
    )
    elements.weak_label_note()
    view, current, rule = views()
    if view == "coverage":
        unit_details.coverage(current)
    elif view == "truth":
        unit_details.truth(current)
    else:
        show_gallery(current, rule)
else:
    try:
        index = unit_index(wanted)
    except ValueError:
        index = -1
    if (
        0
        <= index
        < cached_queries.ask(run_table.get, st.session_state["units_run"])["manifest"]["units"]
    ):
        show_unit(st.session_state["units_run"], index)
    else:
        st.error(
            f"There is no unit called {wanted} in {st.session_state['units_run']}. Units are named"
            " unit_0001 and up."
        )
        st.page_link("pages/units.py", label="All units")
