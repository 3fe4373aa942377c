"""Data: what came in.

Cases by what is known of them, their films with outlines and patches, counts, splits, problems.
"""

from __future__ import annotations

import itertools

import pandas as pd
import streamlit as st

from core.class_labels import CLASSES, SPLIT_NAMES, label_name, view_name
from core.store import dataset_table, run_table
from dashboard.components import mammograms as films
from dashboard.components.mammograms import Box, Panel
from dashboard.server import identity, image_routes
from dashboard.ui import cached_queries, elements
from evaluation.intervals import counted, percent

identity.require("team")
elements.page()
counts = cached_queries.ask(dataset_table.counts)
if not counts["mammograms"]:
    elements.heading("Data")
    elements.empty(
        "No mammograms yet. Bring in a source; a synthetic one needs no data of yours.",
        "deepminer ingest phantom",
    )
ANY = "Any"
# Pixels: all columns of the table fit into its half of a 1,280-pixel page.
PIXELS = {"Case": 82, "Split": 64, "Pathology": 80, "Lesion": 122, "Density": 62, "BI-RADS": 66}
mammograms, findings, people = (
    cached_queries.ask(dataset_table.mammograms),
    cached_queries.ask(dataset_table.findings),
    cached_queries.ask(dataset_table.patients),
)
truth = cached_queries.ask(dataset_table.image_truth)
patches_run = cached_queries.ask(run_table.latest, "patches")
splits = (
    cached_queries.ask(dataset_table.splits, patches_run)
    if patches_run
    else pd.DataFrame({"patient_id": people["patient_id"], "split": ""})
)
problems = cached_queries.ask(dataset_table.problems)


def cases() -> pd.DataFrame:
    """One row a patient with what can be filtered."""
    worst = truth.assign(truth=truth["truth"].astype("Int64")).groupby("patient_id")["truth"].max()
    names = worst.map(lambda code: CLASSES[int(code)], na_action="ignore").fillna("unproven")
    joined = findings.merge(mammograms[["mammogram_id", "patient_id"]], on="mammogram_id")
    lesions = joined.groupby("patient_id")["lesion_type"].agg(
        lambda s: ", ".join(sorted({v.lower() for v in s if v}))
    )
    assessed, subtle = (
        joined.groupby("patient_id")["assessment"].max(),
        joined.groupby("patient_id")["subtlety"].min(),
    )
    table = people.merge(splits, on="patient_id", how="left")
    ids = table["patient_id"]
    films_of = mammograms.groupby("patient_id")
    return pd.DataFrame(
        {
            "Case": ids,
            "Split": table["split"].replace(SPLIT_NAMES),
            "Pathology": ids.map(names),
            "Lesion": ids.map(lesions).fillna(""),
            "Density": table["density"].astype("Int64"),
            "BI-RADS": ids.map(assessed).astype("Int64"),
            "Subtlety": ids.map(subtle).astype("Int64"),
            "Films": ids.map(films_of.size()),
            "Scanner": ids.map(films_of["scanner"].first()),
            "Problem": ids.map(
                lambda i: bool(problems["item"].str.startswith(i).any()) if len(problems) else False
            ),
        }
    )


def filtered(table: pd.DataFrame) -> pd.DataFrame:
    """Filters, kept in the address."""
    with st.popover("Filters", width="stretch"):
        # Two columns, so that all fit beneath the button on a small screen.
        places = itertools.cycle(st.columns(2, gap="small"))
        for name in ("Split", "Pathology", "Lesion", "Density", "BI-RADS", "Subtlety", "Scanner"):
            values = sorted({str(v) for v in table[name].dropna() if str(v)})
            if len(values) > 1:
                chosen = next(places).selectbox(
                    name, [ANY, *values], key=f"data_{name.lower()}", bind="query-params"
                )
                if chosen != ANY:
                    table = table[table[name].astype(str) == chosen]
        if st.toggle("Only cases with a problem", key="data_problem", bind="query-params"):
            table = table[table["Problem"]]
    return table.reset_index(drop=True)


def boxes(mammogram_id: str, width: int, height: int) -> list[Box]:
    """The film's patches with both overlaps against the thresholds."""
    if patches_run is None:
        return []
    mine = cached_queries.ask(dataset_table.film_patches, patches_run, mammogram_id)
    made = cached_queries.ask(run_table.get, patches_run)
    classes, counting = (
        made["manifest"]["classes"],
        percent(made["settings"]["patches"]["min_overlap"], 0),
    )
    return [
        Box(
            x=p["x"] / width,
            y=p["y"] / height,
            width=p["side"] / width,
            height=p["side"] / height,
            kind=label_name(int(p["label"]), classes),
            text=f"{label_name(int(p['label']), classes)}: malignant findings cover"
            f" {percent(p['malignant_cover'], 0)} of the patch, {percent(p['malignant_part'], 0)}"
            f" of one lies in it; benign {percent(p['benign_cover'], 0)},"
            f" {percent(p['benign_part'], 0)} ({counting} counts)",
        )
        for p in mine.sort_values("label").to_dict("records")
    ]


def named(mine: list[dict]) -> list[str]:
    """A name for each film of a case; films of one view are numbered."""
    names = [view_name(m["laterality"], m["view"]) for m in mine]
    return [
        name if names.count(name) == 1 else f"{name} {names[: i + 1].count(name)}"
        for i, name in enumerate(names)
    ]


