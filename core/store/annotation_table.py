"""Annotations in the store: what experts said about units, as versions that are only ever added;
decisions; the label of a unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from core import birads_lexicon, settings
from core.errors import UserError
from core.sessions.tokens import number
from core.store import run_table
from core.store.connection import fetch_records
from core.timestamps import now

Connection = duckdb.DuckDBPyConnection
_LATEST = """SELECT * FROM annotations QUALIFY row_number() OVER (PARTITION BY run, unit, code, repeat, practice ORDER BY version DESC) = 1"""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One top patch of a unit: its place in the working image (pixels), the image it is a view of,
    and its class (0 normal ..).
    """

    rank: int
    patch_id: int
    mammogram_id: str
    file: str
    width: int
    height: int
    y: int
    x: int
    side: int
    label: int


@dataclass(frozen=True)
class Saved:
    """An annotation that has been stored."""

    annotation_id: str
    version: int
    made: datetime


@dataclass(frozen=True)
class Label:
    """Text printed for a unit, the ids of the annotations it comes from, and whether any of them is
    simulated.
    """

    text: str
    annotation_ids: tuple[str, ...]
    simulated: bool


def current_run(con: Connection) -> str | None:
    """The dissection whose units are annotated: the newest, or None."""
    return run_table.latest(con, "dissect")


def selected_units(con: Connection, run: str) -> list[int]:
    """Distinct selected units, ascending (0-based): the class lists may overlap."""
    return [
        row[0]
        for row in con.execute(
            "SELECT DISTINCT unit FROM selected WHERE run = ? ORDER BY unit", [run]
        ).fetchall()
    ]


def slots(con: Connection, run: str) -> int:
    """Places in the class lists; more than the distinct units where lists overlap ("58 of 60
    slots").
    """
    return number(con, "SELECT count(*) FROM selected WHERE run = ?", [run])


def other_units(con: Connection, run: str, count: int) -> list[int]:
    """Living units that were not selected, in a fixed order that says nothing: for practice."""
    return [
        row[0]
        for row in con.execute(
            """SELECT unit FROM units u WHERE run = ? AND NOT dead
        AND unit NOT IN (SELECT unit FROM selected s WHERE s.run = u.run)
        AND EXISTS (SELECT 1 FROM top_patches t WHERE t.run = u.run AND t.unit = u.unit)
        ORDER BY md5(run || unit::VARCHAR) LIMIT ?""",
            [run, count],
        ).fetchall()
    ]


def layer_of(con: Connection, run: str, unit: int) -> str:
    """The layer a unit of a dissection belongs to."""
    row = con.execute(
        "SELECT layer FROM units WHERE run = ? AND unit = ? LIMIT 1", [run, unit]
    ).fetchone()
    return row[0] if row else ""


def largest(con: Connection, run: str, unit: int) -> float:
    """The unit's largest activation, of which 0.2 is the published threshold; 0 where it is
    unknown.
    """
    row = con.execute(
        "SELECT largest FROM units WHERE run = ? AND unit = ? LIMIT 1", [run, unit]
    ).fetchone()
    return float(row[0]) if row else 0.0


def patches_run(con: Connection, run: str) -> str | None:
    """The run that cut the patches a dissection looked at: its nearest ancestor of kind "patches"."""
    frame = run_table.runs(con)
    kinds = dict(zip(frame["run"], frame["kind"], strict=True))
    parents = dict(zip(frame["run"], frame["parents"], strict=True))
    waiting, seen = [run], set()
    while waiting:
        name = waiting.pop(0)
        if kinds.get(name) == "patches":
            return str(name)
        if name not in seen:
            seen.add(name)
            waiting += [p for p in parents.get(name, []) if p in kinds]
    return None


def tiles(con: Connection, run: str, unit: int, count: int = 32) -> list[Tile]:
    """The unit's top patches, strongest first."""
    cursor = con.execute(
        """SELECT t.rank, t.patch_id, m.mammogram_id, m.file, m.width, m.height, p.y, p.x, p.side, p.label
        FROM top_patches t JOIN patches p ON p.run = ? AND p.patch_id = t.patch_id JOIN mammograms m ON m.mammogram_id = p.mammogram_id
        WHERE t.run = ? AND t.unit = ? AND t.rank < ? ORDER BY t.rank""",
        [patches_run(con, run), run, unit, count],
    )
    return fetch_records(cursor, Tile)


