"""The state of every step of a study, from source to report, for the Overview page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core import runs, settings, store, timestamps
from core.class_labels import unit_name
from core.store import annotation_table, dataset_table, reading_table, run_table, unit_table
from core.store.dataset_table import Connection
from evaluation.coverage import labelled_coverage
from evaluation.intervals import counted
from evaluation.pipeline.coverage import tops_of
from evaluation.queries import provenance

FEW_PATIENTS = 8
KINDS = (
    ("patches", "Patches"),
    ("train", "Classifier"),
    ("evaluate", "Evaluation"),
    ("dissect", "Units"),
    ("explain", "Explanations"),
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One card. state: done, stale, running, interrupted, failed or missing; headline and lines:
    what is there; made: when, or None; command: what to run next for it; page: where to look; note:
    why it is stale, failed or interrupted.
    """

    kind: str
    title: str
    state: str
    headline: str
    lines: tuple[str, ...]
    made: datetime | None
    command: str
    page: str
    note: str = ""


PAGES = {
    "source": "data",
    "patches": "data",
    "train": "performance",
    "evaluate": "performance",
    "dissect": "units",
    "explain": "explanations",
    "annotate": "annotations",
    "reading": "reading_study",
    "report": "figures",
}


def steps(study: Path) -> list[Step]:
    """Cards from source to report, in the order of the chain."""
    working = {body["kind"]: body for body in reversed(runs.unfinished(study))}
    chosen = settings.load(study)
    with store.read(study) as con:
        cards = [_source(con)]
        stale: dict[str, str] = {}
        for kind, title in KINDS:
            cards.append(_run_step(con, kind, title, working.get(kind), stale, chosen))
        cards.insert(5, _annotation(con))
        cards.append(_reading(con))
    return [*cards, _report(study)]


def _source(con: Connection) -> Step:
    sources, counts = dataset_table.sources(con), dataset_table.counts(con)
    if not len(sources):
        return Step(
            kind="source",
            title="Source",
            state="missing",
            headline="no mammograms yet",
            lines=(),
            made=None,
            command="deepminer ingest phantom",
            page="data",
        )
    skipped = int(sources["skipped"].sum())
    return Step(
        kind="source",
        title="Source",
        state="done",
        headline=counted(counts["patients"], "patient"),
        lines=(
            counted(counts["mammograms"], "film"),
            f"{skipped} left out" if skipped else counted(counts["findings"], "finding"),
        ),
        made=_time(sources["made"].max()),
        command="",
        page="data",
    )


def _run_step(
    con: Connection,
    kind: str,
    title: str,
    working: dict[str, Any] | None,
    stale: dict[str, str],
    chosen: settings.Settings,
) -> Step:
    run = run_table.latest(con, kind)
    command = f"deepminer {kind}"
    if working and (run is None or working["state"] == "running"):
        share = f"{working['done']:,} of {working['total']:,} {working['unit']}"
        return Step(
            kind=kind,
            title=title,
            state=working["state"],
            headline=share,
            lines=(),
            made=timestamps.at(working["seen"]),
            command=command,
            page=PAGES[kind],
            note=working["message"],
        )
    if run is None:
        return Step(
            kind=kind,
            title=title,
            state="missing",
            headline="no run yet",
            lines=(),
            made=None,
            command=command,
            page=PAGES[kind],
        )
    row = run_table.get(con, run)
    reason = _stale_reason(con, kind, row, stale, chosen)
    if reason:
        stale[kind] = reason
    headline, lines = _facts(con, kind, row)
    return Step(
        kind=kind,
        title=title,
        state="stale" if reason else "done",
        headline=headline,
        lines=lines,
        made=_time(row["made"]),
        command=command if reason else "",
        page=PAGES[kind],
        note=reason,
    )


def _stale_reason(
    con: Connection,
    kind: str,
    row: dict[str, Any],
    stale: dict[str, str],
    chosen: settings.Settings,
) -> str:
    if kind == "patches" and row["manifest"]["inputs"] != dataset_table.get_meta(con, "data_hash"):
        return "mammograms came in since"
    if kind == "patches" and row["settings"] != {
        "patches": chosen.patches.model_dump(),
        "splits": chosen.splits.model_dump(),
        "seed": chosen.study.seed,
        "input_side": chosen.images.input_side,
    }:
        return "study.toml changed since"
    for parent in row["parents"]:
        parent_kind = parent.split("-")[0]
        if parent_kind in stale or run_table.latest(con, parent_kind) != parent:
            return f"{parent_kind} is newer"
    return ""