def panel(film: dict, name: str, large: bool) -> Panel:
    """A view, with everything on it if it is the large one."""
    mine = findings[findings["mammogram_id"] == film["mammogram_id"]]
    url = image_routes.url(
        "film", image_routes.TEAM, file=film["file"], **({} if large else {"width": 200})
    )
    return Panel(
        url=url,
        width=int(film["width"]),
        height=int(film["height"]),
        title=name,
        right=f"{film['source_width']} x {film['source_height']} px" if large else "",
        alt=f"mammogram {name}",
        outlines=[p for polygons in mine["outline"] for p in polygons],
        nested=[p for polygons in mine["nested"] for p in polygons] if large else (),
        boxes=boxes(film["mammogram_id"], film["width"], film["height"]) if large else (),
    )


def case_view(case: str) -> None:
    """The four views, one large; the findings beside it."""
    mine = mammograms[mammograms["patient_id"] == case].to_dict("records")
    names = named(mine)
    chosen = (
        st.segmented_control(
            "View",
            names,
            default=names[0],
            required=True,
            label_visibility="collapsed",
            key="data_view",
        )
        or names[0]
    )
    film = mine[names.index(chosen)]
    big, small = st.columns([3, 2], gap="small")
    with big:
        films.show([panel(film, chosen, True)], key="data_film", height=362)
        st.caption(
            f"Case {elements.plain(case)}: wheel zooms, drag changes window and level, double click"
            " resets. O outlines, P patches."
        )
    with small:
        films.show(
            [panel(m, name, False) for m, name in zip(mine[:2], names)],
            key="data_small",
            height=150,
        )
        if len(mine) > 2:
            films.show(
                [panel(m, name, False) for m, name in zip(mine[2:4], names[2:])],
                key="data_small2",
                height=150,
            )
        person = people[people["patient_id"] == case].iloc[0]
        elements.facts(
            [
                ("Age", elements.text("–" if pd.isna(person["age"]) else int(person["age"]))),
                (
                    "Density",
                    elements.text("–" if pd.isna(person["density"]) else int(person["density"])),
                ),
                ("Negative film, turned", "yes" if film["inverted"] else "no"),
                ("Tissue", percent(film["tissue"], 0)),
            ]
        )
        for row in findings[findings["mammogram_id"] == film["mammogram_id"]].to_dict("records"):
            st.caption(
                f"Finding {row['number']}, {row['pathology'].lower().replace('_', ' ')}:"
                f" {row['report'] or row['lesion_type']}"
            )


def counts_tab() -> None:
    """Patches, films and patients by split and class."""
    if patches_run is None:
        elements.empty("No patches yet.", "deepminer patches")
        return
    table = cached_queries.ask(dataset_table.patch_counts, patches_run)
    classes = cached_queries.ask(run_table.get, patches_run)["manifest"]["classes"]
    table["Class"] = [label_name(int(c), classes) for c in table["label"]]
    table["split"] = table["split"].replace(SPLIT_NAMES)
    st.dataframe(
        table.rename(
            columns={
                "split": "Split",
                "patches": "Patches",
                "mammograms": "Films",
                "patients": "Patients",
            }
        )[["Split", "Class", "Patches", "Films", "Patients"]],
        hide_index=True,
    )
    dropped = cached_queries.ask(run_table.get, patches_run)["manifest"]["dropped"]
    st.caption(
        f"Left out: {dropped['unproven']} patches on unproven findings, {dropped['ambiguous']}"
        f" ambiguous ones; {dropped['films_without_tissue']} films have no patch. Run"
        f" {patches_run}."
    )


def splits_tab() -> None:
    """That no patient is in two splits."""
    shared = splits.groupby("patient_id")["split"].nunique().gt(1).sum()
    st.markdown(f"**{shared} patients shared** between splits.")
    counts = splits["split"].replace(SPLIT_NAMES).value_counts().reindex(SPLIT_NAMES.values())
    st.dataframe(
        pd.DataFrame({"Split": counts.index, "Patients": counts.to_numpy()}), hide_index=True
    )
    doubled = mammograms[mammograms.duplicated("pixel_hash", keep=False)]
    st.caption(
        f"{len(doubled)} films have the same pixels as another film of the same patient; two"
        " patients never share one (ingestion refuses them)."
    )


elements.heading(
    "Data",
    f"{counted(counts['patients'], 'patient')}, {counted(counts['mammograms'], 'mammogram')},"
    f" {counted(counts['findings'], 'finding')}",
    simulated=elements.simulated_data(),
)
elements.weak_label_note()
views, count_tab, split_tab, problem_tab = st.tabs(
    ["Cases", "Counts", "Splits", f"Problems ({len(problems)})"]
)
with views:
    left, right = st.columns([2.2, 3], gap="small")
    with left:
        table = filtered(cases())
        st.caption(f"{len(table)} of {len(people)} cases")
        picked = st.dataframe(
            table[list(PIXELS)],
            hide_index=True,
            height=396,
            placeholder="–",
            column_config={
                name: st.column_config.Column(width=width) for name, width in PIXELS.items()
            },
            on_select="rerun",
            selection_mode="single-row",
            key="data_cases",
        )
    with right:
        rows = picked.selection.rows
        if len(table):
            case_view(table["Case"].iloc[rows[0] if rows and rows[0] < len(table) else 0])
        else:
            st.info("No case fits these filters; widen them.")
with count_tab:
    counts_tab()
with split_tab:
    splits_tab()
with problem_tab:
    if len(problems):
        st.dataframe(
            problems.rename(
                columns={
                    "item": "File or case",
                    "cause": "Cause",
                    "action": "What was done",
                    "skipped": "Left out",
                }
            ).drop(columns="source_id"),
            hide_index=True,
        )
    else:
        st.info("Nothing odd was found on the way in.")