def append(
    con: Connection,
    *,
    run: str,
    unit: int,
    code: str,
    answer: Mapping[str, Any],
    seconds: float | None,
    annotation_id: str,
    repeat: bool = False,
    practice: bool = False,
    simulated: bool = False,
    patch_labels_shown: bool = False,
) -> Saved:
    """Add a version of one expert's answer on one unit; nothing is overwritten.

    The same annotation_id again returns what was stored then.

    UserError if the answer is not complete (`core.birads_lexicon.check`).
    """
    stored = con.execute(
        "SELECT version, made FROM annotations WHERE annotation_id = ?", [annotation_id]
    ).fetchone()
    if stored:
        return Saved(annotation_id, stored[0], stored[1])
    return _insert(
        con,
        run,
        unit,
        code,
        birads_lexicon.check(answer),
        seconds,
        annotation_id,
        repeat,
        practice,
        simulated,
        patch_labels_shown,
    )


def append_imported(
    con: Connection,
    *,
    run: str,
    unit: int,
    code: str,
    answer: Mapping[str, Any],
    annotation_id: str,
    origin: str,
) -> Saved:
    """Add an answer that was given elsewhere, marked with its origin; free text
    (`lexicon.free_answer`) may name no category. UserError if this expert has answered on the unit
    already: an import never becomes a revision.
    """
    if number(
        con,
        "SELECT count(*) FROM annotations WHERE run = ? AND unit = ? AND code = ? AND NOT practice",
        [run, unit, code],
    ):
        raise UserError(f"{code} has an answer on this unit already")
    return _insert(
        con,
        run,
        unit,
        code,
        {**answer, "origin": origin},
        None,
        annotation_id,
        False,
        False,
        False,
        False,
    )


def _insert(
    con: Connection,
    run: str,
    unit: int,
    code: str,
    answer: Mapping[str, Any],
    seconds: float | None,
    annotation_id: str,
    repeat: bool,
    practice: bool,
    simulated: bool,
    patch_labels_shown: bool,
) -> Saved:
    version = 1 + number(
        con,
        """SELECT coalesce(max(version), 0) FROM annotations WHERE run = ? AND unit = ? AND code = ? AND repeat = ? AND practice = ?""",
        [run, unit, code, repeat, practice],
    )
    made = now()
    con.execute(
        "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            annotation_id,
            run,
            layer_of(con, run, unit),
            unit,
            code,
            version,
            repeat,
            practice,
            json.dumps(dict(answer), ensure_ascii=False),
            seconds,
            patch_labels_shown,
            simulated,
            made,
        ],
    )
    return Saved(annotation_id, version, made)


def unit_count(con: Connection, run: str) -> int:
    """Units of a dissection, living or dead: indices run from 0 to one less."""
    return number(con, "SELECT coalesce(max(unit) + 1, 0) FROM units WHERE run = ?", [run])


def skip(con: Connection, run: str, unit: int, code: str, repeat: bool = False) -> None:
    """Record that an expert put a unit off."""
    con.execute("INSERT INTO skips VALUES (?, ?, ?, ?, ?)", [run, unit, repeat, code, now()])


def skips(con: Connection, run: str, code: str) -> set[tuple[int, bool]]:
    """(unit, repeat) that an expert put off at some time."""
    return set(
        con.execute(
            "SELECT DISTINCT unit, repeat FROM skips WHERE run = ? AND code = ?", [run, code]
        ).fetchall()
    )


def _decoded(frame: pd.DataFrame) -> pd.DataFrame:
    frame["answer"] = pd.Series(
        [json.loads(text) for text in frame["answer"]], dtype=object, index=frame.index
    )
    return frame


def answers(con: Connection, run: str | None = None, versions: bool = False) -> pd.DataFrame:
    """Latest answers (or all versions), answer as dict: annotation_id, run, layer, unit, code,
    version, repeat, practice, answer, seconds, patch_labels_shown, simulated, made.
    """
    source = "SELECT * FROM annotations" if versions else _LATEST
    return _decoded(
        con.execute(
            f"SELECT * FROM ({source}) WHERE ? IS NULL OR run = ? ORDER BY made, annotation_id",
            [run, run],
        ).df()
    )


def of_person(con: Connection, run: str, code: str) -> pd.DataFrame:
    """One expert's latest answers on a run, practice and repeats included; never anybody else's."""
    return _decoded(
        con.execute(
            f"SELECT * FROM ({_LATEST}) WHERE run = ? AND code = ? ORDER BY made", [run, code]
        ).df()
    )


def counts(con: Connection, run: str) -> dict[str, int]:
    """units_selected, units_annotated (selected units that carry a label), experts (who answered),
    all derived from the answers.
    """
    units = set(selected_units(con, run))
    experts = number(
        con, "SELECT count(DISTINCT code) FROM annotations WHERE run = ? AND NOT practice", [run]
    )
    return {
        "units_selected": len(units),
        "units_annotated": len(units & set(labels(con, run))),
        "experts": experts,
    }