def _facts(con: Connection, kind: str, row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    manifest = row["manifest"]
    if kind == "patches":
        return f"{manifest['patches']:,} patches", (
            f"{100 * row['settings']['patches']['min_overlap']:g} % rule",
            f"split seed {row['settings']['seed']}",
        )
    if kind == "train":
        return manifest["architecture"], (
            counted(row["settings"]["training"]["epochs"], "epoch"),
            f"best: epoch {manifest['best_epoch'] + 1}",
        )
    if kind == "evaluate":
        metrics = run_table.metrics(con, row["run"], "holdout")
        found = metrics[
            (metrics["level"] == "patch")
            & (metrics["class"] == "malignant")
            & (metrics["name"] == "auc")
        ]
        return f"{int(found['n'].iloc[0]):,} patches" if len(found) else "no patches", (
            "hold-out",
            counted(int(found["patients"].iloc[0]), "patient") if len(found) else "",
        )
    if kind == "dissect":
        return f"{manifest['units']:,} units", (
            f"{len(annotation_table.selected_units(con, row['run']))} selected",
            f"{len(manifest['dead_units'])} dead",
        )
    found = unit_table.explanations(con, row["run"])
    return counted(len(found), "film"), (
        f"{(found['predicted'] == 2).sum()} malignant",
        "hold-out and test",
    )


def _annotation(con: Connection) -> Step:
    run = annotation_table.current_run(con)
    if run is None:
        return Step(
            kind="annotate",
            title="Annotation",
            state="missing",
            headline="no units yet",
            lines=(),
            made=None,
            command="deepminer dissect",
            page="annotations",
        )
    counts, progress = annotation_table.counts(con, run), annotation_table.progress(con, run)
    state = "missing" if not counts["experts"] else "done"
    made = _time(progress["last"].max()) if len(progress) else None
    return Step(
        kind="annotate",
        title="Annotation",
        state=state,
        headline=f"{counts['units_annotated']} / {counts['units_selected']} units",
        lines=(counted(counts["experts"], "expert"),),
        made=made,
        command="" if counts["experts"] else "deepminer invite annotator",
        page="annotations",
    )


_NEXT_STAGE = {
    "design": "deepminer reading lint",
    "lint": "deepminer reading freeze",
    "frozen": "deepminer reading close",
}
FINISHED = ("closed", "unblinded")


@dataclass(frozen=True, kw_only=True)
class ReadingState:
    """How far a reading study is; never a result. done, total: answers given and answers there will
    be, from the readers who have an order and those who are planned; readers: the larger number of
    the two; simulated: the study itself, or any answer.
    """

    protocol: str
    version: int
    state: str
    done: int
    total: int
    readers: int
    simulated: bool
    made: datetime


def reading_states(con: Connection) -> list[ReadingState]:
    """Every reading study's newest version, and each older one that was frozen: what is open first
    (people's before simulated ones), then what is finished, then designs; newest first.
    """
    every = reading_table.protocols(con)
    newest = {p.protocol: p.version for p in sorted(every, key=lambda p: p.version)}
    kept = [
        p
        for p in reversed(every)
        if p.state in ("frozen", *FINISHED) or newest[p.protocol] == p.version
    ]
    found = [_reading_state(con, p) for p in kept]
    return sorted(
        found,
        key=lambda r: (
            0 if r.state == "frozen" else 1 if r.state in FINISHED else 2,
            r.state == "frozen" and r.simulated,
        ),
    )


def _reading_state(con: Connection, p: reading_table.Protocol) -> ReadingState:
    progress = reading_table.progress(con, p.protocol, p.version)
    done, total, present = (
        (int(progress["done"].sum()), int(progress["total"].sum()), len(progress))
        if len(progress)
        else (0, 0, 0)
    )
    planned = present
    if p.state == "frozen":
        # Readers get their order when they begin: before that the design says how many there will
        # be.
        planned = max(present, int(p.design.get("readers", 1)))
        total += (planned - present) * (
            len(reading_table.cases(con, p.protocol, p.version)) + int(p.design.get("repeats", 0))
        )
    simulated = p.simulated or bool(len(progress) and progress["simulated"].any())
    return ReadingState(
        protocol=p.protocol,
        version=p.version,
        state=p.state,
        done=done,
        total=total,
        readers=planned,
        simulated=simulated,
        made=_time(p.made) or timestamps.now(),
    )


def _reading(con: Connection) -> Step:
    found = reading_states(con)
    if not found:
        return Step(
            kind="reading",
            title="Reading",
            state="missing",
            headline="not designed",
            lines=(),
            made=None,
            command="deepminer reading create",
            page="reading",
        )
    first = found[0]
    finished = sum(r.state in FINISHED for r in found)
    state = (
        "running" if first.state == "frozen" else "done" if first.state in FINISHED else "missing"
    )
    lines = (
        f"{first.state}, {counted(first.readers, 'reader')}",
        f"{finished} finished" if finished and first.state == "frozen" else "",
    )
    headline = f"{first.done} / {first.total} answers" if first.total else "no answers yet"
    return Step(
        kind="reading",
        title="Reading",
        state=state,
        headline=headline,
        lines=lines,
        made=first.made,
        command=_NEXT_STAGE.get(first.state, ""),
        page="reading",
    )


def _report(study: Path) -> Step:
    folder = study / "exports"
    made = sorted(folder.rglob(f"*{provenance.SUFFIX}"), key=lambda p: p.stat().st_mtime)
    if not made:
        return Step(
            kind="report",
            title="Report",
            state="missing",
            headline="no figures yet",
            lines=(),
            made=None,
            command="deepminer figures all --out exports",
            page="figures",
        )
    when = timestamps.changed(made[-1])
    stale = provenance.stale(study, folder)
    note = "exports out of date: " + ", ".join(s.name for s in stale) if stale else ""
    state, command = ("stale", "deepminer figures all --out exports") if stale else ("done", "")
    return Step(
        kind="report",
        title="Report",
        state=state,
        headline=counted(len(made), "export"),
        lines=(f"{len(stale)} stale",) if stale else (),
        made=when,
        command=command,
        page="figures",
        note=note,
    )


def _time(value: Any) -> datetime | None:
    return (
        None
        if value is None or value != value
        else value.to_pydatetime()
        if hasattr(value, "to_pydatetime")
        else value
    )


def labelled(study: Path, dissect: str, code: int) -> tuple[float | None, int, int]:
    """Labelled coverage of a class (share of its top slots taken by selected units that carry a
    label), labelled units and distinct selected units.
    """
    return labelled_by_class(study, dissect)[code]


def labelled_by_class(study: Path, dissect: str) -> dict[int, tuple[float | None, int, int]]:
    """The same for every class, by code."""
    with store.read(study) as con:
        row = run_table.get(con, dissect)
        influences = unit_table.top_influences(con, dissect, row["settings"]["dissection"]["top"])
        chosen, labels = (
            unit_table.selected(con, dissect),
            set(annotation_table.labels(con, dissect)),
        )
    codes, tops, _ = tops_of(influences)
    mine = {code: set(chosen[chosen["class"] == code]["unit"].astype(int)) for code in codes}
    counts = len(set(chosen["unit"]) & labels), chosen["unit"].nunique()
    return {
        code: (labelled_coverage(tops[i], mine[code], labels), *counts)
        for i, code in enumerate(codes)
    }


def warnings(study: Path) -> list[str]:
    """Sentences on what a careful person would look at."""
    with store.read(study) as con:
        run = run_table.latest(con, "dissect")
        found = []
        if len(dataset_table.sources(con)) and dataset_table.sources(con)["image_labels"].any():
            found.append("Labels are image-level; every number made from them is weak.")
        if run is not None:
            units = unit_table.units(con, run)
            chosen = set(annotation_table.selected_units(con, run))
            few = units[units["unit"].isin(chosen) & (units["top_patients"] < FEW_PATIENTS)]
            found += [
                f"{unit_name(int(u.unit))}: its 32 top patches come from {u.top_patients} patients,"
                f" fewer than {FEW_PATIENTS}."
                for u in few.itertuples()
            ]
        opened = run_table.events(con, "test split opened")
        if len(opened):
            found.append(
                f"The test split was opened {counted(len(opened), 'time')}, last"
                f" {opened['made'].iloc[0]:%d %b %H:%M}."
            )
    return found
