"""Data: cases with their mammograms, outlines and patches; counts, splits and problems."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import streamlit as st

from core import lineage
from core.class_labels import SPLIT_NAMES, ClassDefinition, view_name
from core.store import dataset_table, problem_table, run_table
from dashboard.components.mammograms import Box, Panel, show_mammograms
from dashboard.server import identity, image_routes
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.study_words import image_noun, image_nouns, shows_breasts
from dashboard.views.data_problems import render_problems
from dashboard.views.flash_messages import show_flash
from evaluation.class_colors import class_fill
from evaluation.intervals import DASH, count_text, percent

_ANY = "Any"
_FILTERS = ("Split", "Pathology", "Lesion", "Density", "BI-RADS", "Subtlety", "Scanner")
# In pixels: all columns of the table fit into its half of a 1,280-pixel page.
_COLUMN_WIDTHS = {
    "Case": 82,
    "Split": 64,
    "Pathology": 80,
    "Lesion": 122,
    "Density": 62,
    "BI-RADS": 66,
}
# Images of other subjects have longer names and no density or assessment.
_OTHER_COLUMN_WIDTHS = {"Case": 180, "Split": 64, "Pathology": 110, "Lesion": 122}


def _load_splits() -> pd.DataFrame:
    """Return the split of each patient; empty names before patches exist."""
    if _patches_run:
        return cached_query(dataset_table.load_splits, _patches_run)
    return pd.DataFrame({"patient_id": _patients["patient_id"], "split": ""})


def _case_table() -> pd.DataFrame:
    """Return one row per patient with everything that can be filtered."""
    # A patient counts as the worst of the images; "unproven" has no proven image.
    truth = cached_query(dataset_table.load_image_truth)
    worst = truth.assign(truth=truth["truth"].astype("Int64")).groupby("patient_id")["truth"].max()
    class_names = cached_query(dataset_table.load_classes).names
    pathology = worst.map(lambda code: class_names[int(code)], na_action="ignore").fillna(
        "unproven"
    )
    findings = _findings.merge(_mammograms[["mammogram_id", "patient_id"]], on="mammogram_id")
    by_patient = findings.groupby("patient_id")
    lesions = by_patient["lesion_type"].agg(
        lambda types: ", ".join(sorted({name.lower() for name in types if name}))
    )
    table = _patients.merge(_splits, on="patient_id", how="left")
    ids = table["patient_id"]
    scanners = _mammograms.groupby("patient_id")["scanner"].first()
    return pd.DataFrame(
        {
            "Case": ids,
            "Split": table["split"].replace(SPLIT_NAMES),
            "Pathology": ids.map(pathology),
            # A study without findings has a column of missing numbers here.
            "Lesion": ids.map(lesions).astype(object).fillna(""),
            "Density": table["density"].astype("Int64"),
            "BI-RADS": ids.map(by_patient["assessment"].max()).astype("Int64"),
            "Subtlety": ids.map(by_patient["subtlety"].min()).astype("Int64"),
            "Scanner": ids.map(scanners),
            "Problem": ids.isin(cached_query(problem_table.patients_with_problems)),
        }
    )


def _filter_cases(table: pd.DataFrame) -> pd.DataFrame:
    """Render the filters, whose values are in the address, and return the remaining rows."""
    with st.popover("Filters", width="stretch"):
        # Two columns, so that all fit below the button on a small screen.
        columns = itertools.cycle(st.columns(2, gap="small"))
        for name in _FILTERS:
            values = sorted({str(value) for value in table[name].dropna() if str(value)})
            if len(values) > 1:
                value = next(columns).selectbox(
                    name, [_ANY, *values], key=f"data_{name.lower()}", bind="query-params"
                )
                if value != _ANY:
                    table = table[table[name].astype(str) == value]
        if st.toggle("Only cases with a problem", key="data_problem", bind="query-params"):
            table = table[table["Problem"]]
    return table.reset_index(drop=True)


def _patch_boxes(mammogram: dict[str, Any]) -> list[Box]:
    """Return the patches of a mammogram; their texts compare both overlaps with the threshold."""
    if _patches_run is None:
        return []
    patches = cached_query(
        dataset_table.load_mammogram_patches, _patches_run, mammogram["mammogram_id"]
    )
    run = cached_query(run_table.load_run, _patches_run)
    classes = ClassDefinition.from_manifest(run["manifest"])
    names = classes.outputs
    threshold = percent(run["settings"]["patches"]["min_overlap"], 0)
    width, height = mammogram["width"], mammogram["height"]
    return [
        Box(
            x=patch["x"] / width,
            y=patch["y"] / height,
            width=patch["side"] / width,
            height=patch["side"] / height,
            kind=theme.class_style(names[int(patch["label"])]),
            # The images are dark in either theme.
            color=class_fill(theme.class_style(names[int(patch["label"])]), "dark"),
            text=_overlap_text(patch, classes, threshold),
        )
        # Malignant patches last, so that they are drawn above the others.
        for patch in patches.sort_values("label").to_dict("records")
    ]


def _overlap_text(patch: dict[str, Any], classes: ClassDefinition, threshold: str) -> str:
    # Of several classes the later one decides, so it comes first.
    first, *others = classes.names[:0:-1]
    text = (
        f"{classes.outputs[int(patch['label'])]}: {first} findings cover"
        f" {percent(patch[f'{first}_cover'], 0)} of the patch, which contains"
        f" {percent(patch[f'{first}_part'], 0)} of a finding"
    )
    for name in others:
        cover, part = patch[f"{name}_cover"], patch[f"{name}_part"]
        text += f"; {name} {percent(cover, 0)}, {percent(part, 0)}"
    return f"{text} (threshold {threshold})"


def _view_titles(mammograms: list[dict[str, Any]]) -> list[str]:
    """Return the names of the views of a case; mammograms of one view are numbered."""
    # Images of other subjects have no view; where they have several, their names differ.
    names = [
        view_name(m["laterality"], m["view"])
        if shows_breasts()
        else m["mammogram_id"].removeprefix(f"{m['patient_id']}.")
        for m in mammograms
    ]
    return [
        name if names.count(name) == 1 else f"{name} {names[: i + 1].count(name)}"
        for i, name in enumerate(names)
    ]


def _findings_of(mammogram: dict[str, Any]) -> pd.DataFrame:
    return _findings[_findings["mammogram_id"] == mammogram["mammogram_id"]]


def _panel(mammogram: dict[str, Any], title: str, large: bool) -> Panel:
    """Return the panel of a view; nested outlines and patches on the large one only."""
    findings = _findings_of(mammogram)
    size = {} if large else {"width": 200}
    source_size = f"{mammogram['source_width']} x {mammogram['source_height']} px"
    return Panel(
        url=image_routes.image_url(
            "mammogram", image_routes.TEAM_AUDIENCE, file=mammogram["file"], **size
        ),
        width=int(mammogram["width"]),
        height=int(mammogram["height"]),
        source=image_routes.source_url(mammogram["file"]) if large else "",
        title=title,
        right=source_size if large else "",
        alt=f"{image_noun()} {title}",
        outlines=[polygon for polygons in findings["outline"] for polygon in polygons],
        nested=[p for polygons in findings["nested"] for p in polygons] if large else (),
        boxes=_patch_boxes(mammogram) if large else (),
    )


def _render_case(patient_id: str) -> None:
    """Render one view large, the others small, patient data and findings."""
    mammograms = _mammograms[_mammograms["patient_id"] == patient_id].to_dict("records")
    titles = _view_titles(mammograms)
    title = (
        st.segmented_control(
            "View",
            titles,
            default=titles[0],
            required=True,
            label_visibility="collapsed",
            key="data_view",
        )
        or titles[0]
    )
    mammogram = mammograms[titles.index(title)]
    large, small = st.columns([3, 2], gap="small")
    with large:
        show_mammograms([_panel(mammogram, title, True)], key="data_mammogram", height=362)
        st.caption(
            f"Case {elements.escape_markdown(patient_id)}: wheel zooms, drag changes window and"
            " level, double click resets. O outlines, P patches."
        )
    with small:
        panels = [_panel(m, name, False) for m, name in zip(mammograms, titles)]
        show_mammograms(panels[:2], key="data_small", height=150)
        if len(panels) > 2:
            show_mammograms(panels[2:4], key="data_small2", height=150)
        _render_facts(patient_id, mammogram)


def _render_facts(patient_id: str, mammogram: dict[str, Any]) -> None:
    patient = _patients[_patients["patient_id"] == patient_id].iloc[0]

    def whole(value: Any) -> str:
        return DASH if pd.isna(value) else str(int(value))

    elements.key_value_table(
        [
            ("Age", whole(patient["age"])),
            *(
                [
                    ("Density", whole(patient["density"])),
                    ("Grey values inverted", "yes" if mammogram["inverted"] else "no"),
                    ("Tissue", percent(mammogram["tissue"], 0)),
                ]
                if shows_breasts()
                else []
            ),
        ]
    )
    for finding in _findings_of(mammogram).to_dict("records"):
        pathology = finding["pathology"].lower().replace("_", " ")
        report = finding["report"] or finding["lesion_type"]
        st.caption(f"Finding {finding['number']}, {pathology}: {report}")


def _render_cases() -> None:
    left, right = st.columns([2.2, 3], gap="small")
    with left:
        table = _filter_cases(_case_table())
        st.caption(f"{len(table)} of {len(_patients)} cases")
        columns = _COLUMN_WIDTHS if shows_breasts() else _OTHER_COLUMN_WIDTHS
        widths = {name: st.column_config.Column(width=width) for name, width in columns.items()}
        selection = elements.data_table(
            table[list(columns)],
            hide_index=True,
            height=396,
            placeholder=DASH,
            column_config=widths,
            on_select="rerun",
            selection_mode="single-row",
            key="data_cases",
        ).selection
    with right:
        if not len(table):
            st.info("No case matches these filters; widen them.")
            return
        # A selection can outlive the row when a filter shortens the table.
        rows = [row for row in selection.rows if row < len(table)]
        _render_case(table["Case"].iloc[rows[0] if rows else 0])


def _render_counts() -> None:
    """Render patches, mammograms and patients by split and class."""
    if _patches_run is None:
        elements.stop_with_hint("No patches yet.", "deepminer patches")
    table = cached_query(dataset_table.load_patch_counts, _patches_run)
    manifest = cached_query(run_table.load_run, _patches_run)["manifest"]
    names, dropped = ClassDefinition.from_manifest(manifest).outputs, manifest["dropped"]
    elements.data_table(
        pd.DataFrame(
            {
                "Split": table["split"].replace(SPLIT_NAMES),
                "Class": [names[int(code)] for code in table["label"]],
                "Patches": table["patches"],
                image_nouns().capitalize(): table["mammograms"],
                "Patients": table["patients"],
            }
        ),
        hide_index=True,
    )
    st.caption(
        f"Excluded: {dropped['unproven']} patches on unproven findings, {dropped['ambiguous']}"
        f" ambiguous ones; {dropped['films_without_tissue']} {image_nouns()} have no patch,"
        # Runs from before these counts lack them.
        f" {dropped.get('undecided_films', 0)} wait for a decision about a finding,"
        f" {dropped.get('left_out', 0)} are left out by a decision. Run {_patches_run}."
    )


def _render_splits() -> None:
    """Render the patients per split, and that no patient is in two splits."""
    shared = _splits.groupby("patient_id")["split"].nunique().gt(1).sum()
    st.markdown(f"**{count_text(int(shared), 'patient')} shared** between splits.")
    counts = _splits["split"].replace(SPLIT_NAMES).value_counts().reindex(SPLIT_NAMES.values())
    elements.data_table(
        pd.DataFrame({"Split": counts.index, "Patients": counts.to_numpy()}), hide_index=True
    )
    # The store refuses identical pixels of two patients: all duplicates are within one patient.
    duplicates = _mammograms.duplicated("pixel_hash", keep=False).sum()
    st.caption(
        f"{duplicates} {image_nouns()} have the same pixels as another one of the same patient."
        f" Ingestion refuses identical {image_nouns()} of different patients."
    )


identity.require_role("team")
theme.apply_team_style()
_counts = cached_query(dataset_table.dataset_counts)
if not _counts["mammograms"]:
    elements.page_heading("Data")
    elements.stop_with_hint(
        f"No {image_nouns()} yet. Ingest a source; the synthetic one needs no data of your own.",
        "deepminer ingest phantom",
    )
_mammograms = cached_query(dataset_table.load_mammograms)
_findings = cached_query(dataset_table.load_findings)
_patients = cached_query(dataset_table.load_patients)
_patches_run = cached_query(run_table.latest_run, "patches")
_splits = _load_splits()
_problems = cached_query(problem_table.list_problems)
elements.page_heading(
    "Data",
    f"{count_text(_counts['patients'], 'patient')},"
    f" {count_text(_counts['mammograms'], image_noun())},"
    f" {count_text(_counts['findings'], 'finding')}",
    simulated={"images": cached_result(lineage.has_simulated_images)},
)
elements.image_level_note()
_case_tab, _count_tab, _split_tab, _problem_tab = st.tabs(
    ["Cases", "Counts", "Splits", f"Problems ({_problems['resolution'].isna().sum()})"]
)
with _case_tab:
    _render_cases()
with _count_tab:
    _render_counts()
with _split_tab:
    _render_splits()
with _problem_tab:
    show_flash()
    render_problems(_problems, _mammograms, _findings)