def progress(con: Connection, run: str) -> pd.DataFrame:
    """Per expert: code, simulated, units (answered once), named (with a label), revised, repeats,
    median_seconds, last (time of the last answer).
    """
    frame = answers(con, run, versions=True)
    frame = frame[~frame["practice"]] if len(frame) else frame
    rows = []
    for code, mine in frame.groupby("code", sort=True):
        newest = mine.sort_values("version").groupby(["unit", "repeat"]).tail(1)
        first = newest[~newest["repeat"]]
        rows.append(
            {
                "code": code,
                "simulated": bool(mine["simulated"].any()),
                "units": len(first),
                "named": sum(map(birads_lexicon.substantive, first["answer"])),
                "revised": int((newest["version"] > 1).sum()),
                "repeats": int(newest["repeat"].sum()),
                "median_seconds": (
                    float(mine["seconds"].median()) if mine["seconds"].notna().any() else None
                ),
                "last": mine["made"].max(),
            }
        )
    return pd.DataFrame(
        rows,
        columns=[
            "code",
            "simulated",
            "units",
            "named",
            "revised",
            "repeats",
            "median_seconds",
            "last",
        ],
    )


def decide(
    con: Connection,
    run: str,
    unit: int,
    label: str,
    sources: Sequence[str],
    reason: str,
    decided_by: str,
) -> None:
    """Append an adjudicated label (empty: decided to have none) with the annotations it rests on
    and why. The latest decision counts.
    """
    text = " ".join(label.split())
    if len(text) > birads_lexicon.MOST_CHARACTERS or len(reason) > birads_lexicon.MOST_CHARACTERS:
        raise UserError(
            f"A decision's label and reason may have {birads_lexicon.MOST_CHARACTERS} characters each;"
            " shorten them."
        )
    con.execute(
        "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run,
            layer_of(con, run, unit),
            unit,
            text,
            json.dumps(list(sources)),
            reason.strip(),
            decided_by,
            now(),
        ],
    )


def decisions(con: Connection, run: str) -> pd.DataFrame:
    """The latest decision per unit: unit, label, sources (list of annotation ids), reason,
    decided_by, made.
    """
    frame = con.execute(
        """SELECT unit, label, sources, reason, decided_by, made FROM decisions WHERE run = ?
        QUALIFY row_number() OVER (PARTITION BY unit ORDER BY made DESC) = 1 ORDER BY unit""",
        [run],
    ).df()
    frame["sources"] = pd.Series(
        [json.loads(text) for text in frame["sources"]], dtype=object, index=frame.index
    )
    return frame


def order_of_experts(con: Connection) -> list[str]:
    """The settings' order of experts, read beside the store that is open; empty where there is no
    study.toml.
    """
    for (path,) in con.execute(
        "SELECT path FROM duckdb_databases() WHERE path IS NOT NULL"
    ).fetchall():
        folder = Path(path).parent
        if (folder / settings.SETTINGS_NAME).is_file():
            return list(settings.load(folder).annotation.order_of_experts)
    return []


def labels(con: Connection, run: str, order: Sequence[str] = ()) -> dict[int, Label]:
    """The label of every unit that has one (DEFINITIONS "Label of a unit"): the adjudicated text;
    else the answer of the first expert in `order` (the settings' if not given) (then people before
    simulated experts, by date of first answer) whose latest version is substantive. A repeat or
    practice answer never becomes a label, and an answer that its own author later changed to
    "nothing" does not either.
    """
    frame = answers(con, run)
    frame = frame[~frame["practice"] & ~frame["repeat"]] if len(frame) else frame
    order = order or order_of_experts(con)
    first_answer = con.execute(
        "SELECT code, min(made) FROM annotations WHERE run = ? GROUP BY code ORDER BY"
        " bool_or(simulated), min(made), code",
        [run],
    ).fetchall()
    place = {
        code: i for i, code in enumerate([*order, *(c for c, _ in first_answer if c not in order)])
    }
    simulated = dict(
        con.execute(
            "SELECT annotation_id, simulated FROM annotations WHERE run = ?", [run]
        ).fetchall()
    )
    found: dict[int, Label] = {}
    for unit, mine in frame.groupby("unit"):
        for row in sorted(mine.itertuples(), key=lambda r: place[r.code]):
            if birads_lexicon.substantive(row.answer):
                found[int(unit)] = Label(
                    row.answer["label"], (row.annotation_id,), bool(row.simulated)
                )
                break
    for row in decisions(con, run).itertuples():
        found.pop(int(row.unit), None)
        if row.label:
            found[int(row.unit)] = Label(
                row.label, tuple(row.sources), any(simulated.get(s, False) for s in row.sources)
            )
    return dict(sorted(found.items()))
